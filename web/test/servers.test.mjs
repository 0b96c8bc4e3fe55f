// The servers page as people meet it: token, list, trouble; by mouse and by keyboard, on a screen and on a phone.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { blank, faint, open, see } from './browser.mjs';
import {
  alert,
  api,
  assertNoSidewaysScroll,
  browser,
  button,
  card,
  enter,
  focused,
  oneServer,
  PHONE,
  pages,
  port,
  status,
  storage,
  tokenField,
  visit,
} from './servers-stage.mjs';
import { TOKEN, id, line, server } from './servers.mjs';

// The token

test('a token is asked for, kept in this tab alone, and sent with every call', async () => {
  oneServer();
  const page = await enter();
  await see(page.getByRole('heading', { name: 'web-1' }));
  assert.ok((await storage(page)).includes(TOKEN));
  assert.ok(!(await page.evaluate(() => JSON.stringify({ ...localStorage }))).includes(TOKEN));
  await page.reload();
  await see(page.getByRole('heading', { name: 'web-1' }));
  const other = await page.context().newPage();
  await other.goto(api.url);
  await see(other.getByLabel('API token'));
  assert.deepEqual(page.url(), api.url);
});

test('a login link opens the list without a token to paste, and its code leaves the address bar', async () => {
  oneServer();
  // The proxy keeps the login in a cookie, so that every call is let in.
  api.token = undefined;
  api.instead.set('POST /v1/login', [201, { user: 'admin', expires: '2026-12-01T00:00:00Z' }]);
  const page = await open(browser, `${api.url}#login=0123abcd`);
  pages.push(page);
  await see(page.getByRole('heading', { name: 'web-1' }));
  assert.equal(page.url(), api.url);
  await page.reload();
  await see(page.getByRole('heading', { name: 'web-1' }));
  assert.deepEqual(api.changes, ['POST /v1/login']);
});

test('a login link that was used says so, and how to get a new one', async () => {
  const message = 'this login link was used before, or has expired: `serialproxy status` prints a new one';
  api.instead.set('POST /v1/login', [401, { unauthorized: { code: 401, message } }]);
  const page = await open(browser, `${api.url}#login=0123abcd`);
  pages.push(page);
  await see(alert(page, 'This login link was used before, or has expired: `serialproxy status` prints a new one.'));
  await see(tokenField(page));
  assert.equal(page.url(), api.url);
});

test('a wrong token is said to be wrong and is not kept', async () => {
  const page = await visit();
  await tokenField(page).fill('wrong');
  await page.keyboard.press('Enter');
  await see(alert(page, 'This token is wrong or has expired.'));
  assert.ok(!(await storage(page)).includes('wrong'));
  assert.equal(await focused(page), 'API token');
  await button(page, 'Show the servers').click();
  await see(alert(page, 'Paste your API token here.'));
  const asked = api.calls.length;
  await tokenField(page).fill('a token with späces');
  await page.keyboard.press('Enter');
  await see(alert(page, 'This token is wrong or has expired.'));
  assert.equal(api.calls.length, asked);
});

test('a token that stops to be good is asked for again', async () => {
  oneServer();
  const page = await enter();
  api.token = 'another';
  await see(alert(page, 'This token is wrong or has expired.'));
  assert.equal(await page.getByRole('heading', { name: 'web-1' }).count(), 0);
});

test('forgetting takes the token and the list away', async () => {
  oneServer();
  const page = await enter();
  await button(page, 'Forget token').click();
  await see(tokenField(page));
  assert.equal(await storage(page), '{}');
  assert.equal(await page.getByRole('heading', { name: 'web-1' }).count(), 0);
  await page.reload();
  await see(tokenField(page));
});

test('where everyone is let in no token is asked for', async () => {
  api.token = undefined;
  oneServer();
  const page = await visit();
  await see(page.getByRole('heading', { name: 'web-1' }));
  assert.equal(await tokenField(page).isVisible(), false);
  assert.equal(await button(page, 'Forget token').isVisible(), false);
});

// The list

test('a port says its state, who writes since when, who watches and where it is', async () => {
  oneServer();
  const off = server(2, { status: 'SHUTOFF' });
  api.servers.push(off);
  api.lines.push(
    line(off, 0, { state: 'waiting', reason: 'server is SHUTOFF', endpoint: null }),
    line(off, 1, { state: 'failed', reason: 'connection refused' }),
  );
  const page = await enter();
  await see(page.getByText('2 servers, as of'));
  await see(card(page, 'web-1').getByText('running'));
  const first = port(page, 0, 'web-1');
  await see(first.getByText('connected', { exact: true }));
  await see(first.getByText(/^alice has been typing since .*\d\d:\d\d \(for 12 minutes\), 1 watching$/));
  await see(first.getByText('tcp 127.0.0.1:10000'));
  await see(card(page, 'web-2').getByText('off', { exact: true }));
  await see(port(page, 0, 'web-2').getByText('waiting for the guest: server is shut off'));
  await see(port(page, 0, 'web-2').getByText('nobody is typing'));
  await see(port(page, 1, 'web-2').getByText('failed: connection refused'));
});

