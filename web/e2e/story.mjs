// What each story has: the real program that the Rust test started, Chromium, and the guest's end of a
// simulated port. Where they are comes in one environment variable, since process lists show arguments.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { after, afterEach, before, beforeEach } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { PATIENCE, blank, launch, terminalText } from '../test/browser.mjs';

/** `api`, `server` (its UUID), and what else the story's test says. */
export const story = JSON.parse(process.env.SERIALPROXY_STORY);

export const status = (page, text) => page.getByRole('status').filter({ hasText: text });
export const alert = (page, text) => page.getByRole('alert').filter({ hasText: text });
export const button = (page, name) => page.getByRole('button', { name, exact: true });
export const offer = (page, name) => page.locator('#offers').getByRole('button', { name });

/** Asks again and again until the answer is something. */
export async function eventually(what, ask) {
  const end = Date.now() + PATIENCE;
  while (Date.now() < end) {
    const answer = await ask();
    if (answer) return answer;
    await pause(20);
  }
  throw new Error(`${what}: not within ${PATIENCE / 1000} s`);
}

/** A call of the API by `user`, or by who has the story's token. */
export async function call(method, path, { user = 'alice', body } = {}) {
  const headers = { 'content-type': 'application/json' };
  if (story.token) headers['x-auth-token'] = story.token;
  else headers['x-user'] = user;
  const answer = await fetch(story.api + path, { method, headers, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer;
}

/**
 * Types until a shell answers: while the guest boots, nothing does, and keys are lost. A quote without its
 * partner would make the shell wait for ever, a backslash does not.
 */
export async function knock(page, word) {
  await page.locator('#screen').click();
  const answers = eventually('a shell answers', async () => {
    await page.keyboard.type(`echo ${word[0]}\\${word.slice(1)} again\r`);
    const text = `\n${word} again`;
    const seen = page.waitForFunction((wanted) => window.serialproxy.text().includes(wanted), text, {
      timeout: 2000,
    });
    return seen.then(
      () => true,
      () => false,
    );
  });
  await answers.catch(async (error) => {
    const says = await page.getByRole('status').allTextContents();
    error.message += `; the page says ${says.join(' / ')} and shows ${await terminalText(page)}`;
    throw error;
  });
}

/** A console URL for `user`, as the API gives it. */
export async function consoleUrl(user = 'alice', query = '') {
  const path = `/v3/servers/${story.server}/get-serial-console${query}`;
  const answer = await (await call('POST', path, { user })).json();
  return answer.serial_console.url;
}

/** Call once per file. After each test no page may have reported a fault that it did not expect. */
export function stage(flags) {
  const stage = {
    /** An empty window, which notes its responses and what a policy forbade. */
    async blank(options) {
      const page = await blank(stage.browser, options);
      stage.pages.push(page);
      page.responses = [];
      page.requests = [];
      page.on('response', (response) => page.responses.push(response));
      page.on('request', (request) => page.requests.push(request.url()));
      page.on('websocket', (socket) => page.requests.push(socket.url()));
      await page.addInitScript(() => {
        window.violations = [];
        document.addEventListener('securitypolicyviolation', (event) =>
          window.violations.push(`${event.effectiveDirective} ${event.blockedURI}`),
        );
      });
      return page;
    },
    /** A window at a console URL. */
    async open(url, options) {
      const page = await stage.blank(options);
      await page.goto(url);
      return page;
    },
  };
  before(async () => {
    stage.browser = await launch(flags);
  });
  beforeEach(() => {
    stage.pages = [];
  });
  afterEach(async () => {
    const violations = await Promise.all(
      stage.pages.map((page) => page.evaluate(() => window.violations)),
    );
    const faults = stage.pages.flatMap((page) => page.faults);
    await Promise.all(stage.pages.map((page) => page.context().close()));
    await eventually('every session ends', endSessions);
    assert.deepEqual(violations.flat(), []);
    assert.deepEqual(faults, []);
  });
  after(() => stage.browser.close());
  return stage;
}

/** Ends what is left of closed pages, which could come back for a while; says whether all is over. */
async function endSessions() {
  const { sessions } = await (await call('GET', '/v1/sessions')).json();
  for (const { id } of sessions) {
    // One may end by itself meanwhile.
    await call('DELETE', `/v1/sessions/${id}`).catch(() => undefined);
  }
  return sessions.length === 0;
}

/** What is named after its content comes compressed and is kept; nothing else is kept. */
export function assertKept(url, headers) {
  const named = /-[A-Z2-7]{8}\.\w+$/.test(url);
  const kept = named ? 'public, max-age=31536000, immutable' : 'no-store';
  assert.equal(headers['cache-control'], kept, url);
  if (named) assert.match(headers['content-encoding'], /^(br|gzip)$/, url);
}

/** Nothing may reach beyond the window sideways. */
export async function assertNoSidewaysScroll(page) {
  const { scrollWidth, clientWidth } = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return { scrollWidth, clientWidth };
  });
  assert.equal(scrollWidth, clientWidth);
}

