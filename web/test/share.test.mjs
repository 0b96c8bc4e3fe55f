// Sharing a console: links that are made, listed and revoked.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, faint, see } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { CALLER } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const CLIPBOARD = { permissions: ['clipboard-read', 'clipboard-write'] };

const PATH = '/v1/lines/a3b7c1d2-0000-4000-8000-000000000003/0/links';
const URL_ = 'http://127.0.0.1/serial.html?token=the-secret';

function link(id, fields = {}) {
  const times = { created: '2026-11-30T09:04:00Z', expires: '2026-11-30T10:04:00Z' };
  return { id, mode: 'watch', user: 'carol', sessions: 0, ...times, ...fields };
}

const dialog = (page) => page.getByRole('dialog', { name: 'Share' });
const button = (page, name) => dialog(page).getByRole('button', { name });
const status = (page, text) => dialog(page).getByRole('status').filter({ hasText: text });

function list(links, longest = 86_400) {
  at.proxy.instead.set(`GET ${PATH}`, [200, { links, longest }]);
}

/** A page whose browser is logged in, with the dialog. */
async function opened(options, hello) {
  at.proxy.caller = CALLER;
  const { page } = await at.attach(hello, { ...CLIPBOARD, ...options });
  await see(page.locator('#server-button'));
  await choose(page, 'Share', 'Share…');
  await see(dialog(page));
  return page;
}

for (const [kind, options] of [
  ['a desktop', DESKTOP],
  ['a phone', PHONE],
  ['a desktop, dark', { ...DESKTOP, colorScheme: 'dark' }],
]) {
  test(`on ${kind}, a link is made, copied and never shown, and listed until it is revoked`, async () => {
    list([]);
    const page = await opened(options);
    await see(dialog(page).getByText('None.'));
    await dialog(page).getByLabel('They may').selectOption('type');
    await dialog(page).getByLabel('For').selectOption('1 day');
    at.proxy.instead.set(`POST ${PATH}`, [201, { link: link('l-1'), url: URL_ }]);
    list([link('l-1', { mode: 'write', sessions: 2 }), link('l-2', { user: 'alice', sessions: 1 })]);
    await button(page, 'Copy new link').click();
    await see(status(page, 'Copied. The link is not shown again.'));
    assert.deepEqual(at.proxy.bodies, [{ mode: 'write', seconds: 86_400 }]);
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), URL_);
    assert.ok(!(await page.content()).includes('the-secret'));
    await see(dialog(page).getByRole('listitem').filter({ hasText: 'Typing, 2 sessions open' }));
    await see(dialog(page).getByRole('listitem').filter({ hasText: /Watching, 1 session open.*by alice/ }));
    assert.deepEqual(await faint(page), []);
    const wide = () => page.evaluate(() => document.querySelector('dialog').scrollWidth - document.querySelector('dialog').clientWidth);
    assert.ok((await wide()) <= 0, 'nothing is cut off');

    at.proxy.instead.set(`DELETE ${PATH}/l-1`, () => {
      list([link('l-2', { user: 'alice' })]);
      return [204];
    });
    await button(page, /^Revoke the link for typing that carol made/).click();
    await see(status(page, 'Revoked. The sessions that it opened end now.'));
    assert.equal(at.proxy.changes.at(-1), `DELETE ${PATH}/l-1?`);
    await dialog(page).getByRole('listitem').filter({ hasText: 'Typing' }).waitFor({ state: 'detached' });
    assert.equal(await dialog(page).getByRole('listitem').count(), 1);
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'hidden' });
  });
}

test('a link is shared by the keyboard alone', async () => {
  list([link('l-1')]);
  at.proxy.instead.set(`POST ${PATH}`, () => {
    list([link('l-1'), link('l-2')]);
    return [201, { link: link('l-2'), url: URL_ }];
  });
  at.proxy.instead.set(`DELETE ${PATH}/l-1`, [204]);
  const page = await opened(DESKTOP);
  await see(button(page, /^Revoke/));
  await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await see(status(page, 'Copied.'));
  assert.deepEqual(at.proxy.bodies, [{ mode: 'watch', seconds: 3600 }]);
  // A press before the list is there would be ignored.
  await see(button(page, /^Revoke/).nth(1));
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await see(status(page, 'Revoked.'));
});

test('a link that the browser does not let the page copy is shown once', async () => {
  list([]);
  at.proxy.instead.set(`POST ${PATH}`, [201, { link: link('l-1'), url: URL_ }]);
  const page = await opened(DESKTOP);
  await see(dialog(page).getByText('None.'));
  await page.evaluate(() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error('no'));
    document.execCommand = () => false;
  });
  await button(page, 'Copy new link').click();
  await see(status(page, `Copy the link now, it is not shown again: ${URL_}`));
});

test('a refusal is said, and whoever may only watch shares watching', async () => {
  list([], 3600);
  const page = await opened(DESKTOP, { can: [], mode: 'watch' });
  assert.deepEqual(await dialog(page).getByLabel('They may').locator('option').allTextContents(), ['watch']);
  await page.waitForFunction(() => document.querySelector('dialog option[value="86400"]').disabled);
  const message = 'this console has too many live links: revoke one of them first';
  at.proxy.instead.set(`POST ${PATH}`, [409, { conflictingRequest: { code: 409, message } }]);
  await button(page, 'Copy new link').click();
  await see(status(page, 'This console has too many live links: revoke one of them first.'));
  // Chromium reports every answer that is no success.
  page.faults = page.faults.filter((fault) => !fault.includes('status of 409'));
});

test('where sharing is turned off, that is said', async () => {
  list([], 0);
  const page = await opened(DESKTOP);
  await see(status(page, 'Sharing is turned off here.'));
  assert.equal(await button(page, 'Copy new link').isVisible(), false);
});

test('without a login there is only the watch link, and by a shared link not even that', async () => {
  const { page } = await at.attach();
  await page.getByRole('button', { name: 'Share', exact: true }).click();
  await see(page.getByRole('menuitem', { name: 'Copy watch link' }));
  assert.equal(await page.getByRole('menuitem', { name: 'Share…' }).count(), 0);
  const { page: other } = await at.attach({ shared: true });
  await other.getByRole('button', { name: 'Share', exact: true }).click();
  await see(other.getByRole('menuitem', { name: 'Notify me…' }));
  assert.equal(await other.getByRole('menuitem', { name: 'Copy watch link' }).count(), 0);
});
