// The servers page as people meet it: the table of ports, and what it says when something is away.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see } from './browser.mjs';
import {
  alert,
  api,
  button,
  cell,
  DESKTOP,
  enter,
  focused,
  item,
  link,
  manyServers,
  names,
  oneServer,
  openMenu,
  row,
  status,
  visit,
} from './servers-stage.mjs';
import { id, line, server } from './servers.mjs';

test('a row says state, name, port, last printed line, who is typing and when it printed', async () => {
  oneServer();
  const off = server(2, { status: 'SHUTOFF' });
  api.servers.push(off);
  api.lines.push(
    line(off, 0, { state: 'waiting', reason: 'the server is SHUTOFF', cause: 'stopped', idle: undefined }),
    line(off, 1, { state: 'failed', reason: 'connection refused' }),
  );
  const page = await enter();
  await see(page.getByText('3 ports', { exact: true }));
  const texts = (name) =>
    row(page, name).locator('td').evaluateAll((all) => all.map((one) => one.innerText));
  assert.deepEqual((await texts('web-1, port 0')).slice(0, 6), [
    'running',
    'web-1',
    '0',
    'web login 0:',
    'alice1 watching',
    '1 min',
  ]);
  await see(cell(page, 'web-1, port 0', 'Typing').getByTitle(/^alice has been typing since .* \(for 12 minutes\)$/));
  await see(cell(page, 'web-1, port 0', 'Output').getByTitle(/^Last output at \d\d:\d\d:\d\d$/));
  assert.deepEqual((await texts('web-2, port 0')).slice(0, 6), ['off', 'web-2', '0', 'web login 0:', '', '']);
  assert.deepEqual((await texts('web-2, port 1')).slice(0, 4), ['failed', 'web-2', '1', 'connection refused']);
  assert.doesNotMatch(await page.locator('body').innerText(), /SHUTOFF|\bpen\b|\bwrit/i);
});

test('what changes is shown by itself, and the focus and the scroll position stay', async () => {
  manyServers(100);
  const page = await enter();
  await page.evaluate(() => scrollTo(0, 1200));
  await link(page, 'Open web-40, port 0').focus();
  const before = await page.evaluate(() => scrollY);
  Object.assign(api.lines[39], {
    writer: { session: id(1), user: 'carol', since: new Date().toISOString() },
    last_line: 'Kernel panic',
    offset: 2000,
    idle: 0,
  });
  await see(cell(page, 'web-40, port 0', 'Last printed line').getByText('Kernel panic'));
  await see(cell(page, 'web-40, port 0', 'Typing').getByText('carol'));
  await see(cell(page, 'web-40, port 0', 'Output').getByText(/^(now|\d+ s)$/));
  await see(row(page, 'web-40, port 0').getByText('new output'));
  api.servers.push(server(99.5));
  assert.equal(await focused(page), 'Open web-40, port 0');
  assert.equal(await page.evaluate(() => scrollY), before);
});

test('in between, only the ports that changed are asked for', async () => {
  manyServers(3);
  const page = await enter();
  api.changed = [];
  const from = api.calls.length;
  // Every 10 s all are asked for.
  const lists = () => api.calls.slice(from).filter(({ path }) => /^\/v1\/lines\?.*changed_within/.test(path));
  await api.until(() => lists().length >= 3, 'three questions');
  const within = lists().map(({ path }) => new URLSearchParams(path.split('?')[1]).get('changed_within'));
  assert.ok(within.slice(0, 3).every((seconds) => Number(seconds) >= 3), String(within));
  api.changed = [{ ...api.lines[1], last_line: 'changed' }];
  await see(cell(page, 'web-2, port 0', 'Last printed line').getByText('changed'));
  // A change of state may be one of the server, so all is asked for.
  api.servers[1].status = 'SHUTOFF';
  api.lines[1] = line(api.servers[1], 0, { state: 'waiting', reason: 'off', cause: 'stopped' });
  api.changed = [api.lines[1]];
  await see(cell(page, 'web-2, port 0', 'State').getByText('off'));
});

