// Who is at a port: a dialog with its sessions, of which those may be ended who disturb.

import { showDialog } from '../dialog';
import { button, make } from '../elements';
import { named } from '../names';
import type { Line, Session } from './api';
import * as words from './words';

/** What the dialog does. */
export interface Doors {
  sessions(line: Line): Promise<Session[]>;
  /** None for who may not end sessions. Says whether the session was ended. */
  disconnect: ((session: Session) => Promise<boolean>) | undefined;
}

let isShown = false;

/** Shows the sessions of a port, unless those of one are shown already. */
export async function showPeople(line: Line, doors: Doors): Promise<void> {
  if (isShown) return;
  isShown = true;
  try {
    await show(line, doors);
  } finally {
    isShown = false;
  }
}

async function show(line: Line, doors: Doors): Promise<void> {
  const list = make('ul', '');
  const nobody = make('p', '', 'Nobody is there now.');
  list.role = 'list';
  await fill(list, nobody, line, doors);
  const { element, closed } = showDialog(`Port ${line.port} of ${named(line.server.name)}`, list, nobody);
  element.classList.add('people');
  await closed;
}

async function fill(list: HTMLElement, nobody: HTMLElement, line: Line, doors: Doors): Promise<void> {
  const sessions = await doors.sessions(line);
  const now = new Date();
  const end = async (session: Session): Promise<void> => {
    if (await doors.disconnect?.(session)) await fill(list, nobody, line, doors);
  };
  list.replaceChildren(...sessions.map((session) => itemOf(session, now, doors.disconnect && end)));
  nobody.hidden = sessions.length > 0;
}

function itemOf(
  session: Session,
  now: Date,
  end: ((session: Session) => Promise<void>) | undefined,
): HTMLElement {
  const user = make('bdi', '', session.user);
  const item = make('li', 'session', make('p', '', user, ' ', words.describeSession(session, now)));
  if (!end) return item;
  const does = session.mode === 'write' ? 'typing' : 'watching';
  const made = button('Disconnect…', () => void end(session));
  made.ariaLabel = `Disconnect… ${named(session.user)}, who is ${does}`;
  item.append(made);
  return item;
}
