// The dialog that shows who is at a port. With the permission, the user can end these sessions.

import { showDialog } from '../dialog';
import { button, make } from '../elements';
import { named } from '../names';
import type { Line, Session } from './api';
import * as words from './words';

/** What the dialog needs of the API. */
export interface Doors {
  sessions(line: Line): Promise<Session[]>;
  /** Undefined if the user may not end sessions. Returns false if the user canceled. */
  disconnect: ((session: Session) => Promise<boolean>) | undefined;
}

let isShown = false;

/** Shows the sessions of a port, unless such a dialog is open. Throws a `Fault`. */
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
