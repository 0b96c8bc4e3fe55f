// Plays the proxy: serves the built page under the proxy's headers, and lets a test say what each
// console session does, frame by frame.

import { EventEmitter, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

import { PATIENCE } from './browser.mjs';

const DIST = new URL('../dist/', import.meta.url);

export const TYPES = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

export const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; " +
    "img-src 'self' data:; font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

/** Those of a console's address, which the page with several consoles frames. */
const FRAMED = {
  ...HEADERS,
  'content-security-policy': HEADERS['content-security-policy'].replace("ancestors 'none'", "ancestors 'self'"),
};

/** The session of a page, unless a test says another. */
export const SESSION = '7d9f5d2e-6a6c-4f0c-9a3b-0d2f5f3a9a01';

/** Starts on a free port of the loopback interface. */
export async function startProxy() {
  const proxy = new Proxy();
  await proxy.listen(0);
  return proxy;
}

class Proxy {
  #attempts = [];
  #arrived = new EventEmitter();
  /** Paths that were asked for, with their queries. */
  requests = [];
  /** Whether there is a servers page. */
  servers = true;
  /** Who is logged in; with no methods everybody is let in. */
  caller = null;
  methods = ['password', 'token', 'link'];
  /** What `/v1` lists: servers, and the ports of each, by id. */
  fleet = [];
  ports = new Map();
  /** Calls of the API that change something, as `METHOD path`. */
  changes = [];
  /** The boots and arrival times that pages ask for, and what is kept: from an offset on, `{offset, bytes, end}`. */
  boots = { first: 0, boots: [] };
  times = [];
  end = Infinity;
  history = undefined;
  /** The bodies of these calls. */
  bodies = [];
  /** Answers instead of the usual one, by `METHOD path`: `[status, body]`, or what gives it at the call. */
  instead = new Map();

  async listen(port) {
    this.http = createServer((request, response) => void this.#serve(request, response));
    this.sockets = new WebSocketServer({
      server: this.http,
      handleProtocols: (offered) => (offered.has('console.v1') ? 'console.v1' : false),
    });
    this.sockets.on('connection', (socket, request) => {
      this.#attempts.push(new Attempt(this, socket, request));
      this.#arrived.emit('attempt');
    });
    this.http.listen(port, '127.0.0.1');
    await once(this.http, 'listening');
    this.port = this.http.address().port;
  }

  /** A console URL. */
  url(query = 'token=secret-token', path = '/serial.html') {
    return `http://127.0.0.1:${this.port}${path}${query ? `?${query}` : ''}`;
  }

  /** The next session that a page opens. */
  async attempt() {
    while (this.#attempts.length === 0) {
      await once(this.#arrived, 'attempt', { signal: AbortSignal.timeout(PATIENCE) });
    }
    return this.#attempts.shift();
  }

  /** The next session, let in. */
  async admit(hello = {}) {
    const attempt = await this.attempt();
    attempt.hello(hello);
    return attempt;
  }

  stop() {
    // Also those of a page that a test has lost sight of: else this waits for ever.
    for (const socket of this.sockets.clients) socket.terminate();
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }

  async #serve(request, response) {
    const { pathname, search } = new URL(request.url, 'http://proxy');
    this.requests.push(request.url);
    if (pathname.endsWith('/history') && this.history) {
      const { offset, bytes, end } = this.history(Number(new URLSearchParams(search).get('from')));
      const next = offset + bytes.length;
      const numbers = { 'x-console-offset': offset, 'x-console-next': next, 'x-console-end': end };
      return response.writeHead(200, { ...HEADERS, ...numbers }).end(bytes);
    }
    if (/^\/v[13]\//.test(pathname)) {
      let sent = '';
      for await (const chunk of request) sent += chunk;
      if (sent) this.bodies.push(JSON.parse(sent));
      const [status, body] = this.#call(request.method, pathname, new URLSearchParams(search));
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      return response.end(body === undefined ? '' : JSON.stringify(body));
    }
    const listed = pathname === '/' && this.servers && !search.includes('token=');
    const isConsole = /^\/console\/[^/]+\/\d+$/.test(pathname);
    const last = isConsole ? 'serial.html' : pathname.split('/').pop();
    const name = last === 'consoles' ? 'consoles.html' : last || (listed ? 'servers.html' : 'serial.html');
    const body = await readFile(new URL(name, DIST)).catch(() => undefined);
    if (!body) return response.writeHead(404, HEADERS).end();
    const type = TYPES[name.split('.').pop()] ?? 'text/plain';
    return response.writeHead(200, { ...(isConsole ? FRAMED : HEADERS), 'content-type': type }).end(body);
  }

  #call(method, path, query) {
    if (method !== 'GET') this.changes.push(`${method} ${path}?${query}`);
    const instead = this.instead.get(`${method} ${path}`);
    if (instead) return typeof instead === 'function' ? instead() : instead;
    const { methods } = this;
    if (path === '/v1/login') return this.#login(method);
    if (!this.caller && methods.length > 0) {
      return [401, { unauthorized: { code: 401, message: 'missing or invalid credentials' } }];
    }
    const [, one] = /^\/v1\/servers\/([^/]+)$/.exec(path) ?? [];
    const server = this.fleet.find(({ id }) => id === one);
    if (server) return [200, { server }];
    if (path === '/v1/servers') {
      const name = query.get('exact_name');
      return [200, { servers: this.fleet.filter((one) => name === null || one.name === name) }];
    }
    if (path === '/v1/lines') {
      const of = query.get('of_server');
      const lines = this.fleet.flatMap(({ id, name }) =>
        (this.ports.get(id) ?? [0]).map((port) => ({ server: { id, name }, port })),
      );
      return [200, { lines: lines.filter(({ server }) => of === null || server.id === of) }];
    }
    if (path.endsWith('/get-serial-console')) {
      return [202, { serial_console: { url: this.url(`token=fresh-${this.changes.length}`) } }];
    }
    return [404, { itemNotFound: { code: 404, message: 'no such thing' } }];
  }

  #login(method) {
    if (method === 'DELETE') this.caller = null;
    if (method === 'POST') this.caller = CALLER;
    const { caller, methods } = this;
    if (method === 'GET') return [200, { caller, methods, keystone: false }];
    return method === 'POST' ? [201, { user: 'carol', expires: '2026-12-01T00:00:00Z' }] : [204];
  }
}

