// A session's life in words: how it stands, why it ended, what the page offers, how it comes back.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, see, seeInTerminal, terminalText } from './browser.mjs';
import { SESSION } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const alert = (page, text) => page.getByRole('alert').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });

const ALICE = 'a11ce000-0000-4000-8000-000000000000';
const BOB = 'b0b00000-0000-4000-8000-000000000000';

/** A time some minutes ago: in RFC 3339, and as the page tells it to a British reader in UTC. */
function ago(minutes) {
  const time = new Date(Date.now() - minutes * 60_000);
  const today = time.getUTCDate() === new Date().getUTCDate();
  const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
  const words = `${today ? '' : `${day.format(time)}, `}${time.toISOString().slice(11, 16)}`;
  return { iso: time.toISOString().replace(/\.\d+Z$/, 'Z'), words };
}

/** Refuses a visitor who may take over, unless a test says otherwise. */
function refuseAsBusy(session, holder, since, can = ['write', 'force']) {
  session.pen('held', { holder, session: ALICE, reason: `since ${since}`, can });
  session.close(4004, `busy: ${holder} since ${since}`);
}

test('a session opens with the token, the path and the subprotocol of its page', async () => {
  await at.page({}, at.proxy.url('token=t-1&mode=watch', '/serial.html'));
  const session = await at.proxy.attempt();
  assert.equal(session.path, '/serial.html');
  assert.equal(session.protocol, 'console.v1');
  assert.deepEqual(Object.fromEntries(session.query), { token: 't-1', mode: 'watch' });
});

test('the token leaves the address bar, stays out of the history and survives a reload', async () => {
  const { page } = await at.attach();
  assert.equal(page.url(), at.proxy.url(''));
  const loads = at.proxy.requests.slice(1);
  assert.ok(
    loads.length > 2 && loads.every((path) => !path.includes('secret-token')),
    loads.join(),
  );
  await page.reload();
  const again = await at.proxy.admit();
  assert.equal(again.query.get('token'), 'secret-token');
});

test('the title and the bar name the server and its port', async () => {
  const { page } = await at.attach({ server: { id: 'x', name: 'db-7' }, port: 2 });
  assert.equal(await page.title(), 'db-7:2 – console');
  await see(page.getByRole('heading', { name: 'db-7 port 2' }));
});

test('without a token the page says how to get a console URL', async () => {
  at.proxy.servers = false;
  for (const path of ['/', '/serial.html']) {
    const page = await at.page({}, at.proxy.url('', path));
    await see(page.getByRole('heading', { name: 'This page needs a console URL' }));
    await see(page.getByText('serialproxy get-serial-console SERVER serial'));
    assert.equal(await page.getByRole('button').count(), 0);
  }
});

test('the status line follows the guest through stop and start', async () => {
  const { page, session } = await at.attach();
  await see(status(page, 'connected · you are typing'));
  session.say({ type: 'state', state: 'waiting', reason: 'the server is SHUTOFF' });
  await see(status(page, 'waiting for the guest: the server is shut off'));
  session.say({ type: 'state', state: 'failed', reason: 'connection refused' });
  await see(status(page, 'failed: connection refused'));
  session.say({ type: 'state', state: 'connected', reason: '' });
  session.say({ type: 'epoch', epoch: 2, offset: 0 });
  session.print('booted');
  await see(status(page, 'connected · you are typing'));
  await seeInTerminal(page, 'booted');
  assert.match(await terminalText(page), /web-1 started, boot 2/);
});

test('a watcher sees who writes and how many are attached', async () => {
  const { page, session } = await at.attach({ mode: 'watch', can: [] });
  await see(status(page, 'You are watching.'));
  session.pen('held', { holder: 'alice', session: ALICE });
  session.say({ type: 'viewers', count: 3 });
  await see(status(page, 'alice is typing. You are watching.'));
  await see(page.getByRole('list', { name: '3 attached' }));
  session.say({ type: 'pen', state: 'free' });
  await see(status(page, 'Nobody is typing. You are watching.'));
  assert.equal(await button(page, 'Type').isVisible(), false);
});

test('who loses the pen is told by whom and why, and goes on watching', async () => {
  const { page, session } = await at.attach();
  session.pen('lost', { by: 'bob', holder: 'bob', session: BOB, reason: 'disk is full' });
  await see(alert(page, 'bob took over typing: disk is full. You are watching now.'));
  await see(status(page, 'bob is typing. You are watching.'));
  await button(page, 'Dismiss').click();
  await page.getByRole('alert').waitFor({ state: 'hidden' });
});

test('a failed request is said and the session goes on', async () => {
  const { page, session } = await at.attach();
  session.say({ type: 'error', message: 'this device has no break' });
  session.say({ type: 'dance' });
  await see(status(page, 'this device has no break'));
  await see(status(page, 'you are typing'));
});

