// Plays the proxy and the API behind it for the servers page: serves the built page, and answers calls
// from what a test says the servers are.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

import { PATIENCE } from './browser.mjs';
import { HEADERS, TYPES } from './server.mjs';

const DIST = new URL('../dist/', import.meta.url);

export const TOKEN = 'the-admin-token';
export const PASSWORD = 'correct horse';

/** Who is logged in, unless a test says another. */
export const WHO = { user: 'alice', project: 'p-1', project_name: 'research', role: 'member' };

const COOKIE = 'login=of-a-page';

/** The id of server `number`. */
export const id = (number) => `a3b7c1d2-0000-4000-8000-${String(number).padStart(12, '0')}`;

export function server(number, fields = {}) {
  const can = ['watch', 'write', 'force', 'power'];
  return { id: id(number), name: `web-${number}`, status: 'ACTIVE', static: false, can, ...fields };
}

export function line({ id, name }, port = 0, fields = {}) {
  return {
    server: { id, name },
    port,
    state: 'connected',
    reason: 'connected',
    endpoint: { kind: 'tcp', address: `127.0.0.1:${10000 + port}` },
    line: '1c1d7b5e-51c4-4d39-8a43-0f6b1f0d2b02',
    epoch: 1,
    offset: 1000,
    first_offset: 0,
    bytes_in: 0,
    bytes_out: 1000,
    writer: null,
    watchers: 0,
    last_line: `web login ${port}:`,
    idle: 90,
    ...fields,
  };
}

export function session({ server, port }, fields = {}) {
  return {
    id: '7d9f5d2e-6a6c-4f0c-9a3b-0d2f5f3a9a01',
    server,
    port,
    user: 'alice',
    mode: 'write',
    since: new Date(Date.now() - 12 * 60_000).toISOString(),
    address: '192.0.2.7:50123',
    protocol: 'console.v1',
    state: 'live',
    ...fields,
  };
}

/** Starts on a free port of the loopback interface. */
export async function startApi() {
  const api = new ScriptedApi();
  await api.listen();
  return api;
}

class ScriptedApi {
  /** What `/v1` answers. */
  servers = [];
  lines = [];
  sessions = [];
  /** What else the answers say: when the servers were so, and which hosts did not respond. */
  asOf;
  unreachable;
  /** The ports that have changed; none: all of them. */
  changed;
  /** What `GET /v1/login` answers to who is logged in; with no methods everybody is. */
  who = WHO;
  methods = ['password', 'token', 'link'];
  keystone = false;
  /** Whether the cookie of a login is good. */
  knowsCookie = true;
  /** Every body of `POST /v1/login`. */
  logins = [];
  /** Every call that was made: method, path with query, headers. */
  calls = [];
  /** Answers instead of the usual one, by `METHOD path`: `[status, body]`, or a promise of it. */
  instead = new Map();

  async listen() {
    this.http = createServer((request, response) => void this.#serve(request, response));
    this.http.listen(0, '127.0.0.1');
    await once(this.http, 'listening');
    this.port = this.http.address().port;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** The calls of one method other than GET, as `METHOD path`. */
  get changes() {
    const changes = this.calls.filter(({ method }) => method !== 'GET');
    return changes.map(({ method, path }) => `${method} ${path}`);
  }

  stop() {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }

  /** Waits until `happened()` is true. */
  async until(happened, what) {
    const end = Date.now() + PATIENCE;
    while (!happened()) {
      if (Date.now() > end) throw new Error(`no ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async #serve(request, response) {
    const { pathname, searchParams } = new URL(request.url, 'http://proxy');
    if (/^\/v[13]\//.test(pathname)) {
      const [status, body, headers = {}] = await this.#call(request, pathname, searchParams);
      const kind = { 'content-type': 'application/json', 'cache-control': 'no-store' };
      response.writeHead(status, { ...kind, ...headers });
      response.end(body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body));
      return;
    }
    // The scripted proxy has no consoles: the page there says so.
    const last = pathname.split('/').pop();
    const name = last.includes('.') ? last : pathname === '/' ? 'servers.html' : 'serial.html';
    const body = await readFile(new URL(name, DIST)).catch(() => undefined);
    const type = TYPES[name.split('.').pop()] ?? 'text/plain';
    if (body) response.writeHead(200, { ...HEADERS, 'content-type': type }).end(body);
    else response.writeHead(404, HEADERS).end();
  }

  async #call(request, path, query) {
    const { method, url, headers } = request;
    this.calls.push({ method, path: url, headers });
    const instead = this.instead.get(`${method} ${path}`);
    if (instead) return instead;
    if (path === '/v1/login') return this.#login(request);
    if (!this.#isLoggedIn(request)) {
      return [401, { unauthorized: { code: 401, message: 'missing or invalid credentials' } }];
    }
    const { asOf, unreachable } = this;
    const stale = asOf && { as_of: asOf, stale: true };
    const key = ({ server, port }) => `${server.id}/${port}`;
    if (path === '/v1/servers') return [200, { servers: paged(this.servers, query, ({ id }) => id), ...stale }];
    if (path === '/v1/lines') {
      const lines = query.has('changed_within') ? (this.changed ?? this.lines) : this.lines;
      return [200, { lines: paged(lines, query, key), unreachable }];
    }
    if (path === '/v1/sessions') return [200, { sessions: this.sessions, unreachable }];
    if (path.endsWith('/output')) return [200, 'what it printed', { 'content-type': 'application/octet-stream' }];
    return [method === 'DELETE' ? 204 : 202, undefined];
  }

  #isLoggedIn({ headers }) {
    return this.methods.length === 0 || (this.knowsCookie && headers.cookie === COOKIE);
  }

  async #login(request) {
    if (request.method === 'GET') {
      const caller = this.#isLoggedIn(request) ? this.who : null;
      return [200, { caller, methods: this.methods, keystone: this.keystone }];
    }
    const past = 'Max-Age=0; ';
    const cookie = (value, more = '') => ({ 'set-cookie': `${value}; ${more}Path=/; HttpOnly; SameSite=Strict` });
    if (request.method === 'DELETE') return [204, undefined, cookie('login=', past)];
    const how = JSON.parse(Buffer.concat(await request.toArray()).toString());
    this.logins.push(how);
    if (how.token === TOKEN || how.password === PASSWORD || how.code === '0123abcd') {
      this.knowsCookie = true;
      return [201, { user: this.who.user, expires: '2026-12-01T00:00:00Z' }, cookie(COOKIE)];
    }
    const message = how.token ? 'this token is wrong or has expired' : 'the user name or the password is wrong';
    return [401, { unauthorized: { code: 401, message } }];
  }
}

/** A page of a list. */
function paged(items, query, keyOf) {
  const marker = query.get('marker');
  const from = marker === null ? 0 : items.findIndex((item) => keyOf(item) === marker) + 1;
  return items.slice(from, from + Number(query.get('limit') ?? 1000));
}
