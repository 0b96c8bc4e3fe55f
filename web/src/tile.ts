// One console of those that stand side by side: the page in its tile shows the terminal and little else, tells the page
// around it how things are, and hears from it. It watches until one clicks into it.

import type { Access } from './address';
import { keptSession } from './address';
import { loginPage, serversPage } from './places';

/** What the page in a tile says. */
export type FromTile =
  /** The title of its window, which names the console and carries the marks of a tab. */
  | { tile: 'title'; title: string }
  /** Its status line, and whether what is typed reaches the guest. */
  | { tile: 'state'; tone: string; words: string; takesInput: boolean }
  /** What was typed or pasted, for the tiles that get the same. */
  | { tile: 'typed' | 'pasted'; text: string }
  /** The focus goes to the tile that is so many further; 0 means to the buttons of this one. */
  | { tile: 'step'; by: -1 | 0 | 1 };

/** What the page around the tiles says. */
export type ToTile = { tile: 'type' | 'paste'; text: string } | { tile: 'take' | 'focus' };

/** What the page in a tile does for the one around it. */
export interface Tiled {
  type(text: string): void;
  paste(text: string): void;
  /** Comes to type, where nobody does. */
  take(): void;
  focus(): void;
}

/** Whether this page is in a tile. A page of another site that frames this one is not around a tile. */
export const isTile = parent !== window && isOurs(parent) && new URLSearchParams(location.search).has('tile');

/** The window that the user sees as the page. */
const around = isTile ? parent : window;

if (isTile) {
  document.documentElement.dataset['tile'] = '';
  // Links lead the whole window there.
  const base = document.createElement('base');
  base.target = '_top';
  document.head.append(base);
}

/** Tells the page around the tiles; nobody else hears it. */
export function tellAround(message: FromTile): void {
  if (isTile) parent.postMessage(message, location.origin);
}

/** Does what the page around the tiles says, and comes to type when the focus comes. */
export function obeyAround(tiled: Tiled): void {
  if (!isTile) return;
  addEventListener('focus', () => tiled.take());
  addEventListener('message', ({ source, origin, data }) => {
    if (source !== parent || origin !== location.origin) return;
    const message = data as ToTile;
    if (message.tile === 'type' || message.tile === 'paste') tiled[message.tile](message.text);
    else tiled[message.tile]();
  });
}

/** A tile watches at first, unless a session that typed is still there. */
export function watchAtFirst(access: Access): void {
  if (isTile && !keptSession(access)) access.mode = 'watch';
}

/** Goes to the login and back. */
export function goToLogin(): void {
  around.location.replace(absolute(loginPage(around.location)));
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
