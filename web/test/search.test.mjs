// Search: in the terminal, the newest first, and in all output that the server keeps.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { faint, see, seeInTerminal } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { stage } from './stage.mjs';

const at = stage();

const DESKTOP = { viewport: { width: 1280, height: 800 } };

const bar = (page) => page.getByRole('search');
const button = (page, name) => bar(page).getByRole('button', { name, exact: true });
const counts = (page, text) => bar(page).getByRole('status').getByText(text, { exact: true }).waitFor();
const kept = (page) => page.getByRole('region', { name: 'All that the server keeps' });
const hits = (page) => kept(page).getByRole('button');
const found = (page) => page.locator('.found');

/** Opens the page and the search bar over these lines, and searches for `text`. */
async function searched(lines, text, options = DESKTOP) {
  const { page, session } = await at.attach({ resume: 'the-key' }, options);
  session.print(lines.join('\r\n'));
  await seeInTerminal(page, lines.at(-1).trimEnd());
  await page.getByRole('button', { name: 'Search', exact: true }).click();
  await page.getByLabel('Search for').fill(text);
  return { page, session };
}

test('the newest match comes first, and Older and Newer go on from it', async () => {
  const lines = Array.from({ length: 300 }, (_, line) => (line % 100 === 0 ? `error ${line}` : `line ${line}`));
  const { page } = await searched(lines, 'error');
  await counts(page, '1 of 3');
  const shows = (text) => see(page.locator('.xterm-rows').getByText(text, { exact: true }));
  await shows('error 200');
  await button(page, 'Older').click();
  await counts(page, '2 of 3');
  await shows('error 100');
  await page.getByLabel('Search for').press('Enter');
  await shows('error 0');
  await page.getByLabel('Search for').press('Shift+Enter');
  await counts(page, '2 of 3');
  await button(page, 'Newer').click();
  await button(page, 'Newer').click();
  await counts(page, '3 of 3');
});

test('case and regular expressions count where that is wanted', async () => {
  const { page } = await searched(['Error 12', 'error 7', 'ERROR x', 'a.b', 'axb'], 'error');
  await counts(page, '1 of 3');
  await button(page, 'Match case').click();
  await counts(page, '1 of 1');
  await button(page, 'Match case').click();
  await button(page, 'Regular expression').click();
  await page.getByLabel('Search for').fill('error \\d+$');
  await counts(page, '1 of 2');
  await page.getByLabel('Search for').fill('error (');
  await counts(page, 'not a regular expression');
  await page.getByLabel('Search for').fill('x*');
  await counts(page, '1 of 2');
  await button(page, 'Regular expression').click();
  await page.getByLabel('Search for').fill('a.b');
  await counts(page, '1 of 1');
});

for (const colorScheme of ['light', 'dark']) {
  test(`the match that is looked at stands out from the others, ${colorScheme}`, async () => {
    const { page } = await searched(['error one', 'error two'], 'error', { ...DESKTOP, colorScheme });
    await see(found(page));
    assert.equal(await found(page).count(), 1);
    const ring = await found(page).evaluate((mark) => getComputedStyle(mark).outlineStyle);
    assert.equal(ring, 'solid');
    const cells = page.locator('.xterm-rows span[style*=background]');
    await cells.nth(9).waitFor();
    const colors = await cells.evaluateAll((all) => all.map((cell) => getComputedStyle(cell).backgroundColor));
    assert.equal(new Set(colors).size, 2, colors.join(' '));
    assert.deepEqual(await faint(page), []);
  });
}

test('a match is where it is said to be, after wide and combining characters and over rows', async () => {
  const wide = `漢字e\u0301 error`;
  const { page } = await searched([wide, `${'x'.repeat(140)}error in two rows`], 'error');
  await counts(page, '1 of 2');
  await page.getByLabel('Search for').press('Enter');
  await counts(page, '2 of 2');
  await page.waitForFunction(() => /window \d+/.test(document.querySelector('#sizes').textContent));
  const cell = await page.evaluate(() => {
    const screen = document.querySelector('.xterm-screen').getBoundingClientRect();
    return [screen.left, screen.width / /window (\d+)/.exec(document.querySelector('#sizes').textContent)[1]];
  });
  const isAt = async (first, length) => {
    await page.waitForFunction((wide) => document.querySelector('.found')?.clientWidth > wide, (length - 0.5) * cell[1]);
    const box = await found(page).boundingBox();
    const cells = [box.x - cell[0], box.width].map((pixels) => Math.round(pixels / cell[1]));
    assert.deepEqual(cells, [first, length]);
  };
  await isAt(6, 5);
  await page.getByLabel('Search for').fill('字e\u0301 error');
  await isAt(2, 9);
  await page.getByLabel('Search for').fill('error');
  await counts(page, '1 of 2');
  await page.getByLabel('Search for').press('Enter');
  await counts(page, '2 of 2');
  await page.getByLabel('Search for').press('Enter');
  await see(found(page));
  // The rest of the word is on the next row, if the window is so narrow.
  await page.setViewportSize({ width: 700, height: 600 });
  await counts(page, '1 of 2');
});