const ENDS = [
  [1000, 'Target closed', 'The console has ended: Target closed. Reconnect to open it again.'],
  [1002, 'port is not a number', "does not understand this page's request: port is not a number."],
  [1009, '', 'This page sent more at once than the proxy accepts. Reconnect, and paste less at a time.'],
  [
    4001,
    'token missing, unknown or expired: ask for a new console URL',
    'This console URL has expired or was revoked. Get a new one: serialproxy get-serial-console web-1 serial',
  ],
  [
    4002,
    'this token only allows to watch: ask for a console URL that may write',
    'The proxy refused to open this console: this token only allows to watch: ask for a console URL that may write.',
  ],
  [
    4003,
    'server web-1 was deleted',
    "does not exist: server web-1 was deleted. Check the server's name",
  ],
  [4007, '', 'The session was idle for too long. Reconnect to continue.'],
  [4008, '', "This session has reached its time limit. Reconnect, or get a new URL:"],
  [
    4008,
    'too many sessions: 64',
    'This console has reached its limit of sessions: 64. Close one',
  ],
  [
    4009,
    'stopped: server is SHUTOFF',
    'The guest is not running: server is shut off. Start it, then reconnect.',
  ],
  [4011, '', 'This browser was too slow for the output, and some of it may be missing.'],
  [
    4013,
    'unreachable: connection refused',
    'its serial port cannot be reached: connection refused. Reconnect in a minute',
  ],
  [
    4999,
    'new in town',
    'The proxy closed the connection with code 4999: new in town. Reconnect to try again.',
  ],
];

for (const [code, reason, words] of ENDS) {
  test(`close ${code} ${reason && `(${reason}) `}is explained, with a way back`, async () => {
    const { page, session } = await at.attach();
    session.close(code, reason);
    await see(alert(page, words));
    await see(status(page, 'closed: '));
    // Where the URL is no good any more, the way leads to another.
    if ([1002, 4001, 4003].includes(code)) return see(button(page, 'All servers'));
    await page.locator('#offers').getByRole('button', { name: 'Reconnect' }).click();
    await at.proxy.admit();
    await see(status(page, 'you are typing'));
    assert.equal(await page.getByRole('alert').isVisible(), false);
  });
}

test('a refusal before any session is explained too', async () => {
  const page = await at.page();
  (await at.proxy.attempt()).close(
    4001,
    'token missing, unknown or expired: ask for a new console URL',
  );
  const command = 'serialproxy get-serial-console SERVER serial';
  const nova = "with OpenStack's Nova: openstack console url show --serial SERVER";
  await see(alert(page, `Get a new one: ${command} (${nova})`));
  assert.equal(await button(page, 'Copy the command').count(), 0);
  await page.locator('#notice:focus').waitFor();
});

test('a busy console names who writes since when, and Watch watches', async () => {
  const page = await at.page();
  const since = ago(12);
  refuseAsBusy(await at.proxy.attempt(), 'alice', since.iso);
  await see(
    alert(
      page,
      `alice has been typing here since ${since.words} (for 12 minutes). Watch, ask to type, or take over.`,
    ),
  );
  await see(status(page, 'closed: alice is typing'));
  await button(page, 'Watch').click();
  const watcher = await at.proxy.admit({ mode: 'watch' });
  assert.equal(watcher.query.get('mode'), 'watch');
  await see(status(page, 'You are watching.'));
  await page.reload();
  assert.equal((await at.proxy.admit({ mode: 'watch' })).query.get('mode'), 'watch');
});

test('the reason of the close alone also names the writer, and an old time its day', async () => {
  const page = await at.page();
  (await at.proxy.attempt()).close(4004, 'busy: alice since 2026-01-02T09:05:00Z');
  await see(alert(page, /^alice has been typing here since 2 Jan, 09:05 \(for \d+ days\)/));
});

const force = { type: 'pen', do: 'force' };

/** Presses through the question; the session that opens then. */
async function takeOver(page) {
  await button(page, 'Take over…').click();
  await page.getByLabel('Reason (they see it)').fill('the disk is full');
  await page.keyboard.press('Enter');
  return at.proxy.attempt();
}