test('what changes is shown by itself, and the focus and the scroll position stay', async () => {
  api.servers = Array.from({ length: 40 }, (_, at) => server(at + 10));
  api.lines = api.servers.map((one) => line(one));
  const page = await enter();
  await button(page, 'Watch port 0 of web-40').focus();
  const before = await page.evaluate(() => scrollY);
  assert.ok(before > 0);
  api.lines[30].writer = { session: id(1), user: 'carol', since: new Date().toISOString() };
  api.servers.push(server(99));
  await see(port(page, 0, 'web-40').getByText(/^carol has been typing/));
  await see(page.getByText('41 servers'));
  assert.equal(await focused(page), 'Watch port 0 of web-40');
  assert.equal(await page.evaluate(() => scrollY), before);
});

test('the focus goes to what is around when its place is gone', async () => {
  oneServer();
  const page = await enter();
  await page.getByText('2 sessions').click();
  await button(page, 'Disconnect… bob, who is watching').focus();
  api.sessions.pop();
  await see(page.getByText('1 session', { exact: true }));
  assert.equal(await focused(page), 'Port 0 of web-1');
  api.servers = [];
  api.lines = [];
  await see(page.getByRole('heading', { name: 'No servers yet' }));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
});

test('the filter takes a part of the name, and says when nothing is left', async () => {
  api.servers = [server(1), server(2, { name: 'Database' })];
  const page = await enter();
  await page.getByRole('searchbox', { name: 'Filter by name' }).fill('data');
  await see(page.getByRole('heading', { name: 'Database' }));
  assert.equal(await page.getByRole('heading', { name: 'web-1' }).count(), 0);
  await page.getByRole('searchbox').fill('nothing');
  await see(page.getByText('No server\'s name contains “nothing”.'));
  await page.getByRole('searchbox').fill('');
  await see(page.getByRole('heading', { name: 'web-1' }));
});

test('without servers the page says how to get one', async () => {
  const page = await enter();
  await see(page.getByRole('heading', { name: 'No servers yet' }));
  await see(page.getByText('serialproxy boot NAME --image IMAGE'));
  api.servers = [server(1)];
  await see(page.getByText('This server has no serial port with a console.'));
  assert.equal(await page.getByRole('heading', { name: 'No servers yet' }).isVisible(), false);
});

test('why a port has no console is said, with what to change', async () => {
  const ports = [
    { port: 0, reason: 'QEMU writes it to a file: make it a pty.' },
    { port: 2, reason: 'it is excluded by [compute] exclude.' },
  ];
  api.servers = [server(1, { unusable_ports: ports })];
  const page = await enter();
  await see(card(page, 'web-1').getByText('Port 0 has no console: QEMU writes it to a file: make it a pty.'));
  await see(card(page, 'web-1').getByText('Port 2 has no console: it is excluded'));
  assert.equal(await page.getByText('This server has no serial port').isVisible(), false);
});

test('all lines are fetched, however many there are', async () => {
  const web = server(1);
  api.servers = [web];
  const first = Array.from({ length: 1000 }, () => line(server(2)));
  api.lines = first;
  const page = await visit();
  await tokenField(page).fill(TOKEN);
  api.instead.set('GET /v1/lines', [200, { lines: [line(web)] }]);
  await page.keyboard.press('Enter');
  await see(port(page, 0, 'web-1'));
  api.instead.clear();
  const asked = api.calls.length;
  await api.until(
    () => api.calls.slice(asked).some(({ path }) => path.includes(`marker=${id(2)}%2F0`)),
    'second page',
  );
});

// Output since

test('a port that printed since stands out until it is looked at', async () => {
  oneServer();
  const page = await enter();
  const mark = page.getByRole('button', { name: /new on port 0 of web-1: mark as seen$/ });
  assert.equal(await mark.isVisible(), false);
  api.lines[0].offset += 2048;
  await see(mark.filter({ hasText: '2.0 KiB new' }));
  await page.reload();
  await see(mark.filter({ hasText: '2.0 KiB new' }));
  await mark.click();
  await mark.waitFor({ state: 'hidden' });
  assert.equal(await focused(page), 'Port 0 of web-1');
  // Counting starts again with another line id: all of it is new.
  api.lines[0].line = id(5);
  api.lines[0].offset = 7;
  await see(mark.filter({ hasText: '7 bytes new' }));
});

