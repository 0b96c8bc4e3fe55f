// Addresses of this site: the servers page, each console without a token (`/console/SERVER/PORT`), and several of them
// side by side (`/consoles?at=SERVER/PORT&at=…`). If the proxy is below the path of a reverse proxy, they are, too.

/** A serial port, as its address names it. */
export interface Place {
  /** Name or UUID of the server. */
  server: string;
  port: number;
}

const CONSOLE = /\/console\/([^/]+)\/(\d{1,3})$/;

const TILES = /\/consoles$/;

/** Maximum number of consoles side by side. */
export const MOST_TILES = 9;

/** The console that a path names; undefined if it names none. */
export function consolePlace(path: string): Place | undefined {
  const [, server, port] = CONSOLE.exec(path) ?? [];
  if (server === undefined || port === undefined) return undefined;
  try {
    return { server: decodeURIComponent(server), port: Number(port) };
  } catch {
    return undefined;
  }
}

/** The root of the site: relative from the addresses above, `/` from others. */
export function root(): string {
  if (TILES.test(location.pathname)) return './';
  return CONSOLE.test(location.pathname) ? '../../' : '/';
}

/** The address of a console, from the root of the site. */
export function consolePath(server: string, port: number): string {
  return `console/${encodeURIComponent(server)}/${port}`;
}

/** The address of consoles side by side, from the root of the site. */
export function tilesPath(places: readonly Place[]): string {
  const query = new URLSearchParams(places.map(({ server, port }) => ['at', `${server}/${port}`]));
  return `consoles?${query}`;
}

/** The consoles that the query of such an address names, each once, at most `MOST_TILES`. Skips invalid ones. */
export function tilePlaces(search: string): Place[] {
  const places = new Map<string, Place>();
  for (const at of new URLSearchParams(search).getAll('at')) {
    const [, server, port] = /^(.{1,255})\/(\d{1,3})$/.exec(at) ?? [];
    if (server !== undefined && places.size < MOST_TILES) places.set(at, { server, port: Number(port) });
  }
  return [...places.values()];
}

/** The address of the servers page, with the server of this name in view. */
export function serversPage(name: string | undefined): string {
  return name === undefined ? root() : `${root()}#${encodeURIComponent(name)}`;
}

/** The address of the servers page that asks to log in, and then leads back to this location. */
export function loginPage({ pathname, search }: Location = location): string {
  const way = (CONSOLE.exec(pathname) ?? TILES.exec(pathname))?.[0].slice(1) ?? '';
  return `${root()}?next=${encodeURIComponent(way + search)}`;
}

/**
 * The address to which the query leads after a login, from the root of the site. Undefined unless it is the address of
 * one or several consoles, so that it cannot lead to another site.
 */
export function wayBack(search: string): string | undefined {
  const next = new URLSearchParams(search).get('next') ?? '';
  const isTiles = next.startsWith('consoles?') && next === tilesPath(tilePlaces(next.slice('consoles'.length)));
  return isTiles || ONE.test(next) ? next : undefined;
}

const ONE = /^console\/(?!\.\.?\/)[\w.~%!'()*-]+\/\d{1,3}(\?mode=(watch|write))?$/;
