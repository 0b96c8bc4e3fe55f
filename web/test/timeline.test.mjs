// The timeline: boots and what else stands out have their marks, the way from boot to boot, arrival times, and older
// output. A line without boots has nothing of boots.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see, seeInTerminal, terminalText } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const boots = (page) => page.getByRole('navigation', { name: 'Boots' });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const rows = (name, count) => Array.from({ length: count }, (_, row) => `${name} row ${row}\r\n`).join('');

/** Today at this time, UTC. */
const today = (time) => `${new Date().toISOString().slice(0, 11)}${time}.120Z`;

/** The first row in the window. */
const top = (page) => page.locator('.xterm-rows > div').first().textContent();

/** A session of a guest's third boot, which the proxy knows. */
async function thirdBoot(hello = {}, options = {}) {
  at.proxy.boots = {
    first: 0,
    boots: [
      { epoch: 2, offset: 0, time: '2026-11-28T23:10:00.000Z', reason: 'started' },
      { epoch: 3, offset: 5000, time: today('04:58:00'), reason: 'rebooted', kernel: '6.1.0-37-amd64' },
    ],
  };
  return at.attach({ epoch: 3, epoch_offset: 5000, offset: 9000, ...hello }, options);
}

/** A painted screen, with the boots in it. */
function paint(session, parts, from = 0) {
  let bytes = 0;
  const places = [];
  for (const part of parts) {
    if (typeof part === 'number') places.push({ epoch: part, at: bytes });
    else bytes += Buffer.byteLength(part);
  }
  session.say({ type: 'replay', kind: 'screen', bytes, offset: 9000, from, boots: places });
  session.print(parts.filter((part) => typeof part === 'string').join(''));
}

test('after a reload, each boot begins below its own line, and one jumps between them', async () => {
  const { page, session } = await thirdBoot();
  paint(session, [2, rows('second', 100), 3, rows('third', 100), 'web-1 login: ']);
  await seeInTerminal(page, 'web-1 login:');
  const text = await terminalText(page);
  assert.match(text, /── web-1 started, boot 2 ──\nsecond row 0\n/);
  assert.match(text, /second row 99\n+── web-1 started, boot 3 ──\nthird row 0\n/);
  await see(boots(page).getByText('Boot 3 · today 04:58', { exact: true }));
  assert.match(await boots(page).getByText('Boot 3').getAttribute('title'), /04:58:00, Linux 6\.1\.0-37-amd64$/);
  await button(page, 'Previous boot').click();
  await page.waitForFunction(() => document.querySelector('.xterm-rows > div').textContent.includes('boot 3'));
  await button(page, 'Previous boot').click();
  await see(boots(page).getByText('Boot 2 · 28 Nov, 23:10', { exact: true }));
  assert.match(await top(page), /web-1 started, boot 2/);
  assert.ok(await button(page, 'Previous boot').isDisabled());
  await button(page, 'Next boot').click();
  await see(boots(page).getByText('Boot 3 · today 04:58', { exact: true }));
  await button(page, 'Next boot').click();
  await page.waitForFunction(() => document.querySelector('#next-boot').disabled);
});

test('a boot while one watches has its line, its number and its time', async () => {
  const { page, session } = await at.attach({ epoch: 1 });
  session.print('before\r\n');
  await seeInTerminal(page, 'before');
  await see(boots(page).getByText('Boot 1', { exact: true }));
  at.proxy.boots = { first: 0, boots: [{ epoch: 2, offset: 8, time: today('05:00:00'), reason: 'rebooted' }] };
  session.say({ type: 'epoch', epoch: 2, offset: 8 });
  session.print('SeaBIOS');
  await seeInTerminal(page, '── web-1 started, boot 2 ──\nSeaBIOS');
  await see(boots(page).getByText('Boot 2 · today 05:00', { exact: true }));
});

