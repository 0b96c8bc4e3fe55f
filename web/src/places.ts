// Addresses of this site: the servers page, and each console without a token, `/console/SERVER/PORT`. Where a
// proxy is below the path of a reverse proxy, all of them are.

/** A serial port, as its address names it. */
export interface Place {
  /** Name or UUID of the server. */
  server: string;
  port: number;
}

const CONSOLE = /\/console\/([^/]+)\/(\d{1,3})$/;

/** The console that a path is the address of. */
export function consolePlace(path: string): Place | undefined {
  const [, server, port] = CONSOLE.exec(path) ?? [];
  if (server === undefined || port === undefined) return undefined;
  try {
    return { server: decodeURIComponent(server), port: Number(port) };
  } catch {
    return undefined;
  }
}

/** What leads from this page to the root of the site. */
export function root(): string {
  return CONSOLE.test(location.pathname) ? '../../' : '/';
}

/** The address of a console, from the root of the site. */
export function consolePath(server: string, port: number): string {
  return `console/${encodeURIComponent(server)}/${port}`;
}

/** The servers page, with the server of this name in view. */
export function serversPage(name: string | undefined): string {
  return name === undefined ? root() : `${root()}#${encodeURIComponent(name)}`;
}

/** The servers page, which asks to log in and leads back to the console of this path then. */
export function loginPage(): string {
  const { pathname, search } = location;
  const way = CONSOLE.exec(pathname)?.[0].slice(1) ?? '';
  return `${root()}?next=${encodeURIComponent(way + search)}`;
}

/**
 * Where the query says to go after a login: the address of a console from the root of the site, and nothing
 * else. So it leads to no other site.
 */
export function wayBack(search: string): string | undefined {
  const next = new URLSearchParams(search).get('next') ?? '';
  return /^console\/(?!\.\.?\/)[\w.~%!'()*-]+\/\d{1,3}(\?mode=(watch|write))?$/.test(next) ? next : undefined;
}
