// The servers page, with the real API behind the real proxy: from the token to a console, and to ending
// someone's session.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { see, seeInTerminal } from '../test/browser.mjs';
import {
  Guest,
  alert,
  assertKept,
  assertNoSidewaysScroll,
  button,
  call,
  stage,
  status,
  story,
} from './story.mjs';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

const port = (page) => page.getByRole('listitem', { name: 'Port 0 of switch', exact: true });

/** The servers page, once it knows the token. That it does not at first is a fault to Chromium. */
async function enter(options) {
  const page = await at.open(story.proxy, options);
  await page.getByLabel('API token').fill(story.token);
  await page.keyboard.press('Enter');
  await see(port(page).getByText('connected', { exact: true }));
  page.faults = page.faults.filter((fault) => !fault.includes('status of 401'));
  return page;
}

test('a console is opened, listed with its writer, and ended with a reason', async () => {
  const page = await enter();
  await see(port(page).getByText('nobody is typing'));
  const [tab] = await Promise.all([
    page.waitForEvent('popup'),
    button(page, 'Open port 0 of switch').click(),
  ]);
  await see(status(tab, 'connected · you are typing'));
  assert.equal(await tab.evaluate(() => window.opener), null);
  const kept = await tab.evaluate(() => JSON.stringify({ ...sessionStorage }));
  assert.ok(!kept.includes(story.token));
  guest.print('hello from the switch');
  await seeInTerminal(tab, 'hello from the switch');
  await tab.keyboard.type('typed');
  await guest.hears('typed');

  await see(port(page).getByText(/^admin has been typing since \d\d:\d\d \(for less than a minute\)$/));
  await page.getByText('1 session', { exact: true }).click();
  await button(page, 'Disconnect… admin, who is typing').click();
  await page.getByLabel('Reason').fill('the switch is being replaced');
  await page.keyboard.press('Enter');
  await see(alert(tab, 'admin disconnected you: the switch is being replaced. Reconnect, or watch.'));
  await see(port(page).getByText('nobody is typing'));
  await tab.close();
});

test('what the port printed since stands out until it is looked at', async () => {
  const page = await enter();
  guest.print('0123456789');
  const mark = page.getByRole('button', { name: '10 bytes new on port 0 of switch: mark as seen' });
  await see(mark);
  await mark.click();
  await mark.waitFor({ state: 'hidden' });
});

test('watching never types', async () => {
  const page = await enter();
  const [tab] = await Promise.all([
    page.waitForEvent('popup'),
    button(page, 'Watch port 0 of switch').click(),
  ]);
  await see(status(tab, 'Nobody is typing.'));
  await see(port(page).getByText('nobody is typing, 1 watching'));
  await tab.close();
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
