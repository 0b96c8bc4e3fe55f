// Fingers on a phone's screen: a swipe scrolls and rolls on, two fingers change the font, a long press selects.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, faint, see, seeInTerminal } from './browser.mjs';
import { PHONE, fingerOf } from './phone.mjs';
import { stage } from './stage.mjs';

const at = stage();

const button = (page, name) => page.getByRole('button', { name, exact: true });
const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const ALICE = 'a11ce000-0000-4000-8000-000000000000';

/** A page on a phone, and its fingers. */
async function phone(hello, options = {}) {
  const { page, session } = await at.attach(hello, { ...PHONE, ...options });
  await page.getByLabel('Terminal input').blur();
  return { page, session, finger: await fingerOf(page) };
}

/** A phone whose terminal shows the end of 2000 rows, each with its number. */
async function scrolled(options) {
  const { page, session, finger } = await phone({ resume: 'k' }, options);
  session.print(Array.from({ length: 2000 }, (_, row) => `row ${row} of many\r\n`).join(''));
  await seeInTerminal(page, 'row 1999');
  await page.waitForFunction(() => document.querySelector('.xterm-rows').innerText.includes('row 1999'));
  return { page, session, finger, first: await firstRow(page) };
}

/** The number of the first row that is shown. */
const firstRow = (page) =>
  page.evaluate(() => Number(/\d+/.exec(document.querySelector('.xterm-rows > div').innerText)?.[0]));

/** Waits until the first row's number satisfies a comparison with another. */
function rowComes(page, how, row) {
  return page.waitForFunction(
    ([how, row]) => {
      const first = Number(/\d+/.exec(document.querySelector('.xterm-rows > div').innerText)?.[0]);
      return how === 'below' ? first < row : first > row;
    },
    [how, row],
  );
}

/** So many frames later. */
const frames = (page, count) =>
  page.evaluate(async (left) => {
    for (; left > 0; left -= 1) await new Promise(requestAnimationFrame);
  }, count);

test('a swipe scrolls back, and forth again', async () => {
  // What rolls on would move the rows between two looks at them.
  const { page, session, finger, first } = await scrolled({ reducedMotion: 'reduce' });
  await finger.drag(150, 250, 450);
  await finger.up();
  await rowComes(page, 'below', first - 5);
  const back = await firstRow(page);
  await finger.drag(150, 450, 250);
  await finger.up();
  await rowComes(page, 'above', back);
  assert.equal(session.input.length, 0);
});

test('what is swiped fast rolls on, until a finger stops it, which is no tap', async () => {
  const { page, finger } = await scrolled();
  await finger.fling(150, 200, 500);
  const lifted = await firstRow(page);
  await rowComes(page, 'below', lifted - 10);
  await finger.down(150, 300);
  // The rows of the last step are drawn with the next frame.
  await frames(page, 2);
  const stopped = await firstRow(page);
  await frames(page, 5);
  assert.equal(await firstRow(page), stopped);
  await finger.up();
  await frames(page, 5);
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), null);
});

test('where motion is to be reduced nothing rolls on', async () => {
  const { page, finger } = await scrolled({ reducedMotion: 'reduce' });
  await finger.fling(150, 200, 500);
  await frames(page, 2);
  const lifted = await firstRow(page);
  await frames(page, 10);
  assert.equal(await firstRow(page), lifted);
});

test('a finger that rests before it is lifted lets nothing roll on', async () => {
  const { page, finger } = await scrolled();
  await finger.drag(150, 250, 450);
  await frames(page, 12);
  await finger.move(150, 450);
  await finger.up();
  await frames(page, 2);
  const lifted = await firstRow(page);
  await frames(page, 10);
  assert.equal(await firstRow(page), lifted);
});