test('the focus goes to what is around when its place is gone', async () => {
  oneServer();
  const page = await enter();
  await link(page, 'Open web-1, port 0').focus();
  api.servers = [];
  api.lines = [];
  await see(page.getByRole('heading', { name: 'No servers yet' }));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
});

test('without servers the page says how to get one', async () => {
  const page = await enter();
  await see(page.getByRole('heading', { name: 'No servers yet' }));
  await see(page.getByText('serialproxy boot NAME --image IMAGE'));
  api.servers = [server(1)];
  await see(row(page, 'web-1').getByText('This server has no serial port with a console.'));
  assert.equal(await page.getByRole('heading', { name: 'No servers yet' }).isVisible(), false);
  assert.equal(await link(page, 'Open web-1').count(), 0, 'there is no console');
});

test('why a port has no console is said, with what to change', async () => {
  const ports = [{ port: 2, reason: 'QEMU writes it to a file: make it a pty.' }];
  api.servers = [server(1, { unusable_ports: ports })];
  api.lines = [line(api.servers[0])];
  const page = await enter();
  await see(row(page, 'web-1, port 2').getByText('QEMU writes it to a file: make it a pty.'));
  assert.deepEqual(await names(page), ['web-1, port 0', 'web-1, port 2']);
  await openMenu(page, 'web-1, port 2');
  await see(item(page, 'Open QEMU writes it to a file: make it a pty.'));
});

test('a port that printed since stands out until it is looked at', async () => {
  oneServer();
  const page = await enter();
  const mark = row(page, 'web-1, port 0').getByText('new output');
  assert.equal(await mark.isVisible(), false);
  api.lines[0].offset += 2048;
  await see(mark);
  await see(cell(page, 'web-1, port 0', 'Output').getByTitle(/, 2\.0 KiB new$/));
  await page.reload();
  await see(mark);
  await button(page, 'New output 1').click();
  await button(page, 'Mark all as seen').click();
  await see(page.getByText('0 of 1 port'));
  // Counting starts again with another line id: all of it is new.
  api.lines[0].line = id(5);
  api.lines[0].offset = 7;
  await see(cell(page, 'web-1, port 0', 'Output').getByTitle(/, 7 bytes new$/));
});

// Trouble

test('an API that is away is said in words, the table dims, and it comes back by itself', async () => {
  oneServer();
  const page = await enter();
  const color = () => link(page, 'web-1, port 0').evaluate((one) => getComputedStyle(one).color);
  const usual = await color();
  const message = 'the API cannot be reached: try again in a moment';
  api.instead.set('GET /v1/lines', [502, { computeFault: { code: 502, message } }]);
  await see(alert(page, /^The API cannot be reached: try again in a moment\. The list is as of \d\d:\d\d:\d\d\.$/));
  await see(page.getByText(/^Next try at \d\d:\d\d:\d\d\.$/));
  await see(page.getByText(/^1 port, as of \d\d:\d\d:\d\d, not current$/));
  const tones = () => page.locator('[data-tone]').evaluateAll((all) => all.map((one) => one.dataset.tone));
  assert.deepEqual(await tones(), ['unknown']);
  assert.notEqual(await color(), usual);
  api.instead.clear();
  await alert(page, 'cannot be reached').waitFor({ state: 'hidden' });
  assert.deepEqual(await tones(), ['good']);
  assert.equal(await color(), usual);
});

test('hosts that do not respond are named, and their servers are not shown as running', async () => {
  api.servers = [
    server(1, { host: 'host-1' }),
    server(2, { host: 'host-7', status: 'HOST_LOST' }),
    server(3, { host: 'host-8' }),
  ];
  api.lines = [line(api.servers[0])];
  api.unreachable = ['host-7', 'host-8'];
  const page = await enter();
  await see(status(page, 'These hosts do not respond: host-7, host-8. Consoles and sessions there are missing'));
  const tone = (name) => row(page, name).locator('.state').getAttribute('data-tone');
  await see(cell(page, 'web-2', 'State').getByText('host lost'));
  assert.deepEqual(await Promise.all(['web-1, port 0', 'web-2', 'web-3'].map(tone)), ['good', 'bad', 'unknown']);
  await see(row(page, 'web-2').getByText('Its host, host-7, does not respond. Its consoles come back'));
  await see(row(page, 'web-3').getByText('Its host, host-8, does not respond.'));
  assert.equal(await row(page, 'web-2').locator('.open').getAttribute('title'), 'It has no console now');
  api.unreachable = ['host-8'];
  api.servers[1].status = 'ACTIVE';
  api.lines.push(line(api.servers[1]));
  await see(status(page, 'The host host-8 does not respond.'));
  await see(row(page, 'web-2, port 0'));
  assert.equal(await tone('web-2, port 0'), 'good');
  api.unreachable = undefined;
  await status(page, 'does not respond').waitFor({ state: 'hidden' });
});