/**
 * On the screen, rows that begin with their number follow each other unless a note says that some are
 * missing. What is no such row has to match `other`.
 */
export function assertRowsFollow(text, other) {
  let expected;
  for (const row of text.split('\n')) {
    const number = /^(\d{12}) \.+$/.exec(row)?.[1];
    if (number && expected) assert.equal(Number(number), expected);
    expected = number && Number(number) + 1;
    if (other.test(row)) continue;
    // A gap cuts the line before it, and the one after it.
    assert.match(row, /^[\d. ]*$|^\[… .* skipped: this browser was too slow …\]$/);
  }
}

/** The guest's end of a simulated port. */
export class Guest {
  /** What was typed since `hears`. */
  typed = Buffer.alloc(0);
  /** Bytes that were printed. */
  printed = 0;

  /** The guest's end of the port's present, or else its next, connection. */
  static async attach() {
    const socket = connect(story.guest, '127.0.0.1');
    await once(socket, 'connect');
    socket.setNoDelay(true);
    return new Guest(socket);
  }

  constructor(socket) {
    this.socket = socket;
    socket.on('data', (bytes) => (this.typed = Buffer.concat([this.typed, bytes])));
    // When the program is killed.
    socket.on('error', () => {});
  }

  print(bytes) {
    this.printed += Buffer.byteLength(bytes);
    this.socket.write(bytes);
  }

  /** Waits until exactly `text` was typed since the last time. */
  async hears(text) {
    await eventually(`${JSON.stringify(text)} is typed`, () => this.typed.length >= text.length);
    assert.equal(this.typed.toString(), text);
    this.typed = Buffer.alloc(0);
  }

  leave() {
    this.socket.destroy();
  }
}

/** A network between the browser and the proxy, which can be cut. */
export class Cable {
  cut = false;
  #ends = new Set();

  /** Lays it to the proxy of a console URL. */
  static async lay(url) {
    const cable = new Cable();
    const { hostname, port } = new URL(url);
    cable.server = createServer((near) => cable.#join(near, connect(port, hostname)));
    cable.server.listen(0, '127.0.0.1');
    await once(cable.server, 'listening');
    return cable;
  }

  /** The console URL over the cable. */
  url(url) {
    const far = new URL(url);
    far.port = this.server.address().port;
    return far.href;
  }

  /** From now on nothing passes, and nobody is told why. */
  break() {
    this.cut = true;
    for (const end of this.#ends) end.destroy();
  }

  mend() {
    this.cut = false;
  }

  remove() {
    this.break();
    this.server.close();
  }

  #join(near, far) {
    for (const [end, other] of [
      [near, far],
      [far, near],
    ]) {
      this.#ends.add(end);
      end.pipe(other);
      end.on('error', () => {});
      end.on('close', () => {
        this.#ends.delete(end);
        other.destroy();
      });
    }
    if (this.cut) near.destroy();
  }
}
