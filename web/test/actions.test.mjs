// All that the user can do: the header's tips, the list of all actions, the help, and the keys.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, faint, see, seeInTerminal } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ALL = { can: ['write', 'force', 'power'], resume: 'k' };
const DESKTOP = { viewport: { width: 1280, height: 800 } };

const button = (page, name) => page.getByRole('button', { name, exact: true });
const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const palette = (page) => page.getByRole('dialog', { name: 'All actions' });
const filter = (page) => page.getByRole('combobox', { name: 'Filter actions' });
const option = (page, name) => palette(page).getByRole('option', { name });
const help = (page) => page.getByRole('dialog', { name: 'Keys of this page' });
const focused = (page) => page.evaluate(() => document.activeElement.ariaLabel);
const tip = (page, text) => page.locator('#tools .tip').filter({ hasText: text });

for (const [how, point] of [
  ['pointed at', (page) => button(page, 'Copy').hover()],
  ['reached by the keyboard', async (page) => {
    await page.keyboard.press('Shift+F6');
    while ((await focused(page)) !== 'Copy') await page.keyboard.press('Tab');
  }],
]) {
  test(`a button of the header that is ${how} tells its name and its key, until Escape`, async () => {
    const { page } = await at.attach(ALL, DESKTOP);
    assert.equal(await tip(page, 'Copy').isVisible(), false);
    await point(page);
    await see(tip(page, 'Copy Ctrl+Shift+C'));
    await page.keyboard.press('Escape');
    await tip(page, 'Copy').waitFor({ state: 'hidden' });
  });
}

for (const options of [DESKTOP, PHONE]) {
  test(`the header shows what is needed often, ${options.viewport.width} px wide`, async () => {
    const { page } = await at.attach(ALL, options);
    for (const name of ['Search', 'Copy', 'Paste', 'Share', 'Machine', 'View', 'Keys', 'More']) {
      await see(page.getByRole('group', { name: 'Console tools' }).getByRole('button', { name, exact: true }));
    }
  });

  for (const colorScheme of ['light', 'dark']) {
    test(`the list of all actions and the help can be read, ${options.viewport.width} px, ${colorScheme}`, async () => {
      const { page } = await at.attach(ALL, { ...options, colorScheme });
      await choose(page, 'More', 'All actions…');
      await see(option(page, 'Search Ctrl+Shift+F'));
      assert.deepEqual(await faint(page), []);
      const box = await palette(page).boundingBox();
      assert.ok(box.x >= 0 && box.x + box.width <= options.viewport.width && box.height < options.viewport.height);
      await page.keyboard.press('Escape');
      await choose(page, 'More', 'Help: keys');
      await see(help(page).getByRole('row', { name: 'Ctrl+Shift+F Search' }));
      assert.deepEqual(await faint(page), []);
    });
  }
}

test('every action is in the list of all actions, with its key', async () => {
  const { page } = await at.attach(ALL);
  const names = [];
  for (const menu of ['Share', 'Machine', 'View', 'Keys', 'More']) {
    await button(page, menu).click();
    const items = page.getByRole('menu', { name: menu }).locator('button:visible');
    // Of one choice of several, the list says of what.
    names.push(...(await items.evaluateAll((all) => all.map(({ firstChild }) => firstChild.textContent))));
    await page.keyboard.press('Escape');
  }
  await page.getByLabel('Terminal input').focus();
  await page.keyboard.press('Control+Shift+P');
  await see(filter(page));
  const listed = await palette(page).getByRole('option').allInnerTexts();
  const missing = names.filter((name) => !listed.some((text) => text.includes(name)));
  assert.deepEqual(missing, []);
  assert.ok(names.length > 30, `${names.length} actions`);
  for (const [name, key] of [
    ['Search', 'Ctrl+Shift+F'],
    ['Copy', 'Ctrl+Shift+C'],
    ['Paste', 'Ctrl+Shift+V'],
    ['Fit guest to window', 'Ctrl+Shift+S'],
    ['Leave the terminal, or come back', 'Shift+F6'],
  ]) {
    await see(option(page, name).getByText(key));
  }
});

test('an action is found by its words, chosen with arrows and Enter, and leads back to the terminal', async () => {
  const { page, session } = await at.attach(ALL);
  await page.keyboard.press('Control+Shift+P');
  await page.keyboard.type('break');
  await see(option(page, 'Send break'));
  await filter(page).fill('keys send');
  await page.keyboard.press('ArrowDown');
  await see(palette(page).getByRole('option', { name: 'Send Ctrl+T', selected: true }));
  await page.keyboard.press('Enter');
  await session.typed('\x14');
  assert.equal(await focused(page), 'Terminal input');
  await page.keyboard.press('Control+Shift+P');
  await page.keyboard.type('nothing is called so');
  await see(palette(page).getByText('No action has these words in its name.'));
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  await palette(page).waitFor({ state: 'hidden' });
  await page.waitForFunction(() => document.activeElement.ariaLabel === 'Terminal input');
  assert.equal(session.input.toString(), '\x14');
});

