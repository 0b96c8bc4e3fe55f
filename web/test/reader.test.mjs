// What a screen reader gets of the terminal page, with its mode on: output, states and who types, in a sensible order.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see, seeInTerminal } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ALICE = 'a11ce000-0000-4000-8000-000000000000';

/** A console with the mode on, which alice types on. */
async function heard() {
  const { page, session } = await at.attach({ mode: 'watch', can: ['write', 'force'] });
  await page.getByRole('button', { name: 'View', exact: true }).click();
  await page.getByRole('menuitemcheckbox', { name: 'Screen reader mode' }).click();
  await page.keyboard.press('Escape');
  session.pen('held', { holder: 'alice', session: ALICE });
  await see(page.getByText('alice is typing'));
  return { page, session };
}

/** What is read aloud by itself: the texts of live regions, in the order of the page. */
const announced = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll('[aria-live]:not([aria-live=off]), [role=status]:not([aria-live]), [role=alert]')]
      .filter((region) => region.checkVisibility({ visibilityProperty: true }))
      .map((region) => region.textContent.trim())
      .filter(Boolean),
  );

test('the state, who is typing and what is printed are read aloud, in this order', async () => {
  const { page, session } = await heard();
  session.print('web-1 login: ');
  await page.waitForFunction(() => document.querySelector('.xterm .live-region').textContent.includes('web-1 login:'));
  const words = await announced(page);
  assert.deepEqual(words.slice(0, 2), ['connected', 'alice is typing. You are watching.']);
  assert.match(words[2], /web-1 login:/);
});

test('the rows are a list to walk through, after the tools and before the hints', async () => {
  const { page, session } = await heard();
  session.print('first row\r\nsecond row\r\n');
  await seeInTerminal(page, 'second row');
  const rows = page.getByRole('region', { name: 'Terminal' }).getByRole('listitem');
  await see(rows.filter({ hasText: 'second row' }));
  const snapshot = await page.locator('body').ariaSnapshot();
  const places = ['heading "web-1 port 0"', 'status: connected', 'group "Console tools"', 'region "Typing"', 'region "Terminal"', 'listitem: first row', 'listitem: second row', 'contentinfo'];
  const order = places.map((place) => snapshot.indexOf(place));
  assert.ok(!order.includes(-1), snapshot);
  assert.deepEqual(order, order.toSorted((a, b) => a - b), snapshot);
});

test('a change of the state is read aloud once, and a flood is not', async () => {
  const { page, session } = await heard();
  session.print('line\r\n'.repeat(500));
  await page.waitForFunction(() => document.querySelector('.xterm .live-region').textContent.includes('Too much output'));
  session.pen('free');
  await see(page.getByRole('status').filter({ hasText: 'Nobody is typing.' }));
  session.close(4009, 'stopped: the server is SHUTOFF');
  await see(page.getByRole('alert').filter({ hasText: 'The guest is not running' }));
});

test('the mode is found by its name with the keyboard alone', async () => {
  const { page } = await at.attach();
  await page.keyboard.press('Control+Shift+P');
  await page.keyboard.type('screen reader');
  await page.keyboard.press('Enter');
  await page.locator('.xterm .live-region').waitFor({ state: 'attached' });
});
