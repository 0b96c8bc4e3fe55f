// What the terminal draws: characters that can be seen, colors that can be read, columns as the guest
// counts them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { brightness, see, seeInTerminal } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

for (const deviceScaleFactor of [1, 1.25, 1.5, 2]) {
  test(`an underscore can be seen at ${deviceScaleFactor} device pixels a pixel`, async () => {
    const options = { colorScheme: 'dark', deviceScaleFactor };
    const { page } = await at.attach({ resume: 'k' }, options);
    for (const size of [8, 11, 12, 13, 14, 15, 16, 18, 24]) {
      await page.evaluate((px) => localStorage.setItem('serialproxy.font-size', px), size);
      await page.reload();
      const session = await at.proxy.admit({ resume: 'k' });
      session.print('\x1b[?25l__________\r\nshown');
      await see(page.locator('.xterm-rows').getByText('shown'));
      const row = await page.locator('.xterm-rows > div').first().boundingBox();
      const drawn = await brightness(page, { ...row, width: size * 3 });
      const background = Math.min(...drawn);
      const bright = drawn.filter((pixel) => pixel > background + 60);
      assert.ok(bright.length >= size, `${size} px: ${bright.length} pixels`);
    }
  });
}

/** How far two colors differ for a reader, by WCAG 2: 1 to 21. */
function contrast(one, other) {
  const [low, high] = [one, other].map(luminance).sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

function luminance(color) {
  const [r, g, b] = color.match(/[\d.]+/g).map((part) => {
    const value = Number(part) / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

for (const colorScheme of ['light', 'dark']) {
  test(`inverse text is as easy to read as any other in the ${colorScheme} colors`, async () => {
    const { page, session } = await at.attach({}, { colorScheme });
    const plain = await colorsOf(page, session, 'plain', '');
    const inverse = await colorsOf(page, session, 'inverse', '7');
    assert.deepEqual(inverse, { text: plain.background, background: plain.text });
    const kinds = ['1;7', '7;31', '7;32', '7;34', '7;97', '7;90', '7;44', '7;38;5;18', '34', '38;5;18'];
    for (const sgr of kinds) {
      const { text, background } = await colorsOf(page, session, `sgr ${sgr}`, sgr);
      assert.ok(contrast(text, background) >= 4.4, `SGR ${sgr}: ${text} on ${background}`);
    }
  });
}

/** The colors in which `words` are drawn with these attributes. */
async function colorsOf(page, session, words, sgr) {
  session.print(`\x1b[0;${sgr}m${words}\x1b[0m\r\n`);
  const span = page.locator('.xterm-rows span').filter({ hasText: words.replaceAll(' ', '\xa0') });
  await span.last().waitFor();
  return span.last().evaluate((drawn) => {
    const own = getComputedStyle(drawn);
    const around = getComputedStyle(drawn.closest('.xterm-scrollable-element'));
    const clear = own.backgroundColor === 'rgba(0, 0, 0, 0)';
    return { text: own.color, background: clear ? around.backgroundColor : own.backgroundColor };
  });
}

test('a character takes the columns that the guest counts', async () => {
  const { session } = await at.attach();
  for (const [text, columns] of [
    ['a', 1],
    ['ü', 1],
    ['漢', 2],
    ['😀', 2],
    ['🦀', 2],
    ['✅', 2],
    ['e\u0301', 1],
  ]) {
    session.input = Buffer.alloc(0);
    session.print(`\r\x1b[K${text}\x1b[6n`);
    await session.typed('R');
    const [, column] = /\[\d+;(\d+)R/.exec(session.input.toString());
    assert.equal(Number(column) - 1, columns, text);
  }
});

test('the screen is asked for on the grid of the window, or that of who is typing', async () => {
  const { session } = await at.attach();
  const { rows, cols, grid } = Object.fromEntries(session.grid);
  const message = (await session.hears('size')).at(-1);
  assert.deepEqual({ rows: Number(rows), cols: Number(cols) }, { rows: message.rows, cols: message.cols });
  assert.ok(Number(rows) > 10 && Number(cols) > 40, `${rows} × ${cols}`);
  assert.equal(grid, 'theirs');
});

test('a screen is shown as it was painted, although the strip has taken some of its rows since', async () => {
  const { page, session } = await at.attach({ mode: 'watch' });
  session.pen('free');
  await see(page.getByRole('region', { name: 'Typing', exact: true }));
  const rows = Number(session.grid.get('rows'));
  const painted = Buffer.from(`top${'\r\n'.repeat(rows - 1)}\x1b[2;1Hsecond`);
  session.say({ type: 'replay', kind: 'screen', bytes: painted.length, offset: painted.length });
  session.print(painted);
  const shown = async () => (await page.locator('.xterm-rows > div').allTextContents()).map((row) => row.trimEnd());
  await page.waitForFunction(() => document.querySelector('.xterm-rows').textContent.includes('second'));
  assert.deepEqual((await shown()).slice(0, 2), ['top', 'second']);
  await page.waitForFunction((asked) => document.querySelectorAll('.xterm-rows > div').length < asked, rows);
  assert.equal((await shown())[0], 'top');
});
