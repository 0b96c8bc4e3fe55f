// The pen: asking for it, giving and keeping it, taking it over, and who else is there.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, see, seeInTerminal } from './browser.mjs';
import { SESSION } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const alert = (page, text) => page.getByRole('alert').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const bar = (page) => page.getByRole('region', { name: 'Typing' });

const focused = (page) => page.evaluate(() => document.activeElement.ariaLabel);

const ALICE = 'a11ce000-0000-4000-8000-000000000000';
const BOB = 'b0b00000-0000-4000-8000-000000000000';

/** Carol, who may write, watches what alice writes. */
async function watching(can = ['write']) {
  const { page, session } = await at.attach({ mode: 'watch', can });
  session.pen('held', { holder: 'alice', session: ALICE });
  await see(status(page, 'alice is typing. You are watching.'));
  return { page, session };
}

test('a free pen is taken by one press', async () => {
  const { page, session } = await at.attach({ mode: 'watch', can: ['write'] });
  session.pen('free');
  await button(page, 'Type').click();
  assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: 'request' }]);
  session.pen('held', { holder: 'carol', session: SESSION, by: 'carol' });
  await see(status(page, 'you are typing'));
  await page.keyboard.type('x');
  await session.typed('x');
});

test('the holder of the pen is asked, with a reason, and may let the time pass', async () => {
  const { page, session } = await watching();
  await button(page, 'Ask to type').click();
  const dialog = page.getByRole('dialog', { name: 'Ask alice to let you type?' });
  await dialog.getByLabel('Reason (they see it)').fill('I know the disk');
  await dialog.getByRole('button', { name: 'Ask' }).click();
  const asked = { type: 'pen', do: 'request', reason: 'I know the disk' };
  assert.deepEqual(await session.hears('pen'), [asked]);
  session.pen('requested', { session: SESSION, by: 'carol', holder: 'alice' });
  assert.equal(await focused(page), 'Terminal input');
  await see(status(page, 'You asked alice to let you type.'));
  await see(bar(page).getByText(/^Without an answer, you can type in \d+ s\.$/));
  assert.equal(await button(page, 'Ask to type').isVisible(), false);
  assert.equal(await button(page, 'Let them type').isVisible(), false);
  session.pen('held', { holder: 'carol', session: SESSION, by: 'alice' });
  await see(status(page, 'you are typing'));
  await bar(page).waitFor({ state: 'hidden' });
});

test('who is denied the pen reads by whom and why', async () => {
  const { page, session } = await watching();
  session.pen('requested', { session: SESSION, by: 'carol', holder: 'alice' });
  await see(bar(page));
  const held = { holder: 'alice', session: ALICE, by: 'alice' };
  session.pen('held', { ...held, reason: 'denied: in the middle of a restore' });
  await see(alert(page, 'alice keeps typing: in the middle of a restore. You are still watching.'));
  await see(button(page, 'Ask to type'));
  await button(page, 'Dismiss').click();
  await page.getByRole('alert').waitFor({ state: 'hidden' });
});

for (const [press, answer] of [
  ['Let them type', 'grant'],
  ['Keep typing', 'deny'],
]) {
  test(`who writes reads who asks and why, goes on typing, and may say ${press}`, async () => {
    const { page, session } = await at.attach();
    const wish = { session: BOB, by: 'bob', holder: 'carol', reason: 'the disk is full' };
    session.pen('requested', wish);
    await see(bar(page).getByText(/^Without your answer, bob can type in \d+ s\.$/));
    await see(alert(page, 'bob asks to type: the disk is full.'));
    await page.keyboard.type('ls');
    await session.typed('ls');
    await bar(page).getByRole('button', { name: press }).click();
    assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: answer }]);
    if (answer === 'grant') session.pen('lost', { holder: 'bob', session: BOB, by: 'carol' });
    else session.pen('held', { holder: 'carol', session: SESSION, by: 'carol' });
    await bar(page).getByText('asks to type').waitFor({ state: 'hidden' });
    await see(status(page, answer === 'grant' ? 'bob is typing. You are watching.' : 'you are typing'));
    if (answer === 'grant') await see(alert(page, 'You let bob type. You are watching now.'));
  });
}

test('the keyboard alone reaches the answer, without leaving what is typed', async () => {
  const { page, session } = await at.attach();
  session.pen('requested', { session: BOB, by: 'bob', holder: 'carol' });
  await see(bar(page));
  await page.keyboard.press('Shift+F6');
  await page.keyboard.press('Shift+F6');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: 'deny' }]);
  assert.equal(await focused(page), 'Terminal input');
  assert.equal(session.input.length, 0);
});

test('a third one is not bothered by the question of another', async () => {
  const { page, session } = await watching();
  session.pen('requested', { session: BOB, by: 'bob', holder: 'alice' });
  session.print('after');
  await seeInTerminal(page, 'after');
  assert.equal(await bar(page).getByText('asks to type').isVisible(), false);
});

test('the pen is released and can be had again', async () => {
  const { page, session } = await at.attach();
  await choose(page, 'More', 'Stop typing');
  assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: 'release' }]);
  session.pen('free');
  await see(status(page, 'Nobody is typing.'));
  await see(button(page, 'Type'));
});

test('who may force takes over with a reason, after a question', async () => {
  const { page, session } = await watching(['write', 'force']);
  await button(page, 'Take over…').click();
  const dialog = page.getByRole('dialog', { name: 'Take over from alice?' });
  await dialog.getByLabel('Reason (they see it)').fill('outage');
  await dialog.getByRole('button', { name: 'Take over' }).click();
  assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: 'force', reason: 'outage' }]);
});

