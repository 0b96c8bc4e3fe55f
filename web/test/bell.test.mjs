// The bell: what it rings for, and how it tells.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, faint, see, seeInTerminal } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ESC = '\x1b';

const dialog = (page) => page.getByRole('dialog', { name: 'Notify me' });
const toast = (page, text) => page.getByRole('status').filter({ hasText: text });

/** Notes notifications, and lets the test say what the user answers and whether somebody looks. */
function pretend([answer, now]) {
  window.rung = [];
  window.asked = 0;
  class Fake extends EventTarget {
    static permission = now;
    static requestPermission() {
      window.asked += 1;
      Fake.permission = answer;
      return Promise.resolve(answer);
    }
    constructor(title, { body }) {
      super();
      window.rung.push(`${title}: ${body}`);
    }
    close() {}
  }
  window.Notification = Fake;
  window.isAway = true;
  document.hasFocus = () => !window.isAway;
  // A minute passes in two seconds.
  const wait = window.setTimeout;
  window.setTimeout = (act, time, ...rest) => wait(act, time >= 60_000 ? time / 30 : time, ...rest);
}

/** A page with the bell on, in the background. */
async function belled(fill, { answer = 'granted', now = 'default', ...options } = {}) {
  const { page, session } = await at.attach({}, options);
  await page.evaluate(pretend, [answer, now]);
  await choose(page, 'Share', 'Notify me…');
  await fill(dialog(page));
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await see(toast(page, 'The bell is on.'));
  return { page, session };
}

const rung = (page) => page.evaluate(() => window.rung);
const title = (page) => page.evaluate(() => document.title);

async function rings(page, count = 1) {
  await page.waitForFunction((wanted) => window.rung.length >= wanted, count);
  return rung(page);
}

for (const [what, box, output, words] of [
  ['a login prompt', 'A login prompt', 'Debian 12\r\ndemo login: ', 'Login prompt'],
  ['a panic', 'A kernel panic', '[    1.2] Kernel panic - not syncing: VFS\r\n', 'Kernel panic'],
]) {
  test(`it rings for ${what}, and marks the tab until somebody looks`, async () => {
    const { page, session } = await belled((form) => form.getByLabel(box).check());
    session.print('nothing\r\n');
    session.print(output);
    assert.deepEqual(await rings(page), [`web-1:0 – console: ${words}`]);
    assert.equal(await title(page), '🔔 web-1:0 – console');
    assert.match(await page.locator('#icon').getAttribute('href'), /^data:/);
    await page.evaluate(() => {
      window.isAway = false;
      window.dispatchEvent(new Event('focus'));
    });
    assert.equal(await title(page), 'web-1:0 – console');
    assert.doesNotMatch(await page.locator('#icon').getAttribute('href'), /^data:/);
  });
}

test('it rings for a text, whatever colors and frames it is cut into, and once for what repeats', async () => {
  const { page, session } = await belled((form) => form.getByLabel('This text').fill('all done'));
  for (const part of ['all ', `do${ESC}[`, `1;31mn${ESC}[0m`, 'e\r\n', 'all done\r\n']) session.print(part);
  assert.deepEqual(await rings(page), ['web-1:0 – console: “all done” was printed']);
  session.print('the end');
  await page.waitForFunction(() => window.serialproxy.text().includes('the end'));
  assert.equal((await rung(page)).length, 1);
});

test('it rings after silence, and not for a screen that is painted anew', async () => {
  const { page, session } = await belled(async (form) => {
    await form.getByLabel('Silence for').selectOption('1 minute');
    await form.getByLabel('This text').fill('old');
  });
  session.say({ type: 'replay', kind: 'screen', bytes: 3, offset: 0 });
  session.print('old');
  await seeInTerminal(page, 'old');
  assert.deepEqual(await rings(page), ['web-1:0 – console: Silent for 1 minute']);
});

test('whoever looks gets no notification, and the browser is asked after Save only', async () => {
  const { page, session } = await belled((form) => form.getByLabel('This text').fill('now'));
  assert.equal(await page.evaluate(() => window.asked), 1);
  await page.evaluate(() => (window.isAway = false));
  session.print('now');
  await see(toast(page, '“now” was printed.'));
  assert.deepEqual(await rung(page), []);
  assert.equal(await title(page), 'web-1:0 – console');
});

for (const [why, options, words] of [
  ['denied', { answer: 'denied' }, 'Allow it in the settings of this site.'],
  ['denied before', { now: 'denied' }, 'Allow it in the settings of this site.'],
]) {
  test(`notifications that are ${why} are explained, and the tab is marked`, async () => {
    const { page, session } = await belled((form) => form.getByLabel('This text').fill('now'), options);
    await see(toast(page, words));
    session.print('now');
    await page.waitForFunction(() => document.title.startsWith('🔔'));
    assert.deepEqual(await rung(page), []);
    assert.equal(await page.evaluate(() => window.asked), why === 'denied' ? 1 : 0);
  });
}

for (const colorScheme of ['light', 'dark']) {
  test(`its dialog fits a phone and can be read (${colorScheme})`, async () => {
    const { page } = await at.attach({}, { ...PHONE, colorScheme });
    await choose(page, 'Share', 'Notify me…');
    await see(dialog(page));
    assert.deepEqual(await faint(page), []);
    const fits = await dialog(page).evaluate((box) => box.scrollWidth <= box.clientWidth);
    assert.ok(fits);
  });
}
