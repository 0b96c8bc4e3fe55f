// A connection that breaks: the session comes back by itself, goes on where it stopped, and types
// nothing twice.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, see, seeInTerminal, terminalText } from './browser.mjs';
import { SESSION } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const alert = (page, text) => page.getByRole('alert').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });

const LINE = '1c1d7b5e-51c4-4d39-8a43-0f6b1f0d2b02';
const OTHER_LINE = '2c1d7b5e-51c4-4d39-8a43-0f6b1f0d2b02';
const OTHER_SESSION = '8d9f5d2e-6a6c-4f0c-9a3b-0d2f5f3a9a01';

/** A session that can come back, at offset 6 after `before`. */
async function resumable(hello = {}, options = {}) {
  const { page, session } = await at.attach({ resume: 'key-1', ...hello }, options);
  session.print('before');
  await seeInTerminal(page, 'before');
  return { page, session };
}

for (const [how, end] of [
  ['breaks', (session) => session.drop()],
  ['is closed as draining', (session) => session.close(4012, 'draining: connect again')],
  ['is closed for a restart', (session) => session.close(1012)],
  ['is closed after a fault', (session) => session.close(1011, 'store unavailable')],
  ['is closed as its host is lost', (session) => session.close(4014, 'host lost: try again')],
]) {
  test(`a connection that ${how} comes back by its key, where the output stopped`, async () => {
    const { page, session } = await resumable();
    end(session);
    const next = await at.proxy.attempt();
    assert.deepEqual(Object.fromEntries(next.query), { resume: 'key-1', from: '6', line: LINE });
    next.hello({ resume: 'key-2', offset: 6 });
    next.say({ type: 'replay', kind: 'history', bytes: 7, offset: 13 });
    next.print(' missed');
    next.print(' live');
    await seeInTerminal(page, 'before missed live');
    await see(status(page, 'you are typing'));
    assert.equal(await page.getByRole('alert').isVisible(), false);
    next.drop();
    const third = await at.proxy.attempt();
    assert.equal(third.query.get('resume'), 'key-2');
    assert.equal(third.query.get('from'), '18');
    assert.equal(await terminalText(page), 'before missed live');
  });
}

test('a host that is lost is told in words, and the page goes on trying', async () => {
  const { page, session } = await resumable({ grace: 60 });
  session.close(4014, 'host lost: the host of this server does not respond, try again');
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const next = await at.proxy.attempt();
    await see(alert(page, 'The host of this server does not respond; the server itself may still run.'));
    await see(alert(page, 'goes on trying until the host is back: your session goes on if'));
    await see(status(page, 'host lost, trying again'));
    next.close(4014, 'host lost: the host of this server does not respond, try again');
  }
  await see(page.getByText(/your session is kept for \d+ s more/));
  const back = await at.proxy.attempt();
  assert.equal(back.query.get('resume'), 'key-1');
  back.hello({ resume: 'key-2', offset: 6 });
  await see(status(page, 'you are typing'));
});

test('a character that the break cuts in two is shown whole', async () => {
  const { page, session } = await resumable();
  session.print([0xe2, 0x82]);
  await session.until(() => true, 'nothing');
  await page.waitForFunction(() => window.serialproxy.text() === 'before');
  session.socket.close(1012);
  const next = await at.proxy.attempt();
  assert.equal(next.query.get('from'), '8');
  next.hello({ offset: 8 });
  next.print([0xac]);
  await seeInTerminal(page, 'before€');
});

test('input that was not acknowledged is sent again, once and in its place', async () => {
  const { page, session } = await resumable();
  await page.keyboard.type('ab');
  await session.typed('ab');
  session.acknowledges = false;
  await page.keyboard.type('cdef');
  await session.typed('cdef');
  session.drop();
  const next = await at.proxy.attempt();
  await page.keyboard.type('gh');
  next.hello({ resume: 'key-2', offset: 6, input: 4 });
  await next.typed('efgh');
  await page.keyboard.type('i');
  await next.typed('i');
  assert.equal(next.input.toString(), 'efghi');
  assert.deepEqual(next.messages[0], { type: 'input', offset: 4 });
});

test('after a restart of the server, input that may have arrived is not sent again', async () => {
  const { page, session } = await resumable();
  session.acknowledges = false;
  await page.keyboard.type('cdef');
  await session.typed('cdef');
  session.drop();
  const next = await at.proxy.attempt();
  next.hello({ resume: 'key-2', line: OTHER_LINE, offset: 0, input: 0 });
  await seeInTerminal(page, '4 bytes that you typed may not have reached the guest');
  await page.keyboard.type('i');
  await next.typed('i');
  assert.equal(next.input.toString(), 'i');
  assert.deepEqual(next.said('input'), []);
});