test('what is found stays marked while more is printed, and is selected when the bar closes', async () => {
  const { page, session } = await searched(['error one', 'error two'], 'error o');
  await counts(page, '1 of 1');
  session.print('\r\nerror other\r\n');
  await counts(page, '2 of 2');
  await page.getByLabel('Search for').press('Escape');
  await bar(page).waitFor({ state: 'hidden' });
  assert.equal(await found(page).count(), 0);
  await see(page.locator('.xterm-selection div'));
  await page.keyboard.press('Control+Shift+C');
  await see(page.getByText('Copied.'));
});

/** Serves a history of these lines, in two pieces. */
async function keep(page, lines, { offset = 0 } = {}) {
  const bytes = Buffer.from(lines.join('\r\n'));
  const half = Math.floor(bytes.length / 2);
  const asked = [];
  await page.route(/\/history\?from=/, async (route) => {
    const from = Number(new URL(route.request().url()).searchParams.get('from'));
    asked.push(from);
    const start = Math.max(0, from - offset);
    const body = bytes.subarray(start, start < half ? half : bytes.length);
    await route.fulfill({
      body,
      headers: {
        'x-console-offset': `${offset + start}`,
        'x-console-next': `${offset + start + body.length}`,
        'x-console-end': `${offset + bytes.length}`,
      },
    });
  });
  return asked;
}

for (const options of [DESKTOP, PHONE]) {
  test(`what has scrolled away is found in all that the server keeps, ${options.viewport.width} px`, async () => {
    const { page } = await searched(['now: error 9', 'now: error 10'], 'error', options);
    const old = Array.from({ length: 99 }, (_, line) => `\x1b[31mold\x1b[0m ${line}`);
    await keep(page, [...old, 'then: error 1 naïve', ...old, 'now: error 9', 'now: error 10']);
    await button(page, 'All that is kept').click();
    await see(kept(page).getByText('Found in 3 lines of the output that the server keeps.'));
    assert.deepEqual(await hits(page).allInnerTexts(), ['now: error 10', 'now: error 9', 'then: error 1 naïve']);
    assert.deepEqual(await hits(page).locator('mark').allInnerTexts(), ['error', 'error', 'error']);
    assert.deepEqual(await faint(page), []);
    await hits(page).nth(1).click();
    await counts(page, '2 of 2');
    await hits(page).nth(2).click();
    const around = page.getByRole('dialog', { name: 'No longer in the terminal' });
    await see(around.locator('mark').getByText('error'));
    const text = await around.getByLabel('Output').innerText();
    assert.match(text, /old 98\nthen: error 1 naïve\nold 0\n/);
    assert.doesNotMatch(text, /\x1b/);
    assert.deepEqual(await faint(page), []);
    await page.keyboard.press('Escape');
    await page.getByLabel('Search for').fill('old 42');
    await see(kept(page).getByText('Found in 2 lines of the output that the server keeps.'));
    await page.getByLabel('Search for').fill('nowhere');
    await see(kept(page).getByText('Not found in the output that the server keeps.'));
    await page.getByLabel('Search for').press('Escape');
    await kept(page).waitFor({ state: 'hidden' });
  });
}

test('of a line of megabytes, the page shows what is around the match', async () => {
  const { page } = await searched(['nothing'], 'needle');
  const long = 'x'.repeat(1_000_000);
  await keep(page, [long, `${long}needle${long}`, long]);
  await button(page, 'All that is kept').click();
  await see(kept(page).getByText('Found in 1 line'));
  assert.ok((await hits(page).innerText()).length < 500);
  await hits(page).click();
  const text = await page.getByRole('dialog').getByLabel('Output').textContent();
  assert.match(text, /…x{1000}needlex{994}…/);
  assert.ok(text.length < 10_000, `${text.length} characters`);
});

test('of equal lines, each hit leads to its own', async () => {
  const { page } = await searched(['same error', 'between', 'same error', 'same error'], 'error');
  await keep(page, ['same error', 'same error', 'between', 'same error', 'same error']);
  await button(page, 'All that is kept').click();
  await see(kept(page).getByText('4 lines'));
  await hits(page).nth(2).click();
  await counts(page, '3 of 3');
  await hits(page).nth(3).click();
  await see(page.getByRole('dialog', { name: 'No longer in the terminal' }));
});

test('of very much output, only the newest is downloaded and searched, and that is said', async () => {
  const { page } = await searched(['error'], 'error');
  const asked = [];
  const end = 100 * 1024 * 1024;
  await page.route(/\/history\?from=/, async (route) => {
    const from = Number(new URL(route.request().url()).searchParams.get('from'));
    asked.push(from);
    const body = from === 0 ? 'old error' : 'new error';
    const next = from === 0 ? body.length : end;
    const headers = { 'x-console-offset': `${from}`, 'x-console-next': `${next}`, 'x-console-end': `${end}` };
    await route.fulfill({ body, headers });
  });
  await button(page, 'All that is kept').click();
  await see(kept(page).getByText('only the newest 32 MiB are searched'));
  assert.deepEqual(asked, [0, end - 32 * 1024 * 1024]);
  assert.deepEqual(await hits(page).allInnerTexts(), ['new error']);
});

test('where the server refuses the history, that is said', async () => {
  const { page } = await searched(['error'], 'error');
  await page.route(/\/history\?from=/, (route) => route.fulfill({ status: 404, body: 'unknown session\n' }));
  await button(page, 'All that is kept').click();
  await see(kept(page).getByText('It could not be loaded: unknown session'));
  page.faults.splice(0);
});
