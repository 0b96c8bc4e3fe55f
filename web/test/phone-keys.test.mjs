// The keys of a phone: a row of those that its keyboard lacks, and a page of which nothing lies under that keyboard.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, faint, see, seeInTerminal } from './browser.mjs';
import { PHONE, fingerOf } from './phone.mjs';
import { stage } from './stage.mjs';

const at = stage();

const button = (page, name) => page.getByRole('button', { name, exact: true });
const row = (page) => page.getByRole('toolbar', { name: 'Keys' });
const key = (page, name) => row(page).getByRole('button', { name, exact: true });
const focused = (page) => page.evaluate(() => document.activeElement.ariaLabel);
const focusComes = (page, name) =>
  page.waitForFunction((wanted) => document.activeElement.ariaLabel === wanted, name);
/** Waits until a key that stays down is down, or not: a tap is over before its click. */
const isDown = (page, name, down = true) =>
  key(page, name).and(page.locator(`[aria-pressed=${down}]`)).waitFor();
const ALICE = 'a11ce000-0000-4000-8000-000000000000';

/** A page on a phone. */
const phone = (hello, options = {}) => at.attach(hello, { ...PHONE, ...options });

/** The events of the on-screen keyboard, as Chromium makes them. */
async function keyboardOf(page) {
  const devtools = await page.context().newCDPSession(page);
  await page.getByLabel('Terminal input').focus();
  return {
    /** A character at once: `beforeinput` and `input`, without a key. */
    insert: (text) => devtools.send('Input.insertText', { text }),
    /** A word that may still change. */
    compose: (text) =>
      devtools.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length }),
    /** A key whose character is told meanwhile, as Android's keyboards press them. */
    async key(tell) {
      const send = (type) =>
        devtools.send('Input.dispatchKeyEvent', { type, windowsVirtualKeyCode: 229, key: 'Unidentified' });
      await Promise.all([send('rawKeyDown'), tell(), send('keyUp')]);
    },
  };
}

test('the row of keys has them in order, scrolls, and sends all of them to the guest', async () => {
  const { page, session } = await phone();
  const keys = await row(page).getByRole('button').filter({ visible: true }).allInnerTexts();
  assert.equal(keys.join(' '), 'Esc Tab Ctrl Alt ← ↓ ↑ → | / - ~ PgUp PgDn Fn ⌨');
  assert.ok(await key(page, 'Esc').evaluate(({ parentElement: row }) => row.scrollWidth > row.clientWidth));
  for (const name of ['Esc', 'Tab', 'Left', 'Down', 'Up', 'Right', '|', '/', '-', '~', 'PgUp', 'PgDn']) {
    await key(page, name).tap();
  }
  await session.typed('\x1b\t\x1b[D\x1b[B\x1b[A\x1b[C|/-~\x1b[5~\x1b[6~');
});

test('a swipe scrolls the row of keys', async () => {
  const { page, session } = await phone();
  const finger = await fingerOf(page);
  const { x, y } = await key(page, 'Up').boundingBox();
  await finger.slide(y + 20, x + 5, 20);
  await page.waitForFunction(() => document.querySelector('#keys .row:last-child').scrollLeft > 100);
  assert.ok(await key(page, 'PgDn').isVisible());
  assert.ok((await key(page, 'On-screen keyboard').boundingBox()).x > 300, '⌨ stays');
  assert.equal(session.input.length, 0);
});

test('arrows are what the program in the guest asked for', async () => {
  const { page, session } = await phone();
  session.print('\x1b[?1hready');
  await seeInTerminal(page, 'ready');
  await key(page, 'Up').tap();
  await session.typed('\x1bOA');
});

test('Ctrl and Alt stay down for one key of the row', async () => {
  const { page, session } = await phone();
  await key(page, 'Ctrl').tap();
  await isDown(page, 'Ctrl');
  await key(page, 'Left').tap();
  await isDown(page, 'Ctrl', false);
  await key(page, 'Alt').tap();
  await key(page, 'PgUp').tap();
  await key(page, 'Ctrl').tap();
  await key(page, 'Alt').tap();
  await key(page, 'Up').tap();
  await key(page, 'Alt').tap();
  await key(page, '/').tap();
  await key(page, 'Fn').tap();
  await key(page, 'Ctrl').tap();
  await key(page, 'F2').tap();
  await key(page, 'Ctrl').tap();
  await key(page, 'Ctrl').tap();
  await key(page, 'Left').tap();
  await session.typed('\x1b[1;5D\x1b[5;3~\x1b[1;7A\x1b/\x1b[1;5Q\x1b[D');
});

