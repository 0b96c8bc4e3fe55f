// A console where somebody types already: it is watched at once, and the strip above the terminal says who types,
// since when, and how to come to type. In each window that people have, light and dark.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { faint, see, seeInTerminal } from './browser.mjs';
import { SESSION } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ALICE = 'a11ce000-0000-4000-8000-000000000000';
const CAN = ['write', 'force', 'power'];

const strip = (page) => page.getByRole('region', { name: 'Typing', exact: true });
const says = (page, text) => strip(page).getByRole('status').filter({ hasText: text });
const clock = (page, text) => strip(page).getByText(text);
const button = (page, name) => strip(page).getByRole('button', { name, exact: true });

/** Today at 09:04. */
function morning() {
  const time = new Date();
  time.setUTCHours(9, 4, 0, 0);
  return time.toISOString();
}

const held = () => ({ holder: 'alice', session: ALICE, since: morning() });

/** Carol comes to a console, and watches. */
async function watching(hello = {}, options = {}) {
  const { page, session } = await at.attach({ mode: 'watch', can: CAN, ...hello }, options);
  session.print('login: ');
  await seeInTerminal(page, 'login:');
  return { page, session };
}

/** Buttons of the strip that are there. */
const offers = (page) => strip(page).getByRole('button').allInnerTexts();

/** Waits until the strip says exactly this, and offers this. */
async function sees(page, text, buttons) {
  await see(says(page, text));
  assert.deepEqual(await offers(page), buttons);
}

/** The cursor's form, as the terminal draws it. */
const cursor = (page) =>
  page.locator('.xterm-cursor').evaluate(({ classList }) => [...classList].find((name) => /-(block|outline)$/.test(name)));

const ring = (page) =>
  page.locator('#terminal').evaluate((terminal) => getComputedStyle(terminal, '::after').content !== 'none');

/** Nothing reaches out of the window, and nothing is too faint. */
async function assertShown(page, what) {
  assert.deepEqual(await faint(page), [], what);
  const outside = await page.evaluate(() => {
    const { scrollWidth, clientWidth, scrollHeight, clientHeight } = document.documentElement;
    const wide = [...document.querySelectorAll('#strip *')].filter(
      (one) => one.getBoundingClientRect().right > innerWidth,
    );
    return scrollWidth > clientWidth || scrollHeight > clientHeight || wide.length > 0;
  });
  assert.equal(outside, false, what);
}

const WINDOWS = [
  ['desktop', { viewport: { width: 1280, height: 800 } }],
  ['phone', { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }],
];

for (const [window, size] of WINDOWS) {
  for (const colorScheme of ['light', 'dark']) {
    test(`the strip says who types on a ${window}, ${colorScheme}`, async () => {
      const { page, session } = await watching({}, { ...size, colorScheme });
      const press = (name) => (size.hasTouch ? button(page, name).tap() : button(page, name).click());
      assert.equal(session.query.get('mode'), 'auto');
      session.pen('held', held());
      await sees(page, /^alice is typing \(since 09:04\)\. You are watching\.$/, ['Ask to type', 'Take over…']);
      assert.equal(await says(page, 'alice').locator('bdi').evaluate((name) => getComputedStyle(name).fontWeight), '600');
      await see(strip(page).getByText('Watching', { exact: true }));
      await assertShown(page, 'busy');

      session.pen('held', { ...held(), cause: 'detached', free_in: 34, seen_ago: 26 });
      await sees(page, /^alice lost the connection\. You are watching\.$/, ['Ask to type', 'Take over…']);
      await see(clock(page, /^Last seen \d+ s ago\. Free in \d+ s\.$/));
      await assertShown(page, 'lost');

      session.pen('held', { ...held(), holder: 'carol', own: true });
      await sees(page, /^You have this console open in another window\.$/, ['Use it here']);
      session.pen('held', { ...held(), holder: 'carol', own: true, cause: 'detached', free_in: 48, seen_ago: 12 });
      await see(clock(page, /^Last seen \d+ s ago\.$/));
      await sees(page, 'You have this console open in another window.', ['Use it here']);
      await assertShown(page, 'own');
      await press('Use it here');
      assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: 'take' }]);

      session.pen('free');
      await sees(page, /^Nobody is typing\.$/, ['Type']);
      await assertShown(page, 'free');
      await press('Type');
      assert.deepEqual((await session.hears('pen', 2))[1], { type: 'pen', do: 'request' });
      session.pen('held', { holder: 'carol', session: SESSION, since: morning() });
      await strip(page).waitFor({ state: 'hidden' });
      assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Terminal input');
    });
  }
}

test('who watches has a hollow cursor and no ring, and who types a full one and a ring', async () => {
  const { page, session } = await watching();
  session.pen('held', held());
  await see(says(page, 'alice is typing'));
  await page.getByLabel('Terminal input').focus();
  await page.locator('.xterm-cursor-outline').waitFor();
  assert.deepEqual([await cursor(page), await ring(page)], ['xterm-cursor-outline', false]);
  session.pen('held', { holder: 'carol', session: SESSION });
  await page.locator('.xterm-cursor-block').waitFor();
  assert.deepEqual([await cursor(page), await ring(page)], ['xterm-cursor-block', true]);
});

/** The animations of the strip that began since this was called first, by name. */
const moves = (page) =>
  strip(page).evaluate((element) => {
    window.moves ??= [];
    element.onanimationstart ??= ({ animationName }) => window.moves.push(animationName);
    return window.moves;
  });

