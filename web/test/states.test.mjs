// What has to hold in every state of the pages, in each window and color scheme: no finding of axe-core, and nothing
// reaches beyond the window. And how far the pages can be enlarged.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { launch } from './browser.mjs';
import { CONSOLE, SCHEMES, SERVERS, WINDOWS, show } from './states.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** What axe-core finds against WCAG 2.2 AA and good practice, in short; of some rules or all. */
async function findings(page, rules) {
  await page.evaluate(axe);
  return page.evaluate(async (rules) => {
    const { violations } = await window.axe.run({ resultTypes: ['violations'], ...(rules && { runOnly: rules }) });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, any }) => `${id}: ${target} ${any[0]?.message ?? ''}`));
  }, rules);
}

/** How far the page reaches beyond the window, in pixels. */
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

for (const state of [...Object.keys(CONSOLE), ...Object.keys(SERVERS)]) {
  test(`${state}: axe-core finds nothing, and nothing reaches beyond the window`, async (t) => {
    for (const [window, options] of Object.entries(WINDOWS)) {
      const { page, close } = await show(browser, state, { ...options, reducedMotion: 'reduce' });
      t.after(close);
      // Of the second one, the colors alone are new.
      for (const [colorScheme, rules] of [[SCHEMES[0]], [SCHEMES[1], ['color-contrast']]]) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await findings(page, rules), [], `${window}, ${colorScheme}`);
      }
      assert.ok((await overflow(page)) <= 0, window);
    }
  });
}

for (const [zoom, viewport] of [
  [200, { width: 640, height: 400 }],
  [400, { width: 320, height: 200 }],
]) {
  for (const state of ['typing', 'busy, watching', 'second boot']) {
    test(`${state}: at ${zoom} % zoom there are at least five rows of terminal`, async (t) => {
      const { page, close } = await show(browser, state, { viewport, deviceScaleFactor: zoom / 100 });
      t.after(close);
      // The terminal is fitted a moment after the strip came.
      await page.waitForFunction(() => {
        const bottom = Math.min(innerHeight, document.querySelector('#terminal').getBoundingClientRect().bottom);
        const whole = [...document.querySelectorAll('.xterm-rows > div')].filter((row) => {
          const place = row.getBoundingClientRect();
          return place.top >= 0 && place.bottom <= bottom + 1;
        });
        return whole.length >= 5;
      });
      assert.ok((await overflow(page)) <= 0);
    });
  }
}