test('a swipe in a full-screen program moves as its wheel does', async () => {
  const { page, session, finger } = await phone();
  session.print('\x1b[?1049hless');
  await seeInTerminal(page, 'less');
  await finger.drag(150, 250, 450);
  await finger.up();
  await session.typed('\x1b[A');
  assert.match(session.input.toString(), /^(\x1b\[A)+$/);
});

const fontSize = (page) =>
  page.locator('.xterm-rows').evaluate((rows) => Number.parseFloat(getComputedStyle(rows).fontSize));

test('two fingers change the size of the font, and it is kept', async () => {
  const { page, finger } = await scrolled();
  const before = await fontSize(page);
  await finger.pinch([150, 300], 50, 100);
  await page.waitForFunction(
    (size) => Number.parseFloat(getComputedStyle(document.querySelector('.xterm-rows')).fontSize) >= size,
    before * 1.8,
  );
  const large = await fontSize(page);
  await page.reload();
  await at.proxy.admit({ resume: 'l' });
  await page.locator('.xterm-rows').waitFor();
  assert.equal(await fontSize(page), large);
  await finger.pinch([150, 300], 100, 30);
  await page.waitForFunction(
    (size) => Number.parseFloat(getComputedStyle(document.querySelector('.xterm-rows')).fontSize) < size,
    before,
  );
});

test('buttons change the size of the font', async () => {
  const { page } = await scrolled();
  const before = await fontSize(page);
  await choose(page, 'View', 'Larger font');
  assert.equal(await fontSize(page), before + 1);
});

test("two fingers enlarge another's grid, which else fits the window, and one moves over it", async () => {
  const { page, session, finger } = await phone({ mode: 'watch', can: ['write'] });
  session.pen('held', { holder: 'alice', session: ALICE });
  session.say({ type: 'size', rows: 24, cols: 80 });
  session.print('left'.padEnd(76) + 'right');
  await seeInTerminal(page, 'right');
  const screen = page.locator('#screen');
  const overflow = () => screen.evaluate((one) => one.scrollWidth - one.clientWidth);
  assert.ok((await overflow()) <= 0);
  await finger.pinch([150, 300], 50, 120);
  await page.waitForFunction(() => {
    const { scrollWidth, clientWidth } = document.querySelector('#screen');
    return scrollWidth > clientWidth + 100;
  });
  await finger.slide(300, 300, 100);
  assert.ok((await screen.evaluate((one) => one.scrollLeft)) > 50);
});

/** Where the cell of a row and a column is. */
async function cell(page, row, column) {
  const { x, y } = await page.locator('.xterm-screen').boundingBox();
  const { height } = await page.locator('.xterm-rows > div').first().boundingBox();
  return { x: x + column * 7.2 + 3, y: y + (row + 0.5) * height };
}

/** What the clipboard is to hold. */
const copied = (page, text) =>
  page.waitForFunction(async (wanted) => (await navigator.clipboard.readText()) === wanted, text);

const CLIPBOARD = { permissions: ['clipboard-read', 'clipboard-write'] };

test('a long press selects a word, moving on selects more, and Copy takes it', async () => {
  const { page, session, finger } = await phone({}, CLIPBOARD);
  session.print('see /var/log/messages for more\r\nand then that');
  await seeInTerminal(page, 'and then');
  const bar = page.getByRole('toolbar', { name: 'Selection' });
  const path = await cell(page, 0, 8);
  await finger.press(path.x, path.y);
  await finger.up();
  await see(bar);
  await bar.getByRole('button', { name: 'Copy' }).tap();
  await copied(page, '/var/log/messages');
  await bar.waitFor({ state: 'hidden' });
  await finger.press(path.x, path.y);
  const then = await cell(page, 1, 6);
  await finger.move(then.x, then.y);
  await finger.up();
  await bar.getByRole('button', { name: 'Copy' }).tap();
  await copied(page, '/var/log/messages for more\nand then');
  assert.equal(session.input.length, 0);
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), null, 'no keyboard');
});

test('a selection at the edge goes on beyond the screen', async () => {
  const { page, finger, first } = await scrolled(CLIPBOARD);
  const { x, y } = await cell(page, 3, 1);
  await finger.press(x, y);
  const { y: top } = await page.locator('#screen').boundingBox();
  await finger.move(x, top + 3);
  await rowComes(page, 'below', first - 20);
  await finger.up();
  await button(page, 'Copy').last().tap();
  await page.waitForFunction(async () => (await navigator.clipboard.readText()).split('\n').length > 20);
  const text = await page.evaluate(() => navigator.clipboard.readText());
  const numbers = text.split('\n').map((row) => Number(/\d+/.exec(row)?.[0]));
  // Of the last row, the word of the long press alone.
  assert.ok(Number.isNaN(numbers.pop()));
  for (const [at, number] of numbers.entries()) assert.equal(number, numbers[0] + at);
});

