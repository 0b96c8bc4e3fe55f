// That everybody can use the servers page: by keyboard, on a phone, with a screen reader, in light and dark.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { faint, see } from './browser.mjs';
import {
  PHONE,
  alert,
  api,
  assertNoSidewaysScroll,
  button,
  cell,
  DESKTOP,
  enter,
  focused,
  item,
  link,
  manyServers,
  oneServer,
  openMenu,
  row,
  tokenField,
  visit,
} from './servers-stage.mjs';
import { TOKEN, line, server } from './servers.mjs';

test('the keyboard alone is enough, and every stop can be seen', async () => {
  oneServer();
  const page = await enter();
  const stops = [];
  for (let pressed = 0; pressed < 10; pressed += 1) {
    await page.keyboard.press('Tab');
    stops.push(await focused(page));
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(ring, 'solid', stops.at(-1));
  }
  assert.deepEqual(stops, [
    'State',
    'Name',
    'Port',
    'Last printed line',
    'Typing',
    'Output',
    'Choose web-1, port 0',
    'web-1, port 0',
    'Open web-1, port 0',
    'More for web-1, port 0',
  ]);
  await page.keyboard.press('Enter');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.match(await focused(page), /^Who is there/);
  await page.keyboard.press('Enter');
  await see(page.getByRole('dialog', { name: 'Port 0 of web-1' }));
  await button(page, 'Disconnect… alice, who is typing').focus();
  await page.keyboard.press('Enter');
  // The focus is on Cancel, so that no key meant for something else does harm; the reason comes before it.
  await see(page.getByRole('dialog', { name: 'Disconnect alice?' }));
  assert.equal(await focused(page), 'Cancel');
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.type('go');
  await page.keyboard.press('Enter');
  await api.until(() => api.changes.length === 2, 'disconnect');
});

test('the menu of a row is left by Escape, by a click elsewhere and by scrolling', async () => {
  manyServers(100);
  const page = await enter();
  const menu = page.getByRole('menu');
  for (const leave of [
    () => page.keyboard.press('Escape'),
    () => page.getByRole('heading', { name: 'Servers' }).click(),
    () => button(page, 'More for web-9, port 0').click(),
    // The last one, as it may scroll on.
    () => page.mouse.wheel(0, 400),
  ]) {
    await openMenu(page, 'web-9, port 0');
    await page.keyboard.press('End');
    assert.match(await focused(page), /^Stop/);
    await leave();
    await menu.waitFor({ state: 'detached' });
    assert.equal(await button(page, 'More for web-9, port 0').getAttribute('aria-expanded'), 'false');
  }
});

test('it is a table with headings for who does not see it, and output does not make it talk', async () => {
  oneServer();
  const page = await enter();
  const table = page.getByRole('table', { name: 'Serial ports' });
  assert.deepEqual(await table.getByRole('columnheader').allInnerTexts(), [
    'State',
    'Name',
    'Port',
    'Last printed line',
    'Typing',
    'Output',
    'Actions',
  ]);
  assert.equal(await table.getByRole('row').count(), 2);
  assert.equal(await row(page, 'web-1, port 0').getByRole('cell').count(), 6);
  await page.evaluate(() => {
    window.spoken = [];
    const live = document.querySelectorAll('[role=status], [role=alert], [aria-live]');
    const watch = new MutationObserver((all) => window.spoken.push(...all.map(({ target }) => target.id)));
    for (const one of live) watch.observe(one, { childList: true, characterData: true, subtree: true });
  });
  for (const text of ['one', 'two', 'three']) {
    Object.assign(api.lines[0], { last_line: text, offset: api.lines[0].offset + 10, idle: 0 });
    await see(cell(page, 'web-1, port 0', 'Last printed line').getByText(text));
  }
  assert.deepEqual(await page.evaluate(() => window.spoken), []);
  assert.equal(await table.evaluate((one) => one.closest('[aria-live]')), null);
});

