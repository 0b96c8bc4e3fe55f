// The API's calls that this page makes, through the proxy that serves it. Addresses are relative, so
// that the page works below the path of a reverse proxy too.

/** Milliseconds that a call may take. */
const USUAL = 20_000;

/** Milliseconds that a change of power may take: longer than the proxy waits for the API. */
const POWER = 320_000;

/** Servers or lines in one answer, and answers at most. */
const PAGE = 1000;
const PAGES = 10;

export interface Server {
  id: string;
  name: string;
  status: 'ACTIVE' | 'ERROR' | 'HOST_LOST' | 'PAUSED' | 'SHUTOFF' | 'SUSPENDED';
  /** Whether it is a `[static] line` and no guest. */
  static: boolean;
  /** The host that has it; without a cluster there may be none. */
  host?: string;
  /** What this user may do with it. */
  can: ('watch' | 'write' | 'force' | 'power' | 'admin')[];
  /** Serial ports that have no console, and why, with what to change. */
  unusable_ports?: { port: number; reason: string }[];
}

export interface Line {
  server: { id: string; name: string };
  port: number;
  state: 'waiting' | 'connected' | 'failed';
  reason: string;
  /** Why no bytes flow, in a word of the protocol. */
  cause?: string;
  endpoint: { kind: string; address: string } | null;
  /** New whenever offsets start at 0 again. */
  line: string;
  /** Bytes that were printed so far. */
  offset: number;
  /** `free_in` where its connection is lost: seconds until somebody else can type. */
  writer: { session: string; user: string; since: string; free_in?: number } | null;
  watchers: number;
}

export interface Session {
  id: string;
  server: { id: string; name: string };
  port: number;
  user: string;
  mode: 'watch' | 'write';
  since: string;
  address: string;
  protocol: string;
  state: 'live' | 'detached';
  /** Seconds until it is over, where its connection is lost. */
  ends_in?: number;
}

/** Everything that the page shows, at one time. */
export interface Snapshot {
  at: Date;
  /** When the servers were so, where they are not known to be so now. */
  serversAt: Date | undefined;
  servers: Server[];
  lines: Line[];
  sessions: Session[];
  /** Hosts whose lines or sessions are missing, because they did not respond. */
  unreachable: string[];
}

/** One page of a list, beside its items. */
interface Page {
  as_of?: string;
  unreachable?: string[];
}

/** All pages of a list. */
interface All<T> {
  items: T[];
  /** The oldest time of a page that is not current. */
  asOf: string | undefined;
  unreachable: string[];
}

export type Power = 'start' | 'stop' | 'reboot' | 'pause' | 'resume';

/** Why a call was not done; the message is for people. */
export class Fault extends Error {
  /** `status` is 0 when nobody answered. */
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export class Api {
  /** No token is needed with `auth_strategy = noauth`. */
  constructor(private readonly token: string | undefined) {}

  async snapshot(): Promise<Snapshot> {
    const [servers, lines, sessions] = await Promise.all([
      this.all<Server>('servers', ({ id }) => id),
      this.all<Line>('lines', ({ server, port }) => `${server.id}/${port}`),
      this.get<Page & { sessions: Session[] }>('v1/sessions'),
    ]);
    const unreachable = [...lines.unreachable, ...(sessions.unreachable ?? [])];
    return {
      at: new Date(),
      serversAt: servers.asOf === undefined ? undefined : new Date(servers.asOf),
      servers: servers.items,
      lines: lines.items,
      sessions: sessions.sessions,
      unreachable: [...new Set(unreachable)].sort(),
    };
  }

  /** Logs in by the code of a login link, which is good once. The proxy keeps the login in a cookie. */
  static async logIn(code: string): Promise<void> {
    await new Api(undefined).call('POST', 'v1/login', USUAL, { code });
  }

  /** A console URL, also for a server that is off. */
  async consoleUrl({ server, port }: Line, watch: boolean): Promise<string> {
    const query = new URLSearchParams({ port: String(port), wait: '1' });
    if (watch) query.set('mode', 'watch');
    const answer = await this.call('POST', `v3/servers/${server.id}/get-serial-console?${query}`);
    const { serial_console: console } = (await json(answer)) as {
      serial_console: { url: string };
    };
    return browsable(console.url);
  }

  async power(server: Server, power: Power): Promise<void> {
    await this.call('POST', `v1/servers/${server.id}/${power}`, POWER);
  }

  async disconnect(session: Session, reason: string): Promise<void> {
    const query = reason ? `?${new URLSearchParams({ reason })}` : '';
    await this.call('DELETE', `v1/sessions/${session.id}${query}`);
  }

  /** All pages of a list. */
  private async all<T>(name: string, marker: (last: T) => string): Promise<All<T>> {
    const all: All<T> = { items: [], asOf: undefined, unreachable: [] };
    for (let page = 0; page < PAGES; page += 1) {
      const last = all.items.at(-1);
      const query = new URLSearchParams({ limit: String(PAGE) });
      if (last) query.set('marker', marker(last));
      const answer = await this.get<Page & Record<string, T[]>>(`v1/${name}?${query}`);
      const items = answer[name] ?? [];
      all.items.push(...items);
      all.unreachable.push(...(answer.unreachable ?? []));
      if (answer.as_of !== undefined && !(all.asOf && all.asOf < answer.as_of)) all.asOf = answer.as_of;
      if (items.length < PAGE) break;
    }
    return all;
  }

  private async get<T>(path: string): Promise<T> {
    return (await json(await this.call('GET', path))) as T;
  }

  private async call(method: string, path: string, limit = USUAL, body?: object): Promise<Response> {
    const headers: Record<string, string> = {};
    if (this.token) headers['X-Auth-Token'] = this.token;
    if (body) headers['Content-Type'] = 'application/json';
    let answer: Response;
    try {
      answer = await fetch(path, {
        method,
        headers,
        ...(body && { body: JSON.stringify(body) }),
        cache: 'no-store',
        credentials: 'same-origin',
        signal: AbortSignal.timeout(limit),
      });
    } catch (error) {
      const late = error instanceof DOMException && error.name === 'TimeoutError';
      throw new Fault(0, late ? 'The proxy did not answer in time.' : 'The proxy cannot be reached.');
    }
    if (!answer.ok) throw await faultOf(answer);
    return answer;
  }
}

async function json(answer: Response): Promise<unknown> {
  try {
    return await answer.json();
  } catch {
    throw new Fault(0, 'The answer was cut off, or did not come from the API. Try again.');
  }
}

/** Reads `{"conflictingRequest": {"code": 409, "message": "…"}}`. */
async function faultOf(answer: Response): Promise<Fault> {
  const { status } = answer;
  try {
    const faults = (await answer.json()) as Record<string, { message: string }>;
    const message = Object.values(faults)[0]?.message;
    if (message) return new Fault(status, sentence(message));
  } catch {
    // A server between this page and the API answered, in another form.
  }
  const text = `The API failed without a reason (status ${status}). Try again, or look at its log.`;
  return new Fault(status, text);
}

function sentence(text: string): string {
  const words = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(words) ? words : `${words}.`;
}

/** A `ws:` console URL is also that of a page, as `http:`. */
function browsable(url: string): string {
  const page = url.replace(/^ws(s?):/, 'http$1:');
  if (!/^https?:/.test(page)) {
    throw new Fault(0, 'The API returned an invalid console URL. Check its option base_url.');
  }
  return page;
}
