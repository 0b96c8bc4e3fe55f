// How the page looks, as this browser's user set it, and the sizes of guest and window in the footer.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, faint, see } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ALL = { can: ['write', 'force', 'power'], resume: 'k' };
const DESKTOP = { viewport: { width: 1280, height: 800 } };

const button = (page, name) => page.getByRole('button', { name, exact: true });
const item = (page, name) => page.getByRole('menuitem', { name });
const radio = (page, name) => page.getByRole('menuitemradio', { name, exact: true });

/** The contrast of the terminal's text, by what it answers of its colors. */
async function terminalContrast(session) {
  session.input = Buffer.alloc(0);
  session.print('\x1b]10;?\x07\x1b]11;?\x07');
  await session.until(() => session.input.toString().split('rgb:').length === 3, 'two colors');
  const luminances = [...session.input.toString().matchAll(/rgb:(..)..\/(..)..\/(..)/g)].map(([, ...hex]) => {
    const [r, g, b] = hex
      .map((part) => Number.parseInt(part, 16) / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  });
  const [dark, light] = luminances.sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

for (const colorScheme of ['light', 'dark']) {
  for (const [theme, least] of [
    ['Standard', 4.5],
    ['Solarized', 4.5],
    ['High contrast', 7],
  ]) {
    test(`the theme ${theme} has enough contrast, ${colorScheme}, and is kept`, async () => {
      const { page } = await at.attach(ALL, { ...DESKTOP, colorScheme });
      await button(page, 'View').click();
      await radio(page, theme).click();
      assert.equal(await radio(page, theme).getAttribute('aria-checked'), 'true');
      assert.equal(await page.getByRole('menuitemradio', { checked: true }).count(), 2);
      await see(page.getByRole('group', { name: 'Theme', exact: true }).locator(radio(page, theme)));
      await page.reload();
      const session = await at.proxy.admit(ALL);
      await see(page.getByText('you are typing'));
      const ratio = await terminalContrast(session);
      assert.ok(ratio >= least, `${ratio}`);
      for (const menu of ['View', 'Machine']) {
        await button(page, menu).click();
        assert.deepEqual(await faint(page), [], menu);
        await page.keyboard.press('Escape');
      }
      await button(page, 'Search').click();
      await choose(page, 'Machine', 'Send SysRq…');
      await see(page.getByRole('dialog'));
      session.pen('requested', { session: 'b', by: 'bob', holder: 'carol' });
      await see(page.getByRole('button', { name: 'Let them type' }));
      assert.deepEqual(await faint(page), [], 'dialog and bars');
      await page.keyboard.press('Escape');
      session.drop();
      await see(page.getByRole('alert'));
      assert.deepEqual(await faint(page), [], 'notice');
    });
  }
}

test('light and dark are chosen apart from the theme', async () => {
  const { page, session } = await at.attach(ALL, { ...DESKTOP, colorScheme: 'light' });
  await button(page, 'View').click();
  await radio(page, 'Solarized').click();
  await radio(page, 'Dark').click();
  await page.keyboard.press('Escape');
  session.print('\x1b]11;?\x07');
  await session.typed('rgb:0000/2b2b/3636');
});

const rowHeight = (page) =>
  page.locator('.xterm-rows > div').first().evaluate((row) => row.getBoundingClientRect().height);

test('the line height is chosen and kept', async () => {
  const { page } = await at.attach(ALL);
  const before = await rowHeight(page);
  await button(page, 'View').click();
  await item(page, 'Line height: 1.1').click();
  await item(page, 'Line height: 1.25').click();
  await see(item(page, 'Line height: 1.5'));
  const after = await rowHeight(page);
  assert.ok(after > before * 1.2, `${before} px, then ${after} px`);
  await page.reload();
  await at.proxy.admit(ALL);
  assert.equal(await rowHeight(page), after);
});

test('a font that this computer has is chosen and kept', async () => {
  const { page } = await at.attach(ALL);
  await choose(page, 'View', 'Font…');
  const dialog = page.getByRole('dialog', { name: 'Font of the terminal' });
  const fonts = await dialog.getByLabel('Font').locator('option').allInnerTexts();
  assert.equal(fonts[0], "The browser's");
  assert.ok(fonts.includes('DejaVu Sans Mono'), fonts.join());
  assert.ok(!fonts.includes('Terminus'), fonts.join());
  await dialog.getByLabel('Font').selectOption('DejaVu Sans Mono');
  await dialog.getByRole('button', { name: 'Use it' }).click();
  const family = () => page.locator('.xterm-rows').evaluate((rows) => getComputedStyle(rows).fontFamily);
  assert.match(await family(), /^"DejaVu Sans Mono"/);
  await page.reload();
  await at.proxy.admit(ALL);
  await see(page.getByText('you are typing'));
  assert.match(await family(), /^"DejaVu Sans Mono"/);
});

test('a kept font that is no font changes nothing', async () => {
  const { page } = await at.attach(ALL);
  await page.evaluate(() => localStorage.setItem('serialproxy.font', 'x; } body { display: none'));
  await page.reload();
  await at.proxy.admit(ALL);
  await see(page.getByText('you are typing'));
  const family = await page.locator('.xterm-rows').evaluate((rows) => getComputedStyle(rows).fontFamily);
  assert.match(family, /^ui-monospace/);
});

const sizes = (page) => page.locator('footer').getByText(/^guest \d+×\d+ · window \d+×\d+$/);

/** The window's grid as the page told it last. */
async function grid(session) {
  const { rows, cols } = (await session.hears('size')).at(-1);
  return `${cols}×${rows}`;
}

test('the footer tells the sizes of guest and window until Fit makes them the same', async () => {
  const { page, session } = await at.attach(ALL, DESKTOP);
  await see(sizes(page));
  assert.equal(await sizes(page).innerText(), `guest 80×24 · window ${await grid(session)}`);
  await button(page, 'Fit').click();
  await session.typed('\r');
  assert.match(session.input.toString(), /^stty rows \d+ cols \d+\r$/);
  await sizes(page).waitFor({ state: 'hidden' });
  const fitted = await grid(session);
  await page.reload();
  const next = await at.proxy.admit(ALL);
  await see(page.getByText('you are typing'));
  assert.equal(await sizes(page).isVisible(), false);
  await page.setViewportSize({ width: 1000, height: 700 });
  await see(sizes(page));
  assert.equal((await sizes(page).innerText()).split(' · ')[0], `guest ${fitted}`);
  // A new boot knows nothing of it.
  next.say({ type: 'epoch', epoch: 2, offset: 0 });
  await see(page.getByText(/^guest 80×24 · /));
});

test('what shows the sizes does not change them', async () => {
  const { page, session } = await at.attach(ALL, DESKTOP);
  await see(sizes(page));
  const before = await grid(session);
  await button(page, 'Hide the sizes').click();
  await sizes(page).waitFor({ state: 'hidden' });
  assert.equal(await grid(session), before);
});

test('hidden sizes stay hidden, until the menu shows them again', async () => {
  const { page } = await at.attach(ALL, DESKTOP);
  await button(page, 'Hide the sizes').click();
  await page.reload();
  await at.proxy.admit(ALL);
  await see(page.getByText('you are typing'));
  assert.equal(await sizes(page).isVisible(), false);
  await button(page, 'View').click();
  const choice = page.getByRole('menuitemcheckbox', { name: 'Sizes in the footer' });
  assert.equal(await choice.getAttribute('aria-checked'), 'false');
  await choice.click();
  await see(sizes(page));
});

test('neither a watcher nor a phone has sizes in the footer', async () => {
  const { page } = await at.attach({ mode: 'watch', can: ['write'] }, DESKTOP);
  await see(page.getByText('You are watching.'));
  assert.equal(await sizes(page).isVisible(), false);
  const phone = await at.attach(ALL, PHONE);
  await see(phone.page.getByText('you are typing'));
  assert.equal(await sizes(phone.page).isVisible(), false);
});