for (const [how, type] of [
  ['key', (page) => page.keyboard.press('c')],
  ['character that is inserted', async (page) => (await keyboardOf(page)).insert('c')],
  [
    'character after a key without a name',
    // In one task, as xterm.js reads the character right after the key.
    (page) =>
      page.getByLabel('Terminal input').evaluate((field) => {
        const key = { key: 'Unidentified', keyCode: 229, bubbles: true, cancelable: true, composed: true };
        field.dispatchEvent(new KeyboardEvent('keydown', key));
        document.execCommand('insertText', false, 'c');
        field.dispatchEvent(new KeyboardEvent('keyup', key));
      }),
  ],
  ['character of a composition', async (page) => (await keyboardOf(page)).compose('c')],
  [
    'character of a composition after a key without a name',
    async (page) => {
      const keyboard = await keyboardOf(page);
      await keyboard.key(() => keyboard.compose('c'));
    },
  ],
]) {
  test(`Ctrl applies to the next ${how}, and only to that`, async () => {
    const { page, session } = await phone();
    await page.getByLabel('Terminal input').focus();
    await key(page, 'Ctrl').tap();
    await isDown(page, 'Ctrl');
    await type(page);
    await session.typed('\x03');
    assert.equal(await key(page, 'Ctrl').getAttribute('aria-pressed'), 'false');
    await (await keyboardOf(page)).insert('c');
    await session.typed('\x03c');
    await key(page, 'Tab').tap();
    await session.typed('\x03c\t');
    assert.equal(session.input.toString(), '\x03c\t');
  });
}

test('a word that is composed is sent before the next key of the row', async () => {
  const { page, session } = await phone();
  const keyboard = await keyboardOf(page);
  await keyboard.compose('ls');
  await key(page, '|').tap();
  await session.typed('ls|');
  await keyboard.compose('wc');
  await key(page, 'Ctrl').tap();
  await isDown(page, 'Ctrl');
  await keyboard.compose('d');
  await session.typed('ls|wc\x04');
  assert.equal(session.input.toString(), 'ls|wc\x04');
});

test('a press of the row leaves the keyboard where it is', async () => {
  const { page } = await phone();
  await page.getByLabel('Terminal input').focus();
  for (const name of ['Esc', 'Ctrl', 'Left', 'Fn']) await key(page, name).tap();
  assert.equal(await focused(page), 'Terminal input');
});

/** An on-screen keyboard that leaves so much of the window, as browsers tell it that do not make the page smaller. */
async function showKeyboard(page, height, offsetTop = 0) {
  await page.evaluate(([height, offsetTop]) => {
    Object.defineProperties(visualViewport, {
      height: { configurable: true, get: () => height },
      offsetTop: { configurable: true, get: () => offsetTop },
    });
    visualViewport.dispatchEvent(new Event('resize'));
  }, [height, offsetTop]);
}

test('⌨ shows the keyboard, hides it, and shows one that was put away', async () => {
  const { page } = await phone();
  const keyboard = key(page, 'On-screen keyboard');
  await page.getByLabel('Terminal input').blur();
  await keyboard.tap();
  await focusComes(page, 'Terminal input');
  await showKeyboard(page, 420);
  await keyboard.tap();
  await focusComes(page, null);
  await keyboard.tap();
  await focusComes(page, 'Terminal input');
  // Android's Back puts the keyboard away, and leaves the focus.
  await showKeyboard(page, 740);
  const input = page.getByLabel('Terminal input');
  const shown = input.evaluate((field) => new Promise((resolve) => (field.onfocus = () => resolve())));
  await keyboard.tap();
  await shown;
  assert.equal(await focused(page), 'Terminal input');
});

