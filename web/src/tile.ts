// One console of several that stand side by side. The page in a tile shows the terminal and little else, and exchanges
// messages with the page around it. It watches until the user clicks into it.

import type { Access } from './address';
import { loginPage, serversPage } from './places';
import { isPressed } from './shortcuts';

/** Messages of the page in a tile. */
export type FromTile =
  /** The title of its window, which names the console and carries the marks of a tab. */
  | { tile: 'title'; title: string }
  /** Its status line, whether a session is attached, and whether that session types. */
  | { tile: 'state'; tone: string; words: string; attached: boolean; types: boolean }
  /** The id of its server: another tile may show the same server by its name. */
  | { tile: 'opened'; server: string }
  /** What was typed or pasted, for the other tiles of a broadcast. */
  | { tile: 'typed' | 'pasted'; text: string }
  /** A paste was stopped. */
  | { tile: 'stopped' }
  /** Nobody is logged in. */
  | { tile: 'login' }
  /** Moves the focus by so many tiles; 0 moves it to the buttons of this one. */
  | { tile: 'step'; by: -1 | 0 | 1 };

/** Messages of the page around the tiles. */
export type ToTile =
  /** What was typed or pasted in another tile of a broadcast. */
  | { tile: 'type' | 'paste'; text: string }
  /** Whether what is typed here goes to other tiles as well. */
  | { tile: 'broadcast'; on: boolean }
  /** Take the focus, and type if nobody else does. */
  | { tile: 'focus' }
  /** Type if nobody else does. */
  | { tile: 'take' }
  /** Stop a paste. */
  | { tile: 'stop' }
  /** End the session. */
  | { tile: 'leave' };

/** The actions that move from one tile to another. */
export const STEPS = [
  { id: 'next-tile', name: 'Next tile', shortcut: 'Ctrl+Shift+ArrowRight', by: 1 },
  { id: 'last-tile', name: 'Previous tile', shortcut: 'Ctrl+Shift+ArrowLeft', by: -1 },
] as const;

/** Whether this page is in a tile. In a frame of another site, it is not. */
export const isTile = parent !== window && isOurs(parent) && new URLSearchParams(location.search).has('tile');

/** The window of the whole page: the one around the tiles, or this one. */
export const around = isTile ? parent : window;

if (isTile) {
  document.documentElement.dataset['tile'] = '';
  // Links open in the whole window, not in the tile.
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

/** The step between tiles that a key means. */
export function stepOf(event: KeyboardEvent): -1 | 1 | undefined {
  return STEPS.find(({ shortcut }) => isPressed(event, shortcut))?.by;
}

/** Sends a message to the page around the tiles, and to no other. Outside of a tile, does nothing. */
export function tellAround(message: FromTile): void {
  if (isTile) parent.postMessage(message, location.origin);
}

/** Passes the messages of the page around the tiles to `obey`. */
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

/** Goes to the login, which then leads back. */
export function goToLogin(): void {
  around.location.replace(loginAround());
}

/** The address of the login that leads back here. */
export function loginAround(): string {
  return absolute(loginPage(around.location));
}

/** Goes to the page with all servers, where the server of this name is in view. */
export function goToServers(name?: string): void {
  around.location.assign(absolute(serversPage(name)));
}

/** Resolves an address for use in the window around this page. */
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
