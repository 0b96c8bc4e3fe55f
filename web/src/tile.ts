// One console of those that stand side by side: the page in its tile shows the terminal and little else, tells the page
// around it how things are, and hears from it. It watches until one clicks into it.

import type { Access } from './address';
import { loginPage, serversPage } from './places';
import { isPressed } from './shortcuts';

/** What the page in a tile says. */
export type FromTile =
  /** The title of its window, which names the console and carries the marks of a tab. */
  | { tile: 'title'; title: string }
  /** Its status line, whether it is attached, and whether what is typed reaches the guest. */
  | { tile: 'state'; tone: string; words: string; attached: boolean; types: boolean }
  /** The id of its server, which another tile may have by its name. */
  | { tile: 'opened'; server: string }
  /** What was typed or pasted, for the tiles that get the same. */
  | { tile: 'typed' | 'pasted'; text: string }
  /** A paste was stopped. */
  | { tile: 'stopped' }
  /** Nobody is logged in. */
  | { tile: 'login' }
  /** The focus goes to the tile that is so many further; 0 means to the buttons of this one. */
  | { tile: 'step'; by: -1 | 0 | 1 };

/** What the page around the tiles says. */
export type ToTile =
  | { tile: 'type' | 'paste'; text: string }
  /** Whether what is typed here goes to other tiles as well. */
  | { tile: 'broadcast'; on: boolean }
  /** Takes the focus, and comes to type. */
  | { tile: 'focus' }
  /** Comes to type. */
  | { tile: 'take' }
  /** Stops a paste. */
  | { tile: 'stop' }
  /** Ends the session. */
  | { tile: 'leave' };

/** Moves from one tile to another. */
export const STEPS = [
  { id: 'next-tile', name: 'Next tile', shortcut: 'Ctrl+Shift+ArrowRight', by: 1 },
  { id: 'last-tile', name: 'Previous tile', shortcut: 'Ctrl+Shift+ArrowLeft', by: -1 },
] as const;

/** Whether this page is in a tile. A page of another site that frames this one is not around a tile. */
export const isTile = parent !== window && isOurs(parent) && new URLSearchParams(location.search).has('tile');

/** The window that the user sees as the page. */
export const around = isTile ? parent : window;

if (isTile) {
  document.documentElement.dataset['tile'] = '';
  // Links lead the whole window there.
  const base = document.createElement('base');
  base.target = '_top';
  document.head.append(base);
  document.addEventListener('keydown', (event) => {
    const by = stepOf(event);
    if (by === undefined) return;
    event.preventDefault();
    tellAround({ tile: 'step', by });
  });
}

/** The tile that a key means. */
export function stepOf(event: KeyboardEvent): -1 | 1 | undefined {
  return STEPS.find(({ shortcut }) => isPressed(event, shortcut))?.by;
}

/** Tells the page around the tiles; nobody else hears it. */
export function tellAround(message: FromTile): void {
  if (isTile) parent.postMessage(message, location.origin);
}

/** Does what the page around the tiles says. */
export function obeyAround(obey: (message: ToTile) => void): void {
  if (!isTile) return;
  addEventListener('message', ({ source, origin, data }) => {
    if (source === parent && origin === location.origin) obey(data as ToTile);
  });
}

/** A tile watches at first. A session that typed here and is still there goes on by its key. */
export function watchAtFirst(access: Access): void {
  if (isTile) access.mode = 'watch';
}

/** Goes to the login and back. */
export function goToLogin(): void {
  around.location.replace(loginAround());
}

/** The login that leads back here. */
export function loginAround(): string {
  return absolute(loginPage(around.location));
}

/** Goes to the page with all servers, where the server of this name is in view. */
export function goToServers(name?: string): void {
  around.location.assign(absolute(serversPage(name)));
}

/** What is written for this page means the same for the one around it. */
function absolute(url: string): string {
  return new URL(url, location.href).href;
}

function isOurs({ location: there }: Window): boolean {
  try {
    return there.origin === location.origin;
  } catch {
    return false;
  }
}
