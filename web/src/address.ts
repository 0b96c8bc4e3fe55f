// Where the token comes from and where it is kept: it arrives in the address, leaves the address bar
// and the history at once, and stays in this tab's storage so that a reload works.

import type { Mode } from './messages';

const STORE = 'serialproxy.console';

/** What a page load attaches with. */
export interface Access {
  /** The path of the console URL; the socket opens at the same one. */
  path: string;
  token: string;
  /** What to ask for; without it the token's own mode counts. */
  mode?: Mode;
}

/** Takes the access out of the address bar, or else what this tab kept for this path. */
export function takeAccess(): Access | undefined {
  const { pathname, search } = location;
  const query = new URLSearchParams(search);
  const token = query.get('token');
  if (!token) return keptAccess(pathname);
  const mode = query.get('mode');
  const access: Access = { path: pathname, token };
  if (mode === 'watch' || mode === 'write') access.mode = mode;
  history.replaceState(null, '', pathname);
  keepAccess(access);
  return access;
}

/** Remembers the access for a reload of this tab. */
export function keepAccess(access: Access): void {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(access));
  } catch {
    // Storage can be switched off; then a reload asks for a new URL.
  }
}

/** The socket's address for one attempt; without a mode the token's own counts. */
export function socketUrl(access: Access, mode: Mode | undefined): string {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const query = new URLSearchParams({ token: access.token });
  if (mode) query.set('mode', mode);
  return `${scheme}//${location.host}${access.path}?${query}`;
}

function keptAccess(path: string): Access | undefined {
  try {
    const access = JSON.parse(sessionStorage.getItem(STORE) ?? 'null') as Access | null;
    return access?.path === path ? access : undefined;
  } catch {
    return undefined;
  }
}
