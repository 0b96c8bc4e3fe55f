// A state one can trust: whether the connection still answers, what the machine was asked for, and that it is over.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, faint, see } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const ALL = { can: ['write', 'force', 'power'] };

/** A page whose time the test moves, after its first ping was answered. */
async function pinged(hello = {}, options = {}) {
  const { page, session } = await at.attach(hello, { clock: true, ...options });
  await page.clock.runFor(1000);
  await see(page.getByText('0 ms', { exact: true }));
  return { page, session };
}

/** The color of the mark before the status. */
const mark = (page) =>
  page.locator('#status').evaluate((line) => getComputedStyle(line, '::before').backgroundColor);

const AMBER = 'rgb(176, 116, 0)';

test('a key that is not acknowledged makes the page ping after 2 s, and 1 s later it counts', async () => {
  const { page, session } = await pinged();
  session.acknowledges = session.answersPings = false;
  await page.keyboard.type('x');
  await session.typed('x');
  await page.clock.runFor(1900);
  assert.equal(session.said('ping').length, 1);
  await page.clock.runFor(100);
  const [, ping] = await session.hears('ping', 2);
  await page.clock.runFor(900);
  await see(status(page, 'connected · you are typing'));
  await page.clock.runFor(100);
  await see(status(page, 'no answer for 3 s'));
  assert.equal(await page.locator('#latency').isVisible(), false);
  assert.equal(await mark(page), AMBER);
  await page.clock.runFor(1000);
  await see(status(page, 'no answer for 4 s'));
  session.say({ type: 'pong', id: ping.id });
  await see(status(page, 'connected · you are typing'));
});

test('anything that arrives is an answer', async () => {
  const { page, session } = await pinged();
  session.acknowledges = session.answersPings = false;
  await page.keyboard.type('x');
  await page.clock.runFor(2000);
  await session.hears('ping', 2);
  await page.clock.runFor(1000);
  await see(status(page, 'no answer for 3 s'));
  session.print('x');
  await see(status(page, 'connected · you are typing'));
  await page.clock.runFor(2000);
  await see(status(page, 'no answer for 2 s'));
});

test('a guest that does not answer is no fault of the connection', async () => {
  const { page, session } = await pinged();
  session.acknowledges = false;
  for (const key of 'abc') {
    await page.keyboard.type(key);
    const pings = session.said('ping').length;
    await page.clock.runFor(2000);
    await session.hears('ping', pings + 1);
    await page.clock.runFor(1500);
    await see(status(page, 'connected · you are typing'));
  }
});

test('a key that is acknowledged needs no ping', async () => {
  const { page, session } = await pinged();
  await page.keyboard.type('x');
  await session.typed('x');
  // What is shown came after the acknowledgement.
  session.say({ type: 'viewers', count: 2, who: [] });
  await see(page.getByRole('list', { name: '2 attached' }));
  await page.clock.runFor(4500);
  assert.equal(session.said('ping').length, 1);
  await page.clock.runFor(500);
  await session.hears('ping', 2);
});

test('who watches sees too that nothing answers', async () => {
  const { page, session } = await pinged({ mode: 'watch' });
  session.answersPings = false;
  await page.clock.runFor(5000);
  await session.hears('ping', 2);
  await page.clock.runFor(4000);
  await see(status(page, 'no answer for 4 s'));
});

test('the seconds are left out of what screen readers read aloud', async () => {
  const { page, session } = await pinged();
  session.answersPings = false;
  await page.clock.runFor(7000);
  await see(status(page, 'no answer for'));
  assert.equal(await page.locator('#status [aria-live=off]').innerText(), ' for 2 s');
  await session.hears('ping', 2);
});

test('the time there and back is the median of the last three', async () => {
  const { page, session } = await at.attach({}, { clock: true });
  session.answersPings = false;
  let untilPing = 1000;
  for (const [index, [trip, shown]] of [
    [300, 300],
    [100, 100],
    [900, 300],
    [700, 700],
    [200, 700],
  ].entries()) {
    await page.clock.runFor(untilPing);
    const ping = (await session.hears('ping', index + 1))[index];
    await page.clock.runFor(trip);
    session.say({ type: 'pong', id: ping.id });
    await see(page.getByText(`${shown} ms`, { exact: true }));
    untilPing = 5000 - trip;
  }
});

/** Asks for a reboot, and confirms. */
async function reboot(page) {
  await choose(page, 'Machine', 'Reboot…');
  await page.getByRole('dialog').getByRole('button', { name: 'Reboot' }).click();
}