/** Who logs in. */
export const CALLER = { user: 'carol', project: 'p-1', project_name: 'research', role: 'member' };

/** A server of the fleet. */
export function fleetServer(number, fields = {}) {
  const id = `a3b7c1d2-0000-4000-8000-${String(number).padStart(12, '0')}`;
  const can = ['watch', 'write', 'force', 'power'];
  return { id, name: `web-${number}`, status: 'ACTIVE', static: false, can, ...fields };
}

/** One session, from the proxy's side. */
class Attempt {
  #changed = new EventEmitter();
  /** Everything typed, in order. */
  input = Buffer.alloc(0);
  /** Input bytes of the session so far. */
  count = 0;
  /** Whether input is acknowledged at once, and a ping answered. */
  acknowledges = true;
  answersPings = true;
  /** Every control message of the page. */
  messages = [];
  /** Length of each binary frame. */
  frames = [];

  constructor(proxy, socket, request) {
    this.proxy = proxy;
    this.socket = socket;
    this.query = new URL(request.url, 'http://proxy').searchParams;
    /** The grid, apart from the rest of the query: it depends on fonts. */
    this.grid = new URLSearchParams();
    for (const name of ['rows', 'cols', 'grid']) {
      this.grid.set(name, this.query.get(name) ?? '');
      this.query.delete(name);
    }
    this.path = new URL(request.url, 'http://proxy').pathname;
    this.protocol = socket.protocol;
    socket.on('message', (data, binary) => this.#receive(data, binary));
    socket.on('close', (code) => {
      this.closedWith = code;
      this.#changed.emit('change');
    });
  }

  /** Lets it in. `fields` are those of the greeting that matter. */
  hello(fields = {}) {
    this.count = fields.input ?? 0;
    this.say({
      type: 'hello',
      session: SESSION,
      line: '1c1d7b5e-51c4-4d39-8a43-0f6b1f0d2b02',
      server: { id: 'a3b7c1d2-0000-4000-8000-000000000003', name: 'web-1' },
      port: 0,
      user: 'carol',
      mode: 'write',
      state: 'connected',
      reason: 'connected',
      epoch: 1,
      offset: 0,
      input: 0,
      grace: 60,
      can: ['write'],
      ...fields,
    });
  }

  /** The pen is this page's now, or someone else's. */
  pen(state, fields = {}) {
    this.say({ type: 'pen', state, ...fields });
  }

  /** The page's control messages of one type. */
  said(type) {
    return this.messages.filter((message) => message.type === type);
  }

  /** Waits for so many of the page's messages of one type, and gives them. */
  async hears(type, count = 1) {
    await this.until(() => this.said(type).length >= count, `${count} ${type}`);
    return this.said(type);
  }

  /** Sends a control message. */
  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  /** Sends bytes of the line. */
  print(bytes) {
    this.socket.send(Buffer.from(bytes));
  }

  close(code, reason = '') {
    this.socket.close(code, reason);
  }

  /** Breaks the connection without a close frame: the browser sees 1006. */
  drop() {
    this.socket.terminate();
  }

  /** Waits until `text` was typed. */
  typed(text) {
    return this.until(() => this.input.includes(text), `input ${JSON.stringify(text)}`);
  }

  /** Waits until `happened()` is true; looks after each frame of the page. */
  async until(happened, what) {
    const signal = AbortSignal.timeout(PATIENCE);
    while (!happened()) {
      await once(this.#changed, 'change', { signal }).catch(() => {
        throw new Error(
          `no ${what}; input so far: ${JSON.stringify(this.input.toString('latin1'))}`,
        );
      });
    }
  }

  /** Tells who waits that the page said something. */
  #receive(data, binary) {
    if (binary) {
      this.input = Buffer.concat([this.input, data]);
      this.frames.push(data.length);
      this.count += data.length;
      if (this.acknowledges) this.say({ type: 'ack', input: this.count });
    } else {
      this.#heed(JSON.parse(data.toString()));
    }
    this.#changed.emit('change');
  }

  #tellTimes({ from, to }) {
    const before = this.proxy.times.filter(({ offset }) => offset <= from).slice(-1);
    const within = this.proxy.times.filter(({ offset }) => offset > from && offset < to);
    this.say({ type: 'times', from, to: Math.min(to, this.proxy.end), times: [...before, ...within] });
  }

  #heed(message) {
    this.messages.push(message);
    if (message.type === 'input') this.count = message.offset;
    if (message.type === 'boots') this.say({ type: 'boots', ...this.proxy.boots });
    if (message.type === 'times') this.#tellTimes(message);
    if (message.type === 'ping' && this.answersPings) this.say({ type: 'pong', id: message.id });
  }
}
