// A console by its address, with the real API behind the real proxy: who is logged in gets in, also in another tab and
// after Back; who logs out does not.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { see, seeInTerminal } from '../test/browser.mjs';
import { Guest, button, consoleUrl, stage, status, story } from './story.mjs';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

const address = (path) => new URL(path, story.proxy).href;

/** Asks the API as the page does; gives the status. */
function ask(page, method, path, body) {
  return page.evaluate(
    async ([method, path, body]) => {
      const headers = { 'content-type': 'application/json' };
      return (await fetch(path, { method, headers, ...(body && { body }) })).status;
    },
    [method, path, body && JSON.stringify(body)],
  );
}

test('the address of a console opens it for who is logged in, in every tab, and for nobody else', async () => {
  const page = await at.blank();
  await page.goto(address('console/switch/0'));
  await page.waitForURL((url) => url.pathname === '/' && url.search.includes('console'));
  const login = { user: 'alice', password: story.password };
  assert.equal(await ask(page, 'POST', '/v1/login', { ...login, password: 'wrong' }), 401);
  assert.equal(await ask(page, 'POST', '/v1/login', login), 201);
  assert.equal(await page.evaluate(() => document.cookie), '', 'no script reads the login');
  await page.goto(address('console/switch/0'));
  await see(status(page, 'connected · you are typing'));
  guest.print('hello from the switch');
  await seeInTerminal(page, 'hello from the switch');
  await page.keyboard.type('typed');
  await guest.hears('typed');
  assert.equal(page.url(), address('console/switch/0'));

  await button(page, 'Share').click();
  await page.getByRole('menuitem', { name: 'Share…' }).click();
  const share = page.getByRole('dialog', { name: 'Share' });
  await see(share.getByText('None.'));
  await share.getByRole('button', { name: 'Copy new link' }).click();
  await see(share.getByRole('listitem').filter({ hasText: 'Watching, 0 sessions open' }));
  await share.getByRole('button', { name: /^Revoke the link/ }).click();
  await see(share.getByText('None.'));
  await share.getByRole('button', { name: 'Close' }).click();

  // The session of this tab goes on in a tile.
  await page.goto(address('consoles?at=switch/0'));
  const tile = page.getByRole('region', { name: 'switch:0' });
  await see(tile.getByText('connected · you are typing'));
  await tile.locator('iframe').contentFrame().locator('#screen').click();
  await page.keyboard.type('typed in a tile');
  await guest.hears('typed in a tile');
  await page.goBack();
  await see(status(page, 'you are typing'));

  const tab = await page.context().newPage();
  await tab.goto(address(`console/${story.server}/0?mode=watch`));
  await see(tab.getByText('You have this console open in another window.'));
  await tab.close();

  await page.goto(story.proxy);
  await page.goBack();
  await see(status(page, 'you are typing'));

  const kept = await page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
  assert.ok(!kept.includes(story.password));
  await button(page, 'Menu').click();
  await page.getByRole('menuitem', { name: 'Log out' }).click();
  await page.waitForURL((url) => url.pathname === '/');
  assert.equal(await ask(page, 'GET', '/v1/servers'), 401);
  page.faults = page.faults.filter((fault) => !fault.includes('status of 401'));
});

test('a console URL alone shows its own port, and all servers ask for a login', async () => {
  const page = await at.open(await consoleUrl());
  await see(status(page, 'you are typing'));
  await see(page.getByRole('heading', { name: 'switch port 0' }));
  assert.equal(await button(page, 'switch').count(), 0);
  await page.getByRole('link', { name: 'All servers' }).click();
  await see(page.getByLabel('API token'));
  page.faults = page.faults.filter((fault) => !fault.includes('status of 401'));
});