for (const [reducedMotion, animation] of [
  ['no-preference', 'shake'],
  ['reduce', 'light'],
]) {
  test(`a key that is not sent shakes the strip, where motion is ${reducedMotion}`, async () => {
    const { page, session } = await watching({}, { reducedMotion });
    session.pen('held', held());
    await see(says(page, 'alice is typing'));
    assert.deepEqual(await moves(page), []);
    // Keys that mean nothing to the guest shake nothing.
    await page.keyboard.press('Shift');
    await page.keyboard.press('l');
    await page.waitForFunction(() => window.moves.length > 0);
    await page.waitForFunction(() => !document.querySelector('#strip').classList.contains('shaken'));
    assert.deepEqual(await moves(page), [animation]);
    assert.equal(session.input.length, 0);
  });
}

test('a key of an on-screen keyboard shakes the strip, too', async () => {
  const { page, session } = await watching({}, WINDOWS[1][1]);
  session.pen('held', held());
  await see(says(page, 'alice is typing'));
  await moves(page);
  await page.getByLabel('Terminal input').evaluate((input) =>
    input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Unidentified', bubbles: true })),
  );
  await page.waitForFunction(() => window.moves.length > 0);
});

test('a window of the same user that types elsewhere now is told so, and typing comes back by one press', async () => {
  const { page, session } = await at.attach({ can: ['write'] });
  session.pen('held', { holder: 'carol', session: SESSION });
  session.pen('lost', { ...held(), holder: 'carol', by: 'carol', cause: 'moved', reason: 'used in another window', own: true });
  await sees(page, 'You have this console open in another window.', ['Use it here']);
  assert.equal(await page.getByRole('alert').isVisible(), false, 'nobody took anything away');
  await button(page, 'Use it here').click();
  assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: 'take' }]);
});

test('who may only watch is offered nothing', async () => {
  const { page, session } = await watching({ can: [] });
  session.pen('held', held());
  await sees(page, 'alice is typing (since 09:04). You are watching.', []);
  session.pen('held', { ...held(), holder: 'carol', own: true });
  await sees(page, 'You have this console open in another window.', []);
  session.pen('free');
  await sees(page, 'Nobody is typing. You are watching.', []);
});

test('an older day is named, and without a time there is none', async () => {
  const { page, session } = await watching();
  session.pen('held', { ...held(), since: '2026-01-02T09:05:00Z' });
  await see(says(page, 'alice is typing (since 2 Jan, 09:05). You are watching.'));
  session.pen('held', { ...held(), since: 'yesterday' });
  await see(says(page, /^alice is typing\. You are watching\.$/));
});

test('the question before taking over says since when the other types', async () => {
  const { page, session } = await watching();
  session.pen('held', held());
  await button(page, 'Take over…').click();
  await see(page.getByRole('dialog').getByText(/^alice has been typing here since 09:04 \(for /));
});

test('a name is text, in whatever direction it reads', async () => {
  const { page, session } = await watching();
  session.pen('held', { ...held(), holder: '<b>\u202eecila</b>' });
  await see(says(page, '<b>\u202eecila</b> is typing'));
});

test('a server that is too old for the mode auto is asked without it, once', async () => {
  const page = await at.page();
  const first = await at.proxy.attempt();
  assert.equal(first.query.get('mode'), 'auto');
  first.close(1002, 'mode must be watch or write, not "auto"');
  const second = await at.proxy.attempt();
  assert.equal(second.query.get('mode'), null);
  second.pen('held', held());
  second.close(4004, 'busy: alice');
  await see(page.getByRole('alert').filter({ hasText: 'alice has been typing here since 09:04' }));
  await page.getByRole('button', { name: 'Reconnect' }).click();
  const third = await at.proxy.attempt();
  third.close(1002, 'another fault');
  await see(page.getByRole('alert').filter({ hasText: 'another fault' }));
});

test('who is there is shown as initials, with the names on hover and focus', async () => {
  const { page, session } = await at.attach();
  const persons = page.getByRole('list', { name: 'attached' });
  const who = ['carol', 'bob.smith', 'dave', 'erin', 'frank', 'grace'].map((user, index) => ({
    session: index === 0 ? SESSION : `${index}`,
    user,
    mode: index === 0 ? 'write' : 'watch',
    ...(user === 'dave' ? { detached: true } : {}),
  }));
  session.say({ type: 'viewers', count: 1, who: who.slice(0, 1) });
  assert.equal(await persons.isVisible(), false, 'alone');
  session.say({ type: 'viewers', count: 2, who: who.slice(0, 2) });
  await see(page.getByRole('list', { name: '2 attached' }));
  assert.deepEqual(await persons.getByRole('img').allTextContents(), ['C', 'BS']);
  const bob = persons.getByRole('img', { name: 'bob.smith is watching', exact: true });
  const tip = persons.getByText('bob.smith is watching', { exact: true });
  assert.equal(await tip.isVisible(), false);
  // What comes later into the header moves the initials, and with them the pointer would leave them.
  await see(page.getByRole('link', { name: 'All servers' }));
  await see(page.getByText(/^\d+ ms$/));
  await bob.hover();
  await see(tip);
  await page.mouse.move(0, 300);
  await tip.waitFor({ state: 'hidden' });
  await bob.focus();
  await see(tip);
  session.say({ type: 'viewers', count: 30, who });
  await see(page.getByRole('list', { name: '30 attached' }));
  assert.deepEqual(await persons.getByRole('img').allTextContents(), ['C', 'BS', 'D', 'E', '+26']);
  await see(persons.getByRole('img', { name: 'dave is watching, connection lost' }));
  await persons.getByRole('img').last().hover();
  await see(persons.getByText(/^frank is watching\ngrace is watching\nand 24 more$/));
  assert.deepEqual(await faint(page), []);
});
