// Where the token comes from and where it is kept: it arrives in the address, leaves the address bar
// and the history at once, and stays in this tab's storage so that a reload works, and Back. The key with
// which the tab's session can come back is kept beside it. Both are kept for each console that the tab was at.

import type { AskedMode, Mode } from './messages';

const STORE = 'serialproxy.console';
const SESSION_STORE = 'serialproxy.session';

/** What this page attaches with. */
export interface Access {
  /** The path of the console URL; the socket opens at the same one. */
  path: string;
  token: string;
  /** What to ask for; without it, to type where nobody else does. */
  mode?: Mode;
}

/** A session that can come back. */
export interface Kept {
  session: string;
  /** The key for resuming it once. */
  resume: string;
}

/** Takes the access out of the address bar, or else what this tab kept for this path. */
export function takeAccess(): Access | undefined {
  const { pathname, search } = location;
  const query = new URLSearchParams(search);
  const token = query.get('token');
  const mode = query.get('mode');
  if (!token && mode !== 'watch') return load<Access>(STORE, pathname);
  if (!token) {
    // To watch, no session comes back that typed here.
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
  /** Instead of the token. */
  resume?: string | undefined;
  mode?: AskedMode | undefined;
  /** The grid that the screen is painted for, unless somebody else types: then the page shows their grid. */
  grid?: { rows: number; cols: number } | undefined;
  /** The first offset that this page lacks, and the line id that it counts in. */
  from?: { offset: number; line: string } | undefined;
}

/** The socket's address for one attempt; without a mode the token's own counts. */
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
    // Storage can be switched off or full; then a reload asks for a new URL.
  }
}

function load<T>(name: string, path: string): T | undefined {
  try {
    return (JSON.parse(sessionStorage.getItem(`${name} ${path}`) ?? 'null') as T | null) ?? undefined;
  } catch {
    return undefined;
  }
}