test('a reboot counts until the boot is told, and Reset now resets at once', async () => {
  const { page, session } = await pinged(ALL);
  assert.equal(await button(page, 'Reset now').isVisible(), false);
  await reboot(page);
  await see(status(page, 'Rebooting… asked 0 s ago'));
  await page.clock.runFor(8000);
  await see(status(page, 'Rebooting… asked 8 s ago'));
  assert.equal(await mark(page), AMBER);
  session.say({ type: 'state', state: 'connected', reason: 'connected' });
  await button(page, 'Reset now').click();
  const asked = (await session.hears('power', 2)).map((message) => message.do);
  assert.deepEqual(asked, ['reboot', 'reset']);
  await see(status(page, 'Resetting… asked 0 s ago'));
  assert.equal(await button(page, 'Reset now').isVisible(), false);
  session.say({ type: 'epoch', epoch: 2, offset: 0 });
  await see(status(page, 'connected · you are typing'));
});

test('a power action that fails is not waited for', async () => {
  const { page, session } = await pinged(ALL);
  await reboot(page);
  await see(status(page, 'Rebooting… asked'));
  session.say({ type: 'error', message: 'cannot reboot web-1: the guest is paused' });
  await see(status(page, 'connected · you are typing'));
  await see(status(page, 'cannot reboot web-1'));
  assert.equal(await button(page, 'Reset now').isVisible(), false);
});

test('a reboot of which nothing is seen is given up after 90 s', async () => {
  // With pings that are answered sometimes, the connection would count as dead.
  const { page, session } = await at.attach(ALL, { clock: true });
  session.answersPings = false;
  await reboot(page);
  await see(status(page, 'Rebooting… asked'));
  await page.clock.runFor(89_000);
  await see(status(page, 'Rebooting… asked 89 s ago'));
  await page.clock.runFor(1000);
  await see(status(page, 'connected · you are typing'));
  await see(status(page, 'The guest did not reboot within 90 s'));
});

test('a boot during a lost connection is a boot', async () => {
  const { page, session } = await at.attach({ ...ALL, resume: 'k' });
  await reboot(page);
  await see(status(page, 'Rebooting… asked'));
  session.drop();
  const next = await at.proxy.admit({ ...ALL, resume: 'l', epoch: 2, epoch_offset: 0 });
  await see(status(page, 'connected · you are typing'));
  assert.equal(next.query.get('resume'), 'k');
});

for (const [item, yes, before, words, after] of [
  ['Stop…', 'Stop', undefined, 'Stopping… asked 2 s ago', { state: 'waiting', reason: 'the server is off', cause: 'stopped' }],
  ['Pause…', 'Pause', undefined, 'Pausing… asked 2 s ago', { state: 'connected', reason: 'the guest is paused', cause: 'paused' }],
  ['Resume', undefined, 'paused', 'Resuming… asked 2 s ago', { state: 'connected', reason: 'connected' }],
  ['Start', undefined, 'stopped', 'Starting… asked 2 s ago', { state: 'connected', reason: 'connected' }],
]) {
  test(`"${words}" ends when that is so`, async () => {
    const { page, session } = await pinged({ ...ALL, ...(before && { cause: before }) });
    await choose(page, 'Machine', item);
    if (yes) await page.getByRole('dialog').getByRole('button', { name: yes }).click();
    await session.hears('power');
    await page.clock.runFor(2000);
    await see(status(page, words));
    session.say({ type: 'state', ...after });
    await status(page, words).waitFor({ state: 'hidden' });
  });
}

for (const colorScheme of ['light', 'dark']) {
  test(`what waits for an answer can be read where the system is ${colorScheme}`, async () => {
    const { page } = await pinged(ALL, { colorScheme });
    await reboot(page);
    await see(button(page, 'Reset now'));
    assert.deepEqual(await faint(page), []);
  });
}

test('after the end the terminal is dim and the title says so, until the console is open again', async () => {
  const { page, session } = await at.attach({ server: { id: 'x', name: 'demo' } });
  const opacity = () => page.locator('#screen').evaluate((one) => Number(getComputedStyle(one).opacity));
  assert.equal(await page.title(), 'demo:0 – console');
  assert.equal(await opacity(), 1);
  session.close(4007, '');
  await see(page.getByRole('alert').filter({ hasText: 'idle' }));
  assert.equal(await page.title(), '✕ demo:0 – console');
  assert.ok((await opacity()) < 0.9);
  await page.locator('#offers').getByRole('button', { name: 'Reconnect' }).click();
  await at.proxy.admit({ server: { id: 'x', name: 'demo' } });
  await see(status(page, 'you are typing'));
  assert.equal(await page.title(), 'demo:0 – console');
  assert.equal(await opacity(), 1);
});

test('a connection that comes back by itself has not ended', async () => {
  const { page, session } = await at.attach({ resume: 'k', server: { id: 'x', name: 'demo' } });
  session.drop();
  await see(status(page, 'connection lost, trying again'));
  assert.equal(await page.title(), 'demo:0 – console');
});
