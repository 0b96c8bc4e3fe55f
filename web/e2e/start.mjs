// From the URL of a console to its prompt on the screen: at the first visit, and when the browser has
// the page's files.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Guest, consoleUrl, stage } from './story.mjs';

/** Milliseconds from the start of the navigation to the frame that shows the prompt. */
const WARM = 300;

/** How many visits are measured. */
const VISITS = 7;

const PROMPT = 'root@switch:~#';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
  guest.print(`\x1b[2J\x1b[Hlogin: root\r\n\x1b[1;32m${PROMPT}\x1b[0m `);
});
after(() => guest.leave());

/** Runs in the page before it: notes when the prompt was painted, counted from the navigation. */
function watch(prompt) {
  const look = () => {
    const rows = document.querySelector('.xterm-rows')?.textContent ?? '';
    if (!rows.replaceAll('\xa0', ' ').includes(prompt)) return requestAnimationFrame(look);
    // The next frame begins when this one was painted.
    requestAnimationFrame(() => (window.painted = performance.now()));
  };
  requestAnimationFrame(look);
}

/** Visits a console with a fresh URL; gives when the prompt was painted, and what was transferred. */
async function visit(page) {
  await page.goto(await consoleUrl('alice', '?mode=watch'));
  const found = await page.waitForFunction(() => window.painted);
  const painted = Math.round(await found.jsonValue());
  const transferred = await page.evaluate(() =>
    performance.getEntriesByType('resource').reduce((sum, file) => sum + file.transferSize, 0),
  );
  return { painted, transferred };
}

test('the prompt is on the screen 300 ms after the URL, once the browser has the files', async (t) => {
  const cold = [];
  const warm = [];
  for (let n = 0; n < VISITS; n += 1) {
    const page = await at.blank();
    await page.addInitScript(watch, PROMPT);
    cold.push(await visit(page));
    warm.push(await visit(page));
  }
  const [first, next] = [cold, warm].map((visits) => visits.map(({ painted }) => painted));
  t.diagnostic(`prompt after ${first} ms at the first visit, after ${next} ms at the next`);
  t.diagnostic(`${cold[0].transferred} bytes, then ${warm[0].transferred}`);
  // What else the machine does only adds to it.
  assert.ok(Math.min(...next) < WARM, `the prompt came after ${next} ms`);
  assert.ok(warm.every(({ transferred }) => transferred < 1024), 'the files are kept');
});
