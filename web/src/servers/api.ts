// The API calls of the servers page, through the proxy that serves it. Addresses are relative, so that the page also
// works below the path of a reverse proxy.

/** Timeout of a call, in milliseconds. */
const USUAL = 20_000;

/** Timeout of a change of power, in milliseconds: longer than the proxy waits for the API. */
const POWER = 320_000;

/** Maximum servers or lines in one answer, and maximum answers for one list. */
const PAGE = 1000;
const PAGES = 10;

export interface Server {
  id: string;
  name: string;
  status: 'ACTIVE' | 'ERROR' | 'HOST_LOST' | 'PAUSED' | 'SHUTOFF' | 'SUSPENDED';
  /** Whether it is a `[static] line` instead of a guest. */
  static: boolean;
  /** The host on which it is. Without a cluster, there may be none. */
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
  /** Why no output flows, or why input waits: a cause of the protocol. */
  cause?: string;
  /** The line's id, a new one whenever offsets start at 0 again. */
  line: string;
  /** Number of bytes that were printed so far. */
  offset: number;
  /** `free_in`: if its connection is lost, seconds until somebody else can type. */
  writer: { session: string; user: string; since: string; free_in?: number } | null;
  watchers: number;
  /** The last printed line, as plain text. */
  last_line?: string;
  /** Seconds since the last output, when the answer was made. */
  idle?: number;
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
  /** If its connection is lost: seconds until it ends. */
  ends_in?: number;
  /** Id of the shared link that opened it. */
  link?: string;
}

/** Who is logged in. */
export interface Who {
  user: string;
  project: string;
  project_name: string;
  role: 'reader' | 'member' | 'admin';
}

/** Who is logged in, and how a user can log in. Without methods, no login is needed. */
export interface LoginState {
  caller: Who | null;
  methods: ('password' | 'token' | 'link')[];
  /** Whether Keystone checks passwords, which needs a project, too. */
  keystone: boolean;
}

/** The credentials of a login. `code` is that of a login link. */
export type LogIn =
  | { code: string }
  | { token: string }
  | { user: string; password: string; project?: string; domain?: string };

/** One page of a list, besides its items. */
interface Page {
  as_of?: string;
  unreachable?: string[];
}

/** All pages of a list. */
export interface All<T> {
  items: T[];
  /** The oldest time of a page that is not current. */
  asOf: string | undefined;
  unreachable: string[];
}

export type Power = 'start' | 'stop' | 'reboot' | 'pause' | 'resume';

/** Why a call failed. The message is for the user. */
export class Fault extends Error {
  /** `status` is the HTTP status, or 0 if there was no valid answer. */
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The calls. A cookie authenticates them, which scripts cannot read. All throw a `Fault`. */
export class Api {
  loginState(): Promise<LoginState> {
    return this.get<LoginState>('v1/login');
  }

  async logIn(how: LogIn): Promise<void> {
    await this.call('POST', 'v1/login', USUAL, how);
  }

  async logOut(): Promise<void> {
    await this.call('DELETE', 'v1/login');
  }

  servers(): Promise<All<Server>> {
    return this.all<Server>('servers', {}, ({ id }) => id);
  }

  /** The lines; with `within`, only those that changed within that many seconds. */
  lines(within?: number): Promise<All<Line>> {
    const query: Record<string, string> = within === undefined ? {} : { changed_within: String(within) };
    return this.all<Line>('lines', query, ({ server, port }) => `${server.id}/${port}`);
  }

  /** The sessions at one line. */
  async sessions({ server, port }: Line): Promise<Session[]> {
    const { sessions } = await this.get<{ sessions: Session[] }>('v1/sessions');
    return sessions.filter((one) => one.server.id === server.id && one.port === port);
  }

  /** The newest output of a line, at most `most` bytes, with its escape sequences. */
  async output({ server, port, offset }: Line, most: number): Promise<Blob> {
    const from = new URLSearchParams({ from: String(Math.max(0, offset - most)), max: String(most) });
    return (await this.call('GET', `v1/lines/${server.id}/${port}/output?${from}`)).blob();
  }

  async power(server: Server, power: Power): Promise<void> {
    await this.call('POST', `v1/servers/${server.id}/${power}`, POWER);
  }

  async disconnect(session: Session, reason: string): Promise<void> {
    const query = reason ? `?${new URLSearchParams({ reason })}` : '';
    await this.call('DELETE', `v1/sessions/${session.id}${query}`);
  }

  /** All pages of a list, at most `PAGES`. `marker` names the last item of a page, after which the next page begins. */
  private async all<T>(
    name: string,
    query: Record<string, string>,
    marker: (last: T) => string,
  ): Promise<All<T>> {
    const all: All<T> = { items: [], asOf: undefined, unreachable: [] };
    for (let page = 0; page < PAGES; page += 1) {
      const last = all.items.at(-1);
      const asked = new URLSearchParams({ ...query, limit: String(PAGE) });
      if (last) asked.set('marker', marker(last));
      const answer = await this.get<Page & Record<string, T[]>>(`v1/${name}?${asked}`);
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
    const headers: Record<string, string> = body ? { 'Content-Type': 'application/json' } : {};
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
    // A server between this page and the API answered, in another format.
  }
  const text = `The API failed without a reason (status ${status}). Try again, or look at its log.`;
  return new Fault(status, text);
}

function sentence(text: string): string {
  const words = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(words) ? words : `${words}.`;
}
