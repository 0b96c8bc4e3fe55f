// Takes a picture of every state of the pages, in each window and color scheme: target/screenshots, or the folder that
// is named.

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { launch } from './test/browser.mjs';
import { CONSOLE, SCHEMES, SERVERS, WINDOWS, show } from './test/states.mjs';

const folder = process.argv[2] ?? new URL('../target/screenshots', import.meta.url).pathname;
const wanted = process.argv.slice(3);
const states = [...Object.keys(CONSOLE), ...Object.keys(SERVERS)].filter(
  (state) => wanted.length === 0 || wanted.includes(state),
);

if (wanted.length === 0) await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const browser = await launch();
let taken = 0;
for (const state of states) {
  for (const [window, options] of Object.entries(WINDOWS)) {
    const { page, close } = await show(browser, state, options);
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      const name = `${state.replaceAll(/\W+/g, '-')}-${window}-${colorScheme}.png`;
      await page.screenshot({ path: join(folder, name), animations: 'disabled' });
      taken += 1;
    }
    await close();
  }
  console.error(`${state}: ${taken} pictures`);
}
await browser.close();