test('what the list of all actions opens keeps the focus', async () => {
  const { page } = await at.attach(ALL);
  await page.keyboard.press('Control+Shift+P');
  await page.keyboard.type('search');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.ariaLabel === 'Search for');
  await page.keyboard.press('Control+Shift+P');
  await page.keyboard.type('reboot');
  await page.keyboard.press('Enter');
  await see(page.getByRole('dialog', { name: 'Reboot web-1?' }));
});

test('what is impossible now is there with the reason, and does nothing', async () => {
  const { page, session } = await at.attach(ALL);
  await page.keyboard.press('Control+Shift+P');
  await page.keyboard.type('resume');
  await see(palette(page).getByRole('option', { name: 'Resume the guest is not paused', disabled: true }));
  await page.keyboard.press('Enter');
  await see(status(page, 'Resume: the guest is not paused.'));
  assert.deepEqual(session.said('power'), []);
});

test('what a role forbids is not in the list of all actions', async () => {
  const { page } = await at.attach({ can: ['write'] });
  await page.keyboard.press('Control+Shift+P');
  await see(option(page, 'Search'));
  assert.equal(await option(page, 'Reboot').count(), 0);
});

test('F1 and ? belong to the guest in the terminal, and to the page outside of it', async () => {
  const { page, session } = await at.attach(ALL);
  await page.keyboard.press('F1');
  await page.keyboard.type('?');
  await session.typed('\x1bOP?');
  await page.keyboard.press('Control+Shift+F');
  await page.keyboard.type('?');
  assert.equal(await page.getByLabel('Search for').inputValue(), '?');
  await button(page, 'More').focus();
  await page.keyboard.press('?');
  await see(help(page));
  for (const row of [
    'Ctrl+Shift+C Copy',
    'Shift+F6 Leave the terminal, or come back',
    'Shift+PgUp, Shift+PgDn Scroll by a page',
    'Ctrl+Shift+P, F1 (outside the terminal) All actions',
  ]) {
    await see(help(page).getByRole('row', { name: row }));
  }
  await page.keyboard.press('Escape');
  assert.equal(await focused(page), 'More');
  await page.keyboard.press('F1');
  await see(palette(page));
});

test('another key of the list of all actions is kept, and the usual one opens it no more', async () => {
  const { page } = await at.attach(ALL);
  await page.keyboard.press('Control+Shift+P');
  await page.keyboard.type('key of');
  await page.keyboard.press('Enter');
  const question = page.getByRole('dialog', { name: 'Key of the list of all actions' });
  await question.getByLabel('Key').selectOption('Ctrl+Alt+P');
  await question.getByRole('button', { name: 'Use it' }).click();
  await page.reload();
  const session = await at.proxy.admit(ALL);
  await see(page.getByText('you are typing'));
  await page.keyboard.press('Control+Shift+P');
  await page.keyboard.type('x');
  await session.typed('x');
  await page.keyboard.press('Control+Alt+P');
  await see(option(page, 'All actions… More Ctrl+Alt+P'));
});

test('a shortcut does nothing while something is asked', async () => {
  const { page, session } = await at.attach(ALL);
  await choose(page, 'Machine', 'Reboot…');
  await page.keyboard.press('Control+Shift+S');
  await page.keyboard.press('Control+Shift+F');
  assert.equal(await page.getByRole('search').isVisible(), false);
  await page.keyboard.press('Escape');
  assert.equal(session.input.length, 0);
});

test('Shift+PgUp and Shift+PgDn scroll, and Shift+Insert and the middle button paste', async () => {
  const { page, session } = await at.attach({}, { permissions: ['clipboard-read', 'clipboard-write'] });
  session.print(Array.from({ length: 200 }, (_, line) => `line ${line}`).join('\r\n'));
  await seeInTerminal(page, 'line 199');
  const shows = (text) => page.locator('.xterm-rows').getByText(text, { exact: true });
  await see(shows('line 199'));
  await page.keyboard.press('Shift+PageUp');
  await shows('line 199').waitFor({ state: 'hidden' });
  await page.keyboard.press('Shift+PageDown');
  await see(shows('line 199'));
  assert.equal(session.input.length, 0);
  await page.evaluate(() => navigator.clipboard.writeText('from the clipboard'));
  await page.keyboard.press('Shift+Insert');
  await session.typed('from the clipboard');
  session.input = Buffer.alloc(0);
  // Where the system has a primary selection, the browser pastes it into what is under the pointer.
  await page.mouse.move(300, 300);
  await page.mouse.down({ button: 'middle' });
  const target = await page.evaluate(() => document.elementFromPoint(300, 300).ariaLabel);
  await page.mouse.up({ button: 'middle' });
  assert.equal(await page.evaluate(() => document.elementFromPoint(300, 300).ariaLabel), 'Terminal input', target);
});