test('what is typed without a connection is sent when the session is back', async () => {
  const { page, session } = await resumable();
  session.drop();
  const next = await at.proxy.attempt();
  await see(alert(page, 'The connection was lost.'));
  await page.keyboard.type('uptime\n');
  assert.equal(next.input.length, 0);
  next.hello({ offset: 6 });
  await next.typed('uptime\r');
  assert.deepEqual(next.said('input'), [{ type: 'input', offset: 0 }]);
});

test('more than 64 KiB of waiting input is refused in words', async () => {
  const { page, session } = await resumable();
  session.drop();
  await at.proxy.attempt();
  await page.keyboard.insertText('x'.repeat(64 * 1024));
  assert.equal(await status(page, 'Not typed').isVisible(), false);
  await page.keyboard.type('y');
  await see(status(page, 'Not sent: the guest has not read the last 64 KiB that you typed.'));
});

test('a session that comes back without the pen types nothing, and says so', async () => {
  const { page, session } = await resumable();
  session.drop();
  const next = await at.proxy.attempt();
  await see(alert(page, 'The connection was lost.'));
  await page.keyboard.type('rm');
  next.hello({ mode: 'watch', offset: 6 });
  next.pen('lost', { holder: 'bob', by: 'bob', session: OTHER_SESSION });
  await see(alert(page, 'bob took over typing. You are watching now.'));
  await seeInTerminal(page, '[… 2 bytes that you typed may not have reached the guest, and will not be sent again …]');
  assert.equal(next.input.length, 0);
});

test('a key that is not known any more falls back to the token, and sends no input again', async () => {
  const { page, session } = await resumable();
  session.acknowledges = false;
  await page.keyboard.type('half');
  await session.typed('half');
  session.drop();
  (await at.proxy.attempt()).close(4001, 'token missing, unknown or expired');
  const next = await at.proxy.attempt();
  const query = { token: 'secret-token', mode: 'auto', from: '6', line: LINE };
  assert.deepEqual(Object.fromEntries(next.query), query);
  next.hello({ session: OTHER_SESSION, offset: 6, input: 0 });
  next.print(' after');
  await seeInTerminal(page, ' after');
  assert.match(
    await terminalText(page),
    /^before\n\[… 4 bytes that you typed may not have reached the guest, and will not be sent again …\]\n after$/,
  );
  await page.keyboard.type('!');
  await next.typed('!');
  assert.equal(next.input.toString(), '!');
  assert.equal(next.said('input').length, 0);
});

test('another line is never glued on: a rule says that output may be missing', async () => {
  const { page, session } = await resumable();
  session.drop();
  (await at.proxy.attempt()).close(4001);
  (await at.proxy.admit({ session: OTHER_SESSION, line: OTHER_LINE })).print('new');
  await seeInTerminal(page, '── reconnected: some output may be missing ──\nnew');
  assert.match(await terminalText(page), /^before\n──/);
});

test('what is no longer kept is stated, also where only the offset tells', async () => {
  const { page, session } = await resumable();
  session.drop();
  const next = await at.proxy.admit({ resume: 'key-2', offset: 306 });
  next.print('after');
  await seeInTerminal(page, 'before\n[… 300 bytes of output skipped: it is no longer kept …]\nafter');
});

test('a reload comes back by the key and asks for the screen', async () => {
  const { page } = await resumable();
  await page.reload();
  const next = await at.proxy.attempt();
  assert.deepEqual(Object.fromEntries(next.query), { resume: 'key-1' });
  next.hello({ resume: 'key-2', offset: 6, input: 3 });
  next.say({ type: 'replay', kind: 'screen', bytes: 6, offset: 6 });
  next.print('before and after');
  await seeInTerminal(page, 'before and after');
  await next.hears('input');
  assert.deepEqual(next.messages[0], { type: 'input', offset: 3 });
  await page.reload();
  assert.equal((await at.proxy.attempt()).query.get('resume'), 'key-2');
});

test('a new console URL in the same tab begins anew', async () => {
  const { page } = await resumable();
  await page.goto(at.proxy.url('token=another'));
  const next = await at.proxy.attempt();
  assert.deepEqual(Object.fromEntries(next.query), { token: 'another', mode: 'auto' });
});

/** The page with a clock that the test moves, and without chance. */
async function clocked() {
  const page = await at.page();
  await page.addInitScript(() => (Math.random = () => 1));
  await page.clock.install();
  await page.reload();
  await at.proxy.attempt();
  const session = await at.proxy.admit({ resume: 'key-1' });
  await see(status(page, 'you are typing'));
  await page.clock.pauseAt(Date.now() + 60_000);
  return { page, session };
}