test('who may not force is not offered it', async () => {
  const { page } = await watching();
  assert.equal(await button(page, 'Take over…').isVisible(), false);
});

test('a refused visitor may come in and ask', async () => {
  const page = await at.page();
  const refused = await at.proxy.attempt();
  refused.pen('held', { holder: 'alice', session: ALICE });
  refused.close(4004, 'busy: alice');
  await button(page, 'Ask to type').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Ask' }).click();
  const session = await at.proxy.attempt();
  assert.equal(session.query.get('mode'), 'watch');
  session.hello({ mode: 'watch' });
  assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: 'request' }]);
  assert.equal(await focused(page), 'Terminal input');
});

test("a pen that another window of one's own holds is not one's own", async () => {
  const { page, session } = await at.attach({ mode: 'watch', can: ['write'] });
  session.pen('held', { holder: 'carol', session: ALICE });
  await see(status(page, 'carol is typing. You are watching.'));
});

test('the way to the proxy and back is shown in milliseconds', async () => {
  const { page, session } = await at.attach();
  await session.hears('ping');
  await see(page.getByText(/^\d+ ms$/));
});

test('the time there and back is that of the last ping, not that of the first', async () => {
  const { page, session } = await at.attach({}, { clock: true });
  session.answersPings = false;
  await page.clock.runFor(1000);
  const [first] = await session.hears('ping');
  await page.clock.runFor(1500);
  session.say({ type: 'pong', id: first.id });
  await see(page.getByText('1500 ms', { exact: true }));
  session.answersPings = true;
  await page.clock.runFor(3500);
  await session.hears('ping', 2);
  await see(page.getByText('0 ms', { exact: true }));
});

const toast = (page) => page.getByRole('status').last();

test('who watches is told once that keys are not sent, and again after having typed', async () => {
  const { page, session } = await watching();
  await page.keyboard.press('Shift');
  await page.keyboard.press('Tab');
  await page.getByLabel('Terminal input').focus();
  assert.equal(await toast(page).textContent(), '');
  for (const key of ['l', 'Enter', 'ArrowUp', 'Control+C']) {
    await page.getByLabel('Terminal input').focus();
    await page.keyboard.press(key);
  }
  const words = 'You are watching: what you type is not sent. Press “Ask to type” first.';
  await see(toast(page).filter({ hasText: words }));
  await page.evaluate(() => (document.querySelector('#toast').textContent = ''));
  await page.keyboard.type('ls');
  assert.equal(await toast(page).textContent(), '');
  session.pen('held', { holder: 'carol', session: SESSION });
  await see(status(page, 'you are typing'));
  await page.keyboard.type('x');
  await session.typed('x');
  session.pen('lost', { holder: 'bob', session: BOB, by: 'bob' });
  await see(status(page, 'bob is typing. You are watching.'));
  await page.keyboard.type('y');
  await see(toast(page).filter({ hasText: words }));
  assert.equal(session.input.toString(), 'x');
});

for (const [how, hello, words] of [
  ['who may only watch', { mode: 'watch', can: [] }, 'To type, open a console URL that allows typing.'],
  ['who types while no guest is there', { state: 'waiting', reason: 'off' }, 'what you type is dropped'],
]) {
  test(`${how} is told that`, async () => {
    const { page } = await at.attach(hello);
    await page.keyboard.type('ls');
    await see(toast(page).filter({ hasText: words }));
  });
}

test('who types after the end is told that nobody hears it', async () => {
  const { page, session } = await at.attach();
  session.close(4007, 'idle');
  await see(alert(page, 'idle for too long'));
  await page.keyboard.type('ls');
  await see(toast(page).filter({ hasText: 'Not connected: what you type is not sent.' }));
});

for (const [how, then] of [
  ['has left', { state: 'free' }],
  ['has given typing to another', { state: 'held', holder: 'alice', session: ALICE }],
]) {
  test(`that somebody took over is no news any more when that one ${how}`, async () => {
    const { page, session } = await at.attach();
    session.pen('held', { holder: 'carol', session: SESSION });
    session.pen('lost', { holder: 'bob', session: BOB, by: 'bob' });
    session.pen('held', { holder: 'bob', session: BOB });
    await see(alert(page, 'bob took over typing.'));
    const { state, ...fields } = then;
    session.pen(state, fields);
    await page.getByRole('alert').waitFor({ state: 'hidden' });
  });
}

test('that one may not take over is no news any more when the typist has left', async () => {
  const page = await at.page();
  const refused = await at.proxy.attempt();
  refused.pen('held', { holder: 'alice', session: ALICE, can: ['write', 'force'] });
  refused.close(4004, 'busy: alice');
  await button(page, 'Take over…').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Take over' }).click();
  const session = await at.proxy.attempt();
  session.hello({ mode: 'watch', can: ['write'] });
  session.pen('held', { holder: 'alice', session: ALICE });
  await see(alert(page, 'You may not take over from alice'));
  session.pen('free');
  await page.getByRole('alert').waitFor({ state: 'hidden' });
});

test('output or a bell while nobody looks marks the title until someone does', async () => {
  const { page, session } = await at.attach();
  const hide = (hidden) =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  session.print('seen');
  await seeInTerminal(page, 'seen');
  assert.equal(await page.title(), 'web-1:0 – console');
  await hide(true);
  session.print('\x07');
  await page.waitForFunction(() => document.title === '● web-1:0 – console');
  session.say({ type: 'viewers', count: 2 });
  await see(page.getByRole('list', { name: '2 attached' }));
  assert.equal(await page.title(), '● web-1:0 – console');
  await hide(false);
  assert.equal(await page.title(), 'web-1:0 – console');
});