test('a list of servers that is not current says how old it is', async () => {
  oneServer();
  const page = await enter();
  api.asOf = new Date(Date.now() - 90_000).toISOString();
  await see(status(page, /^The servers are listed as of \d\d:\d\d:\d\d, and may have changed since: the store/));
  await see(page.getByText(/^1 port, as of \d\d:\d\d:\d\d, not current$/));
  api.asOf = undefined;
  await see(page.getByText(/^1 port$/));
});

test('a terminal page whose URL has expired leads to its server', async () => {
  api.servers = [server(1), server(2, { name: 'web 2' })];
  api.methods = [];
  const page = await visit(DESKTOP, `${api.url}#web%202`);
  await see(page.getByText('1 of 2 ports'));
  assert.deepEqual(await names(page), ['web 2']);
});

/** The time stands still until the test moves it: what the page asks by itself comes only then. */
const CLOCK = { ...DESKTOP, clock: true };

test('a proxy that is away is asked at once when one wants', async () => {
  oneServer();
  const page = await enter(CLOCK);
  const refuse = (socket) => socket.destroy();
  api.http.on('connection', refuse).closeAllConnections();
  await page.clock.fastForward(2000);
  await see(alert(page, 'The proxy cannot be reached.'));
  await see(page.getByText('Next try at'));
  api.http.off('connection', refuse);
  await button(page, 'Try now').click();
  await alert(page, 'The proxy cannot be reached.').waitFor({ state: 'hidden' });
  page.faults = page.faults.filter((fault) => !fault.includes('net::ERR_'));
});

test('a page that comes while the proxy is away goes on when it is back', async () => {
  oneServer();
  api.methods = [];
  api.instead.set('GET /v1/login', [504, undefined]);
  const page = await visit(CLOCK);
  await see(alert(page, 'The API failed without a reason (status 504).'));
  api.instead.clear();
  await button(page, 'Try now').click();
  await see(row(page, 'web-1, port 0'));
});

const questions = () => api.calls.filter(({ path }) => path.startsWith('/v1/lines?')).length;

/** Moves the clock; what was asked because of it has arrived when this is over. */
async function pass(page, seconds) {
  await page.clock.fastForward(seconds * 1000);
  await page.evaluate(() => fetch('v1/last').then(() => null));
}

test('what fails is asked less and less often', async () => {
  const page = await enter(CLOCK);
  api.instead.set('GET /v1/lines', [502, {}]);
  await pass(page, 2);
  await see(alert(page, 'status 502'));
  const failed = questions();
  await see(page.getByText('Next try at'));
  const planned = await page.getByText('Next try at').textContent();
  await pass(page, 4);
  await api.until(() => questions() === failed + 1, 'question after 4 s');
  // It has failed, too.
  await page.getByText(planned).waitFor({ state: 'hidden' });
  await pass(page, 4);
  assert.equal(questions(), failed + 1);
  await pass(page, 4);
  await api.until(() => questions() === failed + 2, 'question after 8 s');
});

test('nothing is asked while nobody can see the page', async () => {
  const page = await enter(CLOCK);
  const hide = (hidden) =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { configurable: true, value });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await hide(true);
  const asked = questions();
  await pass(page, 600);
  assert.equal(questions(), asked);
  await hide(false);
  await api.until(() => questions() > asked, 'question when the page is seen again');
});