test('a line without boots has none of this', async () => {
  const { page, session } = await at.attach({ epoch: 0 });
  session.print('switch login: Kernel panic - not syncing\r\n');
  await seeInTerminal(page, 'panic');
  assert.ok(await boots(page).isHidden());
  assert.deepEqual(await ticks(page), []);
});

/** The colors in the scroll bar, from the top. */
function ticks(page) {
  return page.evaluate(async () => {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const canvas = document.querySelector('.xterm-decoration-overview-ruler');
    if (!canvas || canvas.width === 0) return [];
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    const colors = [];
    for (let y = 0; y < height; y += 1) {
      const at = 4 * (y * width + 4);
      const [red, green, blue, alpha] = data.slice(at, at + 4);
      const color = `${red},${green},${blue}`;
      if (alpha > 200 && colors.at(-1) !== color) colors.push(color);
      if (alpha === 0 && colors.at(-1) !== undefined) colors.push(undefined);
    }
    return colors.filter(Boolean);
  });
}

for (const colorScheme of ['light', 'dark']) {
  test(`boots, panics and login prompts have their colors in the scroll bar (${colorScheme})`, async () => {
    const { page, session } = await thirdBoot({}, { colorScheme });
    const panic = '[    1.2] \x1b[31mKernel \x1b[1mpanic - not syncing: VFS\x1b[0m\r\n';
    const parts = [2, rows('second', 100), panic, rows('more', 100), 3, rows('third', 100), 'web-1 lo', 'gin: '];
    paint(session, parts);
    session.print(rows('live', 100));
    await seeInTerminal(page, 'live row 99');
    const colors = {
      light: ['47,122,53', '179,49,42', '47,122,53', '31,95,191'],
      dark: ['143,191,127', '229,120,109', '143,191,127', '120,169,224'],
    };
    assert.deepEqual(await ticks(page), colors[colorScheme]);
  });
}

test('the last panic and the last login prompt are found by name', async () => {
  const { page, session } = await thirdBoot();
  paint(session, [3, rows('third', 50), 'Kernel panic - not syncing: VFS\r\n', rows('more', 100), 'Last login: Mon\r\n']);
  await seeInTerminal(page, 'Last login');
  await button(page, 'More').click();
  const item = page.getByRole('menuitem', { name: 'Last login prompt' });
  assert.match(await item.textContent(), /the terminal shows none$/);
  await page.getByRole('menuitem', { name: 'Last kernel panic' }).click();
  await page.waitForFunction(() => document.querySelector('.xterm-rows').textContent.includes('Kernel panic'));
});

test('who scrolled up sees how much is new, and gets to the end', async () => {
  const { page, session } = await at.attach();
  session.print(rows('old', 200));
  await seeInTerminal(page, 'old row 199');
  await page.locator('#screen').hover();
  await page.mouse.wheel(0, -1000);
  await see(button(page, '↓ To the end'));
  session.print(rows('new', 214));
  await see(button(page, '↓ 214 new lines'));
  await button(page, '↓ 214 new lines').click();
  await button(page, '↓ 214 new lines').waitFor({ state: 'hidden' });
  assert.ok((await page.locator('.xterm-rows').textContent()).includes('new row 213'));
});

/** Turns the wheel until the terminal holds this; a turn is some rows. */
async function scrollUpTo(page, text) {
  await page.locator('#screen').hover();
  for (let turn = 0; turn < 500 && !(await terminalText(page)).includes(text); turn += 1) {
    await page.mouse.wheel(0, -100);
  }
}

/** What the proxy keeps: `older` from 0 on, a gap, `newer`, which ends at 9000, and `live`. */
function keep(older, painted, live = '') {
  const begin = 9000 - painted.length;
  const newer = painted + live;
  const end = begin + newer.length;
  at.proxy.end = end;
  at.proxy.history = (from) => {
    if (from < older.length) return { offset: from, bytes: older.slice(from), end };
    return { offset: Math.max(from, begin), bytes: newer.slice(Math.max(0, from - begin)), end };
  };
  return begin;
}