test('attempts come in longer and longer pauses, with words for how long the session is kept', async () => {
  const { page, session } = await clocked();
  session.drop();
  await see(alert(page, 'The connection was lost.'));
  await see(page.getByText('Trying again in 1 s; your session is kept for 60 s more'));
  for (const pause of [0.3, 0.6, 1.2, 2.4, 4.8, 9.6, 15, 15]) {
    await see(page.getByText(`Trying again in ${Math.ceil(pause)} s`));
    await see(status(page, /connection|trying again/));
    await page.clock.runFor(pause * 1000);
    (await at.proxy.attempt()).drop();
  }
  await see(page.getByText('your session is kept for 12 s more'));
  await page.clock.runFor(14_000);
  await see(page.getByText('Trying again in 1 s; your session may be over'));
  await button(page, 'Reconnect now').focus();
  await page.clock.runFor(1000);
  (await at.proxy.attempt()).drop();
  await see(page.getByText('Trying again in 15 s'));
  await page.keyboard.press('Enter'); // The button keeps the focus through the attempts.
  await at.proxy.admit();
  await see(status(page, 'you are typing'));
});

for (const event of ['online', 'visibilitychange']) {
  test(`an attempt is made at once on ${event}`, async () => {
    const { page, session } = await clocked();
    session.drop();
    await see(page.getByText('Trying again in 1 s'));
    await page.evaluate((name) => {
      const target = name === 'online' ? window : document;
      target.dispatchEvent(new Event(name));
    }, event);
    await at.proxy.admit();
    await see(status(page, 'you are typing'));
  });
}

test('a connection that has fallen silent is given up and come back to', async () => {
  const { page, session } = await clocked();
  await session.hears('ping');
  await see(page.getByText(/^\d+ ms$/));
  session.answersPings = false;
  await page.clock.runFor(40_000);
  const next = await at.proxy.attempt();
  assert.equal(next.query.get('resume'), 'key-1');
  next.hello();
  await see(status(page, 'you are typing'));
});

for (const [how, id] of [
  ['its id', { session: SESSION }],
  ['its user', {}],
]) {
  test(`one's own broken session that still holds the pen is known by ${how}, and waited for`, async () => {
    const { page, session } = await at.attach();
    session.drop();
    const next = await at.proxy.attempt();
    next.pen('held', { holder: 'carol', ...id });
    next.close(4004, 'busy: carol');
    await see(alert(page, 'Your session from before the connection was lost is not over yet.'));
    await at.proxy.admit();
    await see(status(page, 'you are typing'));
  });
}

test("another session of one's own user is no reason to wait", async () => {
  const { page, session } = await at.attach();
  session.drop();
  const next = await at.proxy.attempt();
  next.pen('held', { holder: 'carol', session: OTHER_SESSION });
  next.close(4004, 'busy: carol');
  await see(alert(page, 'carol has been typing here.'));
});

test('Reconnect comes back with the session, which keeps typing', async () => {
  const { page, session } = await resumable();
  await choose(page, 'More', 'Reconnect');
  const next = await at.proxy.admit({ offset: 6 });
  assert.equal(next.query.get('resume'), 'key-1');
  await session.until(() => session.closedWith !== undefined, 'close');
  assert.notEqual(session.closedWith, 1000);
  await see(status(page, 'you are typing'));
});

test('Leave ends the session at once, and forgets it', async () => {
  const { page, session } = await resumable();
  await choose(page, 'More', 'Leave');
  await session.until(() => session.closedWith === 1000, 'close');
  await see(alert(page, 'You left the console, and others can type.'));
  await page.locator('#offers').getByRole('button', { name: 'Reconnect' }).click();
  assert.equal((await at.proxy.attempt()).query.get('token'), 'secret-token');
});

test('a popped-out window takes the session, and "Use it here" brings it back', async () => {
  const { page, session } = await resumable();
  const opened = page.context().waitForEvent('page');
  await choose(page, 'More', 'Open in new window');
  const other = await opened;
  const there = await at.proxy.attempt();
  assert.deepEqual(Object.fromEntries(there.query), { resume: 'key-1' });
  there.hello({ resume: 'key-2', offset: 6 });
  await see(status(other, 'you are typing'));
  session.close(4005, 'this session goes on in another window');
  await see(alert(page, 'This session is now open in another window.'));
  await button(page, 'Use it here').click();
  const back = await at.proxy.attempt();
  const query = { resume: 'key-2', from: '6', line: LINE };
  assert.deepEqual(Object.fromEntries(back.query), query);
  back.hello({ resume: 'key-3', offset: 6 });
  there.close(4005, 'this session goes on in another window');
  await see(status(page, 'you are typing'));
  await see(alert(other, 'This session is now open in another window.'));
});