test('a phone of 360 px has everything, and nothing reaches beyond it', async () => {
  oneServer();
  api.servers.push(server(2, { name: `a-${'very-'.repeat(20)}long-name` }));
  api.lines.push(line(api.servers[1], 0, { state: 'failed', reason: `no-${'x'.repeat(80)}` }));
  const page = await visit(PHONE);
  await see(tokenField(page));
  await assertNoSidewaysScroll(page);
  await tokenField(page).fill(TOKEN);
  await button(page, 'Log in with the token').tap();
  await see(row(page, 'web-1, port 0'));
  await assertNoSidewaysScroll(page);
  for (const column of ['State', 'Name', 'Port', 'Last printed line', 'Typing', 'Output']) {
    await see(cell(page, 'web-1, port 0', column).locator(':not(:empty):not(.spoken)'));
    await see(page.getByRole('columnheader', { name: column }));
  }
  const target = await link(page, 'Open web-1, port 0').boundingBox();
  assert.ok(target.height >= 24 && target.width >= 24, 'large enough for a finger');
  await button(page, 'More for web-1, port 0').tap();
  const menu = await page.getByRole('menu').boundingBox();
  assert.ok(menu.x >= 0 && menu.x + menu.width <= 360, 'the menu is in view');
  await item(page, 'Who is there…').tap();
  await see(button(page, 'Disconnect… alice, who is typing'));
  await assertNoSidewaysScroll(page);
  await button(page, 'Disconnect… alice, who is typing').tap();
  await see(page.getByRole('dialog', { name: 'Disconnect alice?' }));
  await assertNoSidewaysScroll(page);
});

for (const colorScheme of ['light', 'dark']) {
  for (const [kind, size] of [
    ['a desktop', DESKTOP],
    ['a phone', PHONE],
  ]) {
    test(`every text has enough contrast on ${kind} where the system is ${colorScheme}`, async () => {
      oneServer();
      api.servers.push(server(2, { status: 'ERROR' }), server(3, { status: 'SHUTOFF' }));
      api.lines.push(line(api.servers[2], 0, { state: 'waiting', cause: 'stopped' }));
      const page = await visit({ ...size, colorScheme });
      await tokenField(page).fill('wrong');
      await page.keyboard.press('Enter');
      await see(alert(page, 'This token is wrong'));
      assert.deepEqual(await faint(page), [], 'login');
      await tokenField(page).fill(TOKEN);
      await page.keyboard.press('Enter');
      await see(row(page, 'web-1, port 0'));
      api.lines[0].offset += 10;
      await see(row(page, 'web-1, port 0').getByText('new output'));
      assert.deepEqual(await faint(page), [], 'table');
      await row(page, 'web-1, port 0').hover();
      assert.deepEqual(await faint(page), [], 'the row under the mouse');
      await openMenu(page, 'web-1, port 0');
      assert.deepEqual(await faint(page), [], 'menu');
      await item(page, 'Stop…').click();
      await see(page.getByRole('dialog'));
      assert.deepEqual(await faint(page), [], 'dialog');
      await page.keyboard.press('Escape');
      api.unreachable = ['host-7'];
      await see(page.getByText('The host host-7 does not respond'));
      assert.deepEqual(await faint(page), [], 'a host is away');
      api.instead.set('GET /v1/lines', [502, {}]);
      await see(alert(page, 'status 502'));
      assert.deepEqual(await faint(page), [], 'trouble');
    });
  }
}

test('the theme is that of the terminal page', async () => {
  const page = await enter({ ...DESKTOP, colorScheme: 'light' });
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await button(page, 'Theme: auto').click();
  await button(page, 'Theme: light').click();
  await see(button(page, 'Theme: dark'));
  assert.notEqual(await background(), light);
  assert.equal(await page.evaluate(() => localStorage.getItem('serialproxy.theme')), 'dark');
});

test('the terminal page without a token leads here', async () => {
  const page = await visit();
  await page.goto(`${api.url}serial.html`);
  await page.getByRole('link', { name: 'the servers page' }).click();
  await see(tokenField(page));
});