test('the pen is taken from who writes only after a question that names them', async () => {
  const page = await at.page();
  refuseAsBusy(await at.proxy.attempt(), 'alice', ago(3).iso);
  await button(page, 'Take over…').click();
  const dialog = page.getByRole('dialog', { name: 'Take over from alice?' });
  await see(dialog.getByText('You type instead, and alice can only watch.'));
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  const session = await takeOver(page);
  assert.equal(session.query.get('mode'), 'watch');
  session.hello({ mode: 'watch', can: ['write', 'force'] });
  session.pen('held', { holder: 'alice', session: ALICE });
  await see(status(page, 'alice is typing. You are watching.'));
  assert.deepEqual(await session.hears('pen'), [{ ...force, reason: 'the disk is full' }]);
  await page.keyboard.type('too early');
  session.pen('held', { holder: 'carol', by: 'carol', session: SESSION });
  await see(status(page, 'you are typing'));
  await page.keyboard.type('!');
  await session.typed('!');
  assert.equal(session.input.toString(), '!');
  session.close(4002, 'later');
  await page.locator('#offers').getByRole('button', { name: 'Reconnect' }).click();
  const next = await at.proxy.admit();
  assert.equal(next.query.get('mode'), 'auto');
  assert.equal(next.said('pen').length, 0);
});

test('a refused visitor is offered to take over only where it is known that they may', async () => {
  const page = await at.page();
  refuseAsBusy(await at.proxy.attempt(), 'alice', ago(3).iso, ['write']);
  await see(alert(page, /Watch, or ask to type\.$/));
  await see(button(page, 'Ask to type'));
  assert.equal(await button(page, 'Take over…').isVisible(), false);
  await page.locator('#offers').getByRole('button', { name: 'Reconnect' }).click();
  (await at.proxy.attempt()).close(4004, 'busy: alice');
  await see(alert(page, /Watch, or ask to type\.$/));
  assert.equal(await button(page, 'Take over…').isVisible(), false);
});

test('what a session was allowed counts when the page is refused later', async () => {
  const { page, session } = await at.attach({ can: ['write', 'force'] });
  session.close(4007, '');
  await page.locator('#offers').getByRole('button', { name: 'Reconnect' }).click();
  (await at.proxy.attempt()).close(4004, 'busy: alice');
  await see(button(page, 'Take over…'));
});

for (const [query, watch] of [
  ['token=t&mode=write', true],
  ['token=t', false],
]) {
  test(`a page at ?${query} that is refused ${watch ? 'may' : 'cannot'} watch instead`, async () => {
    const page = await at.page({}, at.proxy.url(query));
    (await at.proxy.attempt()).close(4002, 'this is not allowed');
    await see(page.locator('#offers').getByRole('button', { name: 'Reconnect' }));
    assert.equal(await button(page, 'Watch').isVisible(), watch);
  });
}

test("one's own name as the writer is another window until the pen was handed over", async () => {
  const page = await at.page();
  refuseAsBusy(await at.proxy.attempt(), 'carol', ago(3).iso);
  const session = await takeOver(page);
  session.hello({ mode: 'watch', can: ['write', 'force'] });
  session.pen('held', { holder: 'carol', session: ALICE });
  await see(status(page, 'carol is typing. You are watching.'));
  session.pen('held', { holder: 'carol', by: 'carol', session: SESSION });
  await see(status(page, 'you are typing'));
  session.pen('lost', { holder: 'carol', by: 'carol', session: ALICE });
  await see(alert(page, 'carol took over typing. You are watching now.'));
  await see(status(page, 'carol is typing. You are watching.'));
});

test('who may not take over any more is told so and can still watch', async () => {
  const page = await at.page();
  refuseAsBusy(await at.proxy.attempt(), 'alice', ago(3).iso);
  const session = await takeOver(page);
  session.hello({ mode: 'watch', can: ['write'] });
  session.pen('held', { holder: 'alice', session: ALICE });
  await see(alert(page, 'You may not take over from alice: that needs a console URL of an administrator'));
  await see(status(page, 'alice is typing. You are watching.'));
  await page.keyboard.type('x');
  await page.reload();
  assert.equal((await at.proxy.admit({ mode: 'watch' })).query.get('mode'), 'watch');
  assert.equal(session.input.length, 0);
  assert.equal(session.said('pen').length, 0);
});

test('who lost the pen comes back as a watcher after a lost connection', async () => {
  const { page, session } = await at.attach();
  session.pen('lost', { by: 'bob', holder: 'bob', session: BOB });
  await see(status(page, 'bob is typing. You are watching.'));
  session.drop();
  const next = await at.proxy.attempt();
  assert.equal(next.query.get('mode'), 'watch');
});

for (const [how, lost, reason] of [
  ['a message', { type: 'pen', state: 'lost', by: 'bob', reason: 'maintenance' }, 'whatever'],
  ['the reason of the close', undefined, 'disconnected by bob: maintenance'],
]) {
  test(`who is thrown off hears by whom and why, from ${how}`, async () => {
    const { page, session } = await at.attach();
    if (lost) session.say(lost);
    session.close(4006, reason);
    await see(alert(page, 'bob disconnected you: maintenance. Reconnect, or watch.'));
    await see(page.locator('#offers').getByRole('button', { name: 'Reconnect' }));
    await see(button(page, 'Watch'));
  });
}