test('scrolling past the top loads what the server still keeps, says where a gap is, and stays where one is', async () => {
  const { page, session } = await thirdBoot({ resume: 'key' });
  const newer = rows('third', 100);
  const begin = keep(rows('second', 100), newer, 'live');
  at.proxy.boots.boots[1].offset = begin;
  session.say({ type: 'boots', ...at.proxy.boots });
  paint(session, [3, newer], begin);
  session.print('live');
  await seeInTerminal(page, 'live');
  await scrollUpTo(page, 'second row 0');
  // It is filled in slices.
  await page.locator('#terminal:not([data-filling])').waitFor();
  const text = await terminalText(page);
  assert.match(text, /boot 2 ──\nsecond row 0\n[^]*second row 99\n+\[… \d\.\d kB of output skipped: it is no longer kept …\]\n/);
  assert.match(text, /boot 3 ──\nthird row 0\n[^]*third row 99\nlive$/);
  await page.waitForFunction(() => document.querySelector('.xterm-rows').textContent.includes('third row 0'));
  session.print(' goes on');
  await seeInTerminal(page, 'live goes on');
  assert.equal((await terminalText(page)).split('third row 50\n').length, 2, 'each row is there once');
});

test('the way back leads to a boot that the terminal does not hold, and the server does', async () => {
  const { page, session } = await thirdBoot({ resume: 'key' });
  const newer = rows('third', 100);
  const begin = keep(rows('second', 100), newer);
  at.proxy.boots.boots[1].offset = begin;
  session.say({ type: 'boots', ...at.proxy.boots });
  paint(session, [3, newer], begin);
  await seeInTerminal(page, 'third row 99');
  await button(page, 'Previous boot').click();
  await page.waitForFunction(() => document.querySelector('.xterm-rows > div').textContent.includes('boot 3'));
  await button(page, 'Previous boot').click();
  await page.waitForFunction(() => document.querySelector('.xterm-rows > div').textContent.includes('boot 2'));
  await see(boots(page).getByText('Boot 2 · 28 Nov, 23:10', { exact: true }));
});

test('arrival times stand beside the rows, also of what was painted, and are kept for the next visit', async () => {
  const { page, session } = await thirdBoot({ resume: 'key' });
  const newer = rows('third', 5);
  const begin = keep('', newer);
  at.proxy.boots.boots = [{ epoch: 3, offset: begin, time: today('04:58:00'), reason: 'started' }];
  session.say({ type: 'boots', ...at.proxy.boots });
  at.proxy.times = [
    { offset: begin, time: today('04:58:01') },
    { offset: begin + 2 * 'third row 0\r\n'.length, time: today('04:58:02') },
  ];
  paint(session, [3, newer], begin);
  await seeInTerminal(page, 'third row 4');
  await button(page, 'View').click();
  await page.getByRole('menuitemcheckbox', { name: 'Arrival times' }).click();
  await page.keyboard.press('Escape');
  const times = page.getByRole('list', { name: 'Arrival times' });
  await see(times.getByText('04:58:02.12'));
  const shown = async () => (await times.getByRole('listitem').allTextContents()).filter(Boolean);
  const [first, second] = ['04:58:01.12', '04:58:02.12'];
  assert.deepEqual(await shown(), [first, first, second, second, second]);
  at.proxy.end = Infinity;
  at.proxy.times.push({ offset: 9000, time: today('05:00:00') });
  session.print('live\r\nlive too');
  await see(times.getByText('05:00:00.12'));
  at.proxy.times.pop();
  at.proxy.end = 9000;
  await page.reload();
  const next = await at.proxy.admit({ epoch: 3, epoch_offset: begin, offset: 9000, resume: 'l' });
  paint(next, [3, newer], begin);
  await see(times.getByText('04:58:02.12'));
  assert.deepEqual(await shown(), [first, first, second, second, second]);
});