// Trouble

test('an API that is away is said in words, the list stays, and it comes back by itself', async () => {
  oneServer();
  const page = await enter();
  const message = 'the API cannot be reached: try again in a moment';
  api.instead.set('GET /v1/servers', [502, { computeFault: { code: 502, message } }]);
  await see(alert(page, 'The API cannot be reached: try again in a moment.'));
  await see(page.getByText(/^Next try at \d\d:\d\d:\d\d\.$/));
  await see(page.getByRole('heading', { name: 'web-1' }));
  await see(alert(page, /The list is as of \d\d:\d\d:\d\d\.$/));
  await see(page.getByText(/^1 server, as of .*, not current$/));
  await see(card(page, 'web-1').getByText(/^running at \d\d:\d\d:\d\d$/));
  const tones = () => page.locator('[data-tone]').evaluateAll((all) => all.map((one) => one.dataset.tone));
  assert.deepEqual(await tones(), ['unknown', 'unknown']);
  api.instead.clear();
  await alert(page, 'cannot be reached').waitFor({ state: 'hidden' });
  assert.deepEqual(await tones(), ['good', 'good']);
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
  const tone = (name) => card(page, name).locator('.status').getAttribute('data-tone');
  await see(card(page, 'web-2').getByText('host lost'));
  assert.deepEqual(await Promise.all(['web-1', 'web-2', 'web-3'].map(tone)), ['good', 'bad', 'unknown']);
  await see(card(page, 'web-2').getByText('Its host, host-7, does not respond. Its consoles come back'));
  await see(card(page, 'web-3').getByText('Its host, host-8, does not respond.'));
  assert.equal(await card(page, 'web-2').getByRole('button').count(), 0, 'nobody can ask it for anything');
  api.unreachable = ['host-8'];
  api.servers[1].status = 'ACTIVE';
  api.lines.push(line(api.servers[1]));
  await see(status(page, 'The host host-8 does not respond.'));
  await see(port(page, 0, 'web-2'));
  assert.equal(await tone('web-2'), 'good');
  api.unreachable = undefined;
  await status(page, 'does not respond').waitFor({ state: 'hidden' });
});

test('a list of servers that is not current says how old it is', async () => {
  oneServer();
  const page = await enter();
  api.asOf = new Date(Date.now() - 90_000).toISOString();
  await see(status(page, /^The servers are listed as of \d\d:\d\d:\d\d, and may have changed since: the store/));
  await see(page.getByText(/^1 server, as of \d\d:\d\d:\d\d, not current$/));
  await see(card(page, 'web-1').getByText(/^running at \d\d:\d\d:\d\d$/));
  const tones = () => page.locator('[data-tone]').evaluateAll((all) => all.map((one) => one.dataset.tone));
  assert.deepEqual(await tones(), ['unknown', 'good'], 'the port comes from its host');
  api.asOf = undefined;
  await see(page.getByText(/^1 server, as of \d\d:\d\d:\d\d$/));
  assert.deepEqual(await tones(), ['good', 'good']);
});

test('a terminal page whose URL has expired leads to its server', async () => {
  api.servers = [server(1), server(2, { name: 'web 2' })];
  api.token = undefined;
  const page = await open(browser, `${api.url}#web%202`);
  pages.push(page);
  await see(page.getByRole('heading', { name: 'web 2' }));
  assert.equal(await page.getByRole('heading', { name: 'web-1' }).count(), 0);
});

test('a proxy that is away is asked at once when one wants', async () => {
  oneServer();
  const page = await enter();
  const { port: taken } = api;
  await api.stop();
  await see(alert(page, 'The proxy cannot be reached.'));
  page.faults = [];
  await api.listen(taken);
  await button(page, 'Try now').click();
  await alert(page, 'The proxy cannot be reached.').waitFor({ state: 'hidden' });
  page.faults = page.faults.filter((fault) => !fault.includes('ERR_CONNECTION_REFUSED'));
});

test('an answer that is not one of the API is no riddle', async () => {
  oneServer();
  const page = await enter();
  api.instead.set('GET /v1/sessions', [504, undefined]);
  await see(alert(page, 'The API failed without a reason (status 504).'));
});

/** A page whose clock the test moves. */
async function enterWithClock() {
  const page = await blank(browser);
  pages.push(page);
  await page.clock.install();
  await page.goto(api.url);
  await tokenField(page).fill(TOKEN);
  await page.keyboard.press('Enter');
  await see(page.getByText(/^\d+ servers?, as of/));
  return page;
}

const questions = () => api.calls.filter(({ path }) => path.startsWith('/v1/servers?')).length;

