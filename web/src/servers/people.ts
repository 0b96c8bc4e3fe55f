// Who is at a port: a dialog with its sessions, of which those may be ended who disturb.

import { button, element, make } from '../elements';
import type { Line, Session } from './api';
import * as words from './words';

/** What the dialog does. */
export interface Doors {
  sessions(line: Line): Promise<Session[]>;
  /** None for who may not end sessions. Says whether the session was ended. */
  disconnect: ((session: Session) => Promise<boolean>) | undefined;
}

/** Shows the sessions of a port until the dialog is closed. */
export async function showPeople(line: Line, doors: Doors): Promise<void> {
  const dialog = element('people', HTMLDialogElement);
  element('people-title', HTMLElement).textContent = `Port ${line.port} of ${line.server.name}`;
  element('people-close', HTMLButtonElement).onclick = () => dialog.close();
  if (!(await fill(line, doors))) return;
  if (!dialog.open) dialog.showModal();
}

async function fill(line: Line, doors: Doors): Promise<boolean> {
  const sessions = await doors.sessions(line);
  const now = new Date();
  const list = element('people-list', HTMLUListElement);
  const end = async (session: Session): Promise<void> => {
    if (await doors.disconnect?.(session)) await fill(line, doors);
  };
  list.replaceChildren(...sessions.map((session) => itemOf(session, now, doors.disconnect && end)));
  element('nobody', HTMLElement).hidden = sessions.length > 0;
  return true;
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
  made.ariaLabel = `Disconnect… ${session.user}, who is ${does}`;
  item.append(made);
  return item;
}
