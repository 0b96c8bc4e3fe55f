// Fingers on a phone's screen: a swipe scrolls, a long press selects.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see, seeInTerminal } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const PHONE = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true };

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A page on a phone, and a finger: `down`, `move` and `up`. */
async function phone(hello) {
  const { page, session } = await at.attach(hello, PHONE);
  const devtools = await page.context().newCDPSession(page);
  const send = (type, points) =>
    devtools.send('Input.dispatchTouchEvent', { type, touchPoints: points });
  const finger = {
    down: (x, y) => send('touchStart', [{ x, y }]),
    move: (x, y) => send('touchMove', [{ x, y }]),
    up: () => send('touchEnd', []),
    async swipe(x, from, to) {
      await finger.down(x, from);
      for (let step = 1; step <= 10; step += 1) await finger.move(x, from + ((to - from) * step) / 10);
      await pause(100);
      await finger.up();
    },
  };
  return { page, session, finger };
}

/** The first row that is shown. */
const firstRow = (page) => page.locator('.xterm-rows > div').first().innerText();

test('a swipe scrolls back, and forth again', async () => {
  const { page, session, finger } = await phone();
  session.print(Array.from({ length: 200 }, (_, row) => `row ${row}\r\n`).join(''));
  await seeInTerminal(page, 'row 199');
  const before = await firstRow(page);
  await finger.swipe(150, 250, 450);
  await page.waitForFunction(
    (row) => document.querySelector('.xterm-rows > div').innerText !== row,
    before,
  );
  const number = (row) => Number(/\d+/.exec(row)[0]);
  const back = number(await firstRow(page));
  assert.ok(back < number(before) - 5, `${before}, then row ${back}`);
  await finger.swipe(150, 450, 250);
  await page.waitForFunction(
    (row) => Number(/\d+/.exec(document.querySelector('.xterm-rows > div').innerText)[0]) > row,
    back,
  );
  assert.equal(session.input.length, 0);
});

test('a swipe in a full-screen program moves as its wheel does', async () => {
  const { page, session, finger } = await phone();
  session.print('\x1b[?1049hless');
  await seeInTerminal(page, 'less');
  await finger.swipe(150, 250, 450);
  await session.typed('\x1b[A');
  assert.match(session.input.toString(), /^(\x1b\[A)+$/);
});

test('a long press selects a word, moving on selects more, and Copy takes it', async () => {
  const { page, session, finger } = await phone();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  session.print('see /var/log/messages for more\r\nand then that');
  await seeInTerminal(page, 'and then');
  const { x, y } = await page.locator('.xterm-screen').boundingBox();
  const height = (await page.locator('.xterm-rows > div').first().boundingBox()).height;
  // The page says "Copied." of the copy before, too.
  const copies = async (text) => {
    await page.getByRole('button', { name: 'Copy', exact: true }).tap();
    await see(page.getByText('Copied.'));
    await page.waitForFunction(async (wanted) => (await navigator.clipboard.readText()) === wanted, text);
  };
  await finger.down(x + 70, y + 5);
  await pause(700);
  await finger.up();
  await see(page.getByText('Selected. Press Copy to copy it.'));
  await copies('/var/log/messages');
  await finger.down(x + 70, y + 5);
  await pause(700);
  await finger.move(x + 50, y + height + 5);
  await finger.up();
  await copies('/var/log/messages for more\nand then');
  assert.equal(session.input.length, 0);
});

test('a tap is a click still, which brings the keyboard', async () => {
  const { page, session, finger } = await phone();
  await page.getByRole('button', { name: 'More' }).focus();
  await finger.down(150, 300);
  await finger.up();
  await page.waitForFunction(() => document.activeElement.ariaLabel === 'Terminal input');
  await page.keyboard.type('x');
  await session.typed('x');
});