test('what does not fit the screen is selected in a sheet of text', async () => {
  const { page, finger } = await scrolled(CLIPBOARD);
  const { x, y } = await cell(page, 2, 1);
  await finger.press(x, y);
  await finger.up();
  await button(page, 'Select more…').tap();
  const sheet = page.getByRole('dialog', { name: 'Text of the terminal' });
  await see(sheet);
  assert.equal(await page.evaluate(() => String(getSelection())), 'row');
  const text = sheet.locator('pre');
  assert.match(await text.innerText(), /^row 0 of many\nrow 1 of many\n/);
  // A handle of the selection is dragged by the system, and not by the page.
  await text.evaluate((pre) => getSelection().selectAllChildren(pre.lastChild));
  await sheet.getByRole('button', { name: 'Copy selection' }).tap();
  await page.waitForFunction(async () => /^row \d+ of many\n[^]*row 1999 of many$/.test(await navigator.clipboard.readText()));
  await sheet.waitFor({ state: 'hidden' });
  await choose(page, 'More', 'Select text…');
  await sheet.evaluate(() => getSelection().removeAllRanges());
  await sheet.getByRole('button', { name: 'Copy selection' }).tap();
  await see(sheet.getByRole('status').getByText('Nothing is selected.'));
  await sheet.getByRole('button', { name: 'Copy all' }).tap();
  await page.waitForFunction(async () => (await navigator.clipboard.readText()).split('\n').length === 2000);
});

for (const colorScheme of ['light', 'dark']) {
  test(`the selection's bar and the sheet can be read where the system is ${colorScheme}`, async () => {
    const { page, finger } = await scrolled({ colorScheme });
    const { x, y } = await cell(page, 2, 1);
    await finger.press(x, y);
    await finger.up();
    await see(button(page, 'Select more…'));
    assert.deepEqual(await faint(page), []);
    await button(page, 'Select more…').tap();
    await see(page.getByRole('dialog'));
    assert.deepEqual(await faint(page), []);
  });
}

test('Copy screen copies the rows that are shown, wrapped ones as one', async () => {
  const { page, session, finger } = await phone({}, CLIPBOARD);
  session.print(Array.from({ length: 200 }, (_, row) => `row ${row}\r\n`).join(''));
  const long = 'long '.repeat(20).trim();
  session.print(`${long}\r\nend`);
  await seeInTerminal(page, 'end');
  await choose(page, 'More', 'Copy screen');
  await page.waitForFunction(async () => (await navigator.clipboard.readText()).endsWith('end'));
  const rows = (await page.evaluate(() => navigator.clipboard.readText())).split('\n');
  assert.equal(rows.at(-2), long);
  assert.ok(rows.length > 10 && rows.length < 60, `${rows.length} rows`);
  await finger.drag(150, 250, 450);
  await finger.up();
  await rowComes(page, 'above', 0);
  await choose(page, 'More', 'Copy screen');
  await page.waitForFunction(async () => !(await navigator.clipboard.readText()).endsWith('end'));
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'More', 'no keyboard');
});

test('a tap is a click still, which brings the keyboard', async () => {
  const { page, session, finger } = await phone();
  await finger.tap(150, 300);
  await page.waitForFunction(() => document.activeElement.ariaLabel === 'Terminal input');
  await page.keyboard.type('x');
  await session.typed('x');
});

test('a tap is a click of the mouse for a program that asks for it', async () => {
  const { page, session, finger } = await phone();
  session.print('\x1b[?1000h\x1b[?1006hready');
  await seeInTerminal(page, 'ready');
  await finger.tap(150, 300);
  await session.until(() => /\x1b\[<0;\d+;\d+M\x1b\[<0;\d+;\d+m/.test(session.input.toString()), 'a click');
});

test('neither a swipe at the end nor Back loses the session', async () => {
  const { page, session } = await phone({ resume: 'k' });
  session.print('before');
  await seeInTerminal(page, 'before');
  const kept = await page.evaluate(() => getComputedStyle(document.documentElement).overscrollBehavior);
  assert.equal(kept, 'none');
  const address = page.url();
  await page.goto('about:blank');
  await page.goBack();
  const next = await at.proxy.attempt();
  assert.equal(next.query.get('resume'), 'k');
  next.hello({ resume: 'l' });
  await see(status(page, 'you are typing'));
  assert.equal(page.url(), address);
});
