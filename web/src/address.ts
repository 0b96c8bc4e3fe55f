// The token arrives in the address. The page removes it from the address bar and the history at once, and keeps it in
// this tab's session storage, so that a reload and Back work. The resume key of the tab's session is kept beside it.
// Both are kept for each console that the tab has opened.

import type { AskedMode, Mode } from './messages';

const STORE = 'serialproxy.console';
const SESSION_STORE = 'serialproxy.session';

/** What this page attaches with: a console's address and its token. */
export interface Access {
  /** The path of the console URL; the socket opens at the same one. */
  path: string;
  token: string;
  /** The mode to ask for. Default: type if nobody else does (`auto`). */
  mode?: Mode;
}

/** A session that can be resumed. */
export interface Kept {
  session: string;
  /** The resume key, valid once. */
  resume: string;
}

/** Takes the access from the address bar or, if there is no token, what this tab kept for this path. */
export function takeAccess(): Access | undefined {
  const { pathname, search } = location;
  const query = new URLSearchParams(search);
  const token = query.get('token');
  const mode = query.get('mode');
  if (!token && mode !== 'watch') return load<Access>(STORE, pathname);
  if (!token) {
    // A request to watch must not resume a session that typed here.
    store(SESSION_STORE, pathname, undefined);
    return undefined;
  }
  const access: Access = { path: pathname, token };
  if (mode === 'watch' || mode === 'write') access.mode = mode;
  history.replaceState(null, '', pathname);
  keepAccess(access);
  keepSession(access, undefined);
  return access;
}

/** Remembers the access for a reload of this tab. */
export function keepAccess(access: Access): void {
  store(STORE, access.path, access);
}

/** Remembers the session for a reload of this tab, or forgets it. */
export function keepSession({ path }: Access, kept: Kept | undefined): void {
  store(SESSION_STORE, path, kept);
}

/** The session that this tab, or the one that it was opened from, had at this path. */
export function keptSession({ path }: Access): Kept | undefined {
  return load<Kept>(SESSION_STORE, path);
}

/** How one attempt attaches, and where its output begins. */
export interface Request {
  /** The resume key, used instead of the token. */
  resume?: string | undefined;
  mode?: AskedMode | undefined;
  /** The grid for which the proxy paints the screen. While somebody else types, it uses that user's grid instead. */
  grid?: { rows: number; cols: number } | undefined;
  /** The offset of the first byte that this page lacks, and the id of the line to which it belongs. */
  from?: { offset: number; line: string } | undefined;
}

/** The WebSocket URL for one attempt. Without `mode`, the token's own mode applies. */
export function socketUrl(access: Access, { resume, mode, from, grid }: Request): string {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const query = new URLSearchParams(resume ? { resume } : { token: access.token });
  if (mode && !resume) query.set('mode', mode);
  if (from) {
    query.set('from', String(from.offset));
    query.set('line', from.line);
  }
  if (grid) {
    query.set('rows', String(grid.rows));
    query.set('cols', String(grid.cols));
    query.set('grid', 'theirs');
  }
  return `${scheme}//${location.host}${access.path}?${query}`;
}

function store(name: string, path: string, value: object | undefined): void {
  try {
    if (value) sessionStorage.setItem(`${name} ${path}`, JSON.stringify(value));
    else sessionStorage.removeItem(`${name} ${path}`);
  } catch {
    // Storage can be switched off or full; then a reload needs a new console URL.
  }
}

function load<T>(name: string, path: string): T | undefined {
  try {
    return (JSON.parse(sessionStorage.getItem(`${name} ${path}`) ?? 'null') as T | null) ?? undefined;
  } catch {
    return undefined;
  }
}