/** Moves the clock; what was asked because of it has arrived when this is over. */
async function pass(page, seconds) {
  await page.clock.fastForward(seconds * 1000);
  const token = { 'x-auth-token': TOKEN };
  await page.evaluate((headers) => fetch('v1/last', { headers }).then(() => null), token);
}

test('what fails is asked less and less often', async () => {
  const page = await enterWithClock();
  api.instead.set('GET /v1/servers', [502, {}]);
  await pass(page, 3);
  await see(alert(page, 'status 502'));
  const failed = questions();
  await see(page.getByText('Next try at'));
  await pass(page, 6);
  await api.until(() => questions() === failed + 1, 'question after 6 s');
  await pass(page, 6);
  assert.equal(questions(), failed + 1);
  await pass(page, 6);
  await api.until(() => questions() === failed + 2, 'question after 12 s');
});

test('nothing is asked while nobody can see the page', async () => {
  const page = await enterWithClock();
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

// Everyone

test('the keyboard alone is enough, and every stop can be seen', async () => {
  oneServer();
  const page = await enter();
  const stops = [];
  for (let pressed = 0; pressed < 6; pressed += 1) {
    await page.keyboard.press('Tab');
    stops.push(await focused(page));
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(ring, 'solid', stops.at(-1));
  }
  assert.deepEqual(stops, [
    'Pause web-1',
    'Reboot web-1',
    'Stop web-1',
    'Open port 0 of web-1',
    'Watch port 0 of web-1',
    '2 sessions',
  ]);
  await page.getByText('2 sessions').focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'Disconnect… alice, who is typing');
  await page.keyboard.press('Enter');
  await page.keyboard.type('go');
  await page.keyboard.press('Enter');
  await api.until(() => api.changes.length === 1, 'disconnect');
});

test('a phone of 360 px has everything, and nothing reaches beyond it', async () => {
  oneServer();
  api.servers.push(server(2, { name: `a-${'very-'.repeat(20)}long-name` }));
  api.lines.push(
    line(api.servers[1], 0, {
      state: 'failed',
      reason: `no-${'x'.repeat(80)}`,
      endpoint: { kind: 'unix', address: `/run/${'deep/'.repeat(30)}socket` },
    }),
  );
  const page = await visit(PHONE);
  await see(tokenField(page));
  await assertNoSidewaysScroll(page);
  await tokenField(page).fill(TOKEN);
  await button(page, 'Show the servers').tap();
  await see(page.getByRole('heading', { name: 'web-1' }));
  api.lines[0].offset += 10;
  await see(page.getByRole('button', { name: /^10 bytes new/ }));
  await page.getByText('2 sessions').tap();
  await see(button(page, 'Disconnect… alice, who is typing'));
  await assertNoSidewaysScroll(page);
  await button(page, 'Disconnect… alice, who is typing').tap();
  await see(page.getByRole('dialog', { name: 'Disconnect alice?' }));
  await assertNoSidewaysScroll(page);
});

for (const colorScheme of ['light', 'dark']) {
  test(`every text has enough contrast where the system is ${colorScheme}`, async () => {
    oneServer();
    api.servers.push(server(2, { status: 'ERROR' }));
    const page = await visit({ colorScheme });
    await tokenField(page).fill('wrong');
    await page.keyboard.press('Enter');
    await see(alert(page, 'This token is wrong'));
    assert.deepEqual(await faint(page), [], 'login');
    await tokenField(page).fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.getByText('2 sessions').click();
    api.lines[0].offset += 10;
    await see(page.getByRole('button', { name: /^10 bytes new/ }));
    assert.deepEqual(await faint(page), [], 'list');
    await button(page, 'Disconnect… alice, who is typing').click();
    await see(page.getByRole('dialog'));
    assert.deepEqual(await faint(page), [], 'dialog');
    await page.keyboard.press('Escape');
    api.instead.set('GET /v1/servers', [502, {}]);
    await see(alert(page, 'status 502'));
    assert.deepEqual(await faint(page), [], 'trouble');
  });
}

test('the theme is that of the terminal page', async () => {
  const page = await enter({ colorScheme: 'light' });
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await button(page, 'Theme: auto').click();
  await button(page, 'Theme: light').click();
  await see(button(page, 'Theme: dark'));
  assert.notEqual(await background(), light);
  assert.equal(await page.evaluate(() => localStorage.getItem('serialproxy.theme')), 'dark');
});

test('the terminal page without a token leads here', async () => {
  const page = await visit();
  await page.goto(`${api.url}serial.html`);
  await page.getByRole('link', { name: 'the servers page' }).click();
  await see(tokenField(page));
});