test('nothing lies under the keyboard, and the prompt stays in sight', async () => {
  const { page, session } = await phone();
  session.print(Array.from({ length: 100 }, (_, row) => `row ${row}\r\n`).join('') + 'prompt$ ');
  await seeInTerminal(page, 'prompt$');
  await showKeyboard(page, 420, 30);
  await session.until(() => (session.said('size').at(-1)?.rows ?? 99) < 25, 'smaller grid');
  const places = await page.evaluate(() =>
    [...document.querySelectorAll('header, main, #keys, #keys button')]
      .filter((one) => one.checkVisibility())
      .map((one) => one.getBoundingClientRect())
      .map(({ top, bottom }) => [top, bottom]),
  );
  for (const [top, bottom] of places) assert.ok(top >= 30 && bottom <= 450, `${top} to ${bottom}`);
  await page.waitForFunction(() => document.querySelector('.xterm-rows').innerText.includes('prompt$'));
  const last = await page.locator('.xterm-rows > div', { hasText: 'prompt$' }).boundingBox();
  const bar = await row(page).boundingBox();
  assert.ok(last.y + last.height <= bar.y, 'the prompt is above the row of keys');
  await showKeyboard(page, 740);
  await session.until(() => session.said('size').at(-1).rows > 30, 'larger grid');
});

test('what the page asks or tells is above the keyboard too', async () => {
  const { page, session } = await phone({ can: ['write', 'force', 'power'] });
  await showKeyboard(page, 420);
  session.say({ type: 'error', message: 'this device has no break' });
  await see(page.getByText('this device has no break'));
  await choose(page, 'Machine', 'Reboot…');
  const dialog = await page.getByRole('dialog').boundingBox();
  assert.ok(dialog.y >= 0 && dialog.y + dialog.height <= 420, `${dialog.y} to ${dialog.y + dialog.height}`);
});

test('the header is one row, however long the name is', async () => {
  for (const name of ['web-1', 'production-database-primary-frankfurt-07']) {
    const { page, session } = await phone({ server: { id: 'x', name }, can: ['write', 'force', 'power'] });
    session.say({ type: 'viewers', count: 3, who: ['carol', 'alice', 'bob'].map((user) => ({ session: user, user, mode: 'watch' })) });
    await see(page.getByRole('list', { name: '3 attached' }));
    await see(page.getByText(/^\d+ ms$/));
    const { height } = await page.locator('header').boundingBox();
    assert.ok(height <= 56, `${height} pixels`);
    for (const button of ['Search', 'Copy', 'Paste', 'Share', 'Machine', 'View', 'Keys', 'More']) {
      const box = await page.getByRole('button', { name: button, exact: true }).boundingBox();
      assert.ok(box.width >= 24 && box.height >= 24, `${button}: ${box.width} by ${box.height}`);
      assert.ok(box.x >= 0 && box.x + box.width <= 360, `${button} is inside`);
    }
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    await page.getByRole('heading', { name: `${name} port 0` }).waitFor();
  }
});

test('a watcher has no keys, and a tap brings no keyboard for them', async () => {
  const { page, session } = await phone({ mode: 'watch', can: ['write'] });
  session.pen('held', { holder: 'alice', session: ALICE });
  await see(page.getByText('is typing'));
  assert.equal(await row(page).isVisible(), false);
  await page.locator('.xterm-screen').tap();
  assert.ok(await page.getByLabel('Terminal input').evaluate((field) => field.readOnly));
});

for (const colorScheme of ['light', 'dark']) {
  test(`the row of keys can be read where the system is ${colorScheme}`, async () => {
    const { page } = await phone({}, { colorScheme });
    await key(page, 'Ctrl').tap();
    await key(page, 'Fn').tap();
    assert.deepEqual(await faint(page), []);
  });
}

test('what is pressed in the header brings no keyboard', async () => {
  const { page, session } = await phone();
  await choose(page, 'More', 'Reconnect');
  await at.proxy.admit();
  await choose(page, 'View', 'Larger font');
  await page.keyboard.press('Escape');
  await button(page, 'Copy').tap();
  await see(page.getByText('Nothing is selected.'));
  assert.notEqual(await focused(page), 'Terminal input');
  assert.equal(session.input.length, 0);
});
