// The servers page, with the real API behind the real proxy: from the login to a console, to ending someone's
// session, and to logging out.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { see, seeInTerminal } from '../test/browser.mjs';
import { Guest, alert, assertKept, assertNoSidewaysScroll, button, call, stage, status, story } from './story.mjs';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

/** The row of the only port, or one of its cells. */
const row = (page) =>
  page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: 'switch, port 0', exact: true }) });
const cell = (page, column) => row(page).locator(`.${column}-cell`);

/** The servers page, once somebody is logged in. That nobody is at first is a fault to Chromium. */
async function enter(options) {
  const page = await at.open(story.proxy, options);
  await page.getByLabel('API token').fill(story.token);
  await page.keyboard.press('Enter');
  await see(cell(page, 'state').getByText('connected', { exact: true }));
  page.faults = page.faults.filter((fault) => !fault.includes('status of 401'));
  return page;
}

/** Opens a link in a tab of its own. */
async function inTab(page, link) {
  const tab = page.context().waitForEvent('page');
  await link.click({ modifiers: ['Control'] });
  return tab;
}

test('a console is opened, listed with who is typing, and ended with a reason', async () => {
  const page = await enter();
  assert.equal(await cell(page, 'user').innerText(), '');
  await see(page.getByText('admin admin in admin'));
  const tab = await inTab(page, page.getByRole('link', { name: 'Open switch, port 0' }));
  await see(status(tab, 'connected · you are typing'));
  const kept = await tab.evaluate(() => JSON.stringify({ ...sessionStorage }) + document.cookie);
  assert.ok(!kept.includes(story.token));
  guest.print('hello from the switch\r\n');
  await seeInTerminal(tab, 'hello from the switch');
  await see(cell(page, 'text').getByText('hello from the switch', { exact: true }));
  await see(cell(page, 'age').getByText(/^(now|\d+ s)$/));
  await tab.keyboard.type('typed');
  await guest.hears('typed');

  await see(cell(page, 'user').getByTitle(/^admin has been typing since \d\d:\d\d \(for less than a minute\)$/));
  await button(page, 'More for switch, port 0').click();
  await page.getByRole('menuitem', { name: 'Who is there…' }).click();
  await button(page, 'Disconnect… admin, who is typing').click();
  await page.getByLabel('Reason').fill('the switch is being replaced');
  await page.keyboard.press('Enter');
  await see(alert(tab, 'admin disconnected you: the switch is being replaced. Reconnect, or watch.'));
  await see(page.getByText('Nobody is there now.'));
  await button(page, 'Close').click();
  assert.equal(await cell(page, 'user').innerText(), '');
  await tab.close();
});

test('what the port printed since stands out until it is looked at', async () => {
  const page = await enter();
  guest.print('0123456789');
  await see(row(page).getByText('new output'));
  await see(cell(page, 'age').getByTitle(/, 10 bytes new$/));
  await button(page, 'More for switch, port 0').click();
  await page.getByRole('menuitem', { name: 'Mark as seen' }).click();
  await row(page).getByText('new output').waitFor({ state: 'hidden' });
});

test('watching never types', async () => {
  const page = await enter();
  await button(page, 'More for switch, port 0').click();
  const tab = await inTab(page, page.getByRole('menuitem', { name: 'Watch' }));
  await see(status(tab, 'Nobody is typing.'));
  await see(cell(page, 'user').getByText('1 watching', { exact: true }));
  await tab.close();
});

test('logging out ends the login', async () => {
  const page = await enter();
  await button(page, 'Log out').click();
  await see(page.getByRole('heading', { name: 'Log in' }));
  await page.reload();
  await see(page.getByRole('heading', { name: 'Log in' }));
  page.faults = page.faults.filter((fault) => !fault.includes('status of 401'));
});

test('every file and every call is protected, and nothing comes from elsewhere', async () => {
  const page = await enter({ viewport: { width: 360, height: 740 } });
  await assertNoSidewaysScroll(page);
  const { host } = new URL(story.proxy);
  assert.deepEqual([...new Set(page.requests.map((address) => new URL(address).host))], [host]);
  assert.ok(page.responses.some((response) => response.url().includes('/v1/servers?')));
  for (const response of page.responses) {
    const headers = await response.allHeaders();
    assert.match(headers['content-security-policy'], /^default-src 'none'/, response.url());
    assert.equal(headers['x-content-type-options'], 'nosniff', response.url());
    assertKept(response.url(), headers);
  }
  assert.ok(page.requests.every((address) => !address.includes(story.token)));
});

test('a page from elsewhere gets nothing, and neither does a call that is not for the page', async () => {
  const ask = async (path, headers) =>
    (await fetch(new URL(path, story.proxy), { headers: { 'x-auth-token': story.token, ...headers } }))
      .status;
  assert.equal(await ask('v1/servers', {}), 200);
  assert.equal(await ask('v1/servers', { origin: 'http://evil.example' }), 403);
  assert.equal(await ask('v1/servers', { 'x-auth-token': 'wrong', 'x-user': 'root' }), 401);
  for (const path of ['metrics', 'v2.1/servers']) assert.equal(await ask(path, {}), 404);
  const health = await fetch(new URL('healthz', story.proxy));
  assert.equal(await health.text(), 'ok\n', 'it says no more than whether it serves');
});

test('a URL with a console token is the terminal page, and one without says where to go', async () => {
  const answer = await call('POST', `/v3/servers/${story.server}/get-serial-console`);
  const { url } = (await answer.json()).serial_console;
  const page = await at.open(new URL(`/${new URL(url).search}`, story.proxy).href);
  await see(status(page, 'connected · you are typing'));
  const lost = await at.open(new URL('serial.html', story.proxy).href);
  await lost.getByRole('link', { name: 'the servers page' }).click();
  await see(lost.getByLabel('API token'));
  lost.faults = lost.faults.filter((fault) => !fault.includes('status of 401'));
});
