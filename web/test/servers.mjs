// Plays the proxy and the API behind it for the servers page: serves the built page, and answers calls
// from what a test says the servers are.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

import { PATIENCE } from './browser.mjs';
import { HEADERS, TYPES } from './server.mjs';

const DIST = new URL('../dist/', import.meta.url);

export const TOKEN = 'the-admin-token';

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
  /** None: `auth_strategy = noauth`. */
  token = TOKEN;
  /** Every call that was made: method, path with query, headers. */
  calls = [];
  /** Answers instead of the usual one, by `METHOD path`: `[status, body]`, or a promise of it. */
  instead = new Map();

  async listen(port = 0) {
    this.http = createServer((request, response) => void this.#serve(request, response));
    this.http.listen(port, '127.0.0.1');
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
      const [status, body] = await this.#call(request, pathname);
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      response.end(body === undefined ? '' : JSON.stringify(body));
      return;
    }
    const page = searchParams.has('token') ? 'serial.html' : 'servers.html';
    const name = pathname === '/' ? page : pathname.split('/').pop();
    const body = await readFile(new URL(name, DIST)).catch(() => undefined);
    const type = TYPES[name.split('.').pop()] ?? 'text/plain';
    if (body) response.writeHead(200, { ...HEADERS, 'content-type': type }).end(body);
    else response.writeHead(404, HEADERS).end();
  }

  async #call({ method, url, headers }, path) {
    this.calls.push({ method, path: url, headers });
    // The one call without a token.
    if (path === '/v1/login') return this.instead.get(`${method} ${path}`);
    if (this.token && headers['x-auth-token'] !== this.token) {
      return [401, { unauthorized: { code: 401, message: 'no token, or one that is not known' } }];
    }
    const instead = this.instead.get(`${method} ${path}`);
    if (instead) return instead;
    const { asOf, unreachable } = this;
    const stale = asOf && { as_of: asOf, stale: true };
    if (path === '/v1/servers') return [200, { servers: this.servers, ...stale }];
    if (path === '/v1/lines') return [200, { lines: this.lines, unreachable }];
    if (path === '/v1/sessions') return [200, { sessions: this.sessions, unreachable }];
    if (path.endsWith('/get-serial-console')) {
      return [202, { serial_console: { url: `${this.url}?token=of-a-console` } }];
    }
    return [method === 'DELETE' ? 204 : 202, undefined];
  }
}
