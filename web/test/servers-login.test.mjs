// Logging in to the servers page and out again, and what the page says of who is there.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see } from './browser.mjs';
import {
  PHONE,
  alert,
  api,
  button,
  DESKTOP,
  enter,
  focused,
  oneServer,
  row,
  storage,
  tokenField,
  visit,
} from './servers-stage.mjs';
import { PASSWORD, TOKEN } from './servers.mjs';

for (const [kind, options] of [
  ['a desktop', DESKTOP],
  ['a phone', PHONE],
]) {
  test(`on ${kind}, a name and a password log in, and the header says who, in which role and project`, async () => {
    oneServer();
    const page = await visit(options);
    await see(page.getByRole('heading', { name: 'Log in' }));
    assert.equal(await focused(page), 'User');
    await page.getByRole('textbox', { name: 'User', exact: true }).fill('alice');
    await page.getByLabel('Password').fill(PASSWORD);
    await page.keyboard.press('Enter');
    await see(row(page, 'web-1, port 0'));
    await see(page.getByRole('banner').getByText('alice member in research'));
    assert.deepEqual(api.logins, [{ user: 'alice', password: PASSWORD }]);
    assert.equal(await page.getByLabel('Password').inputValue(), '');
  });
}

test('with Keystone, a project and a domain are asked for too, and may be left out', async () => {
  api.keystone = true;
  api.methods = ['password', 'token'];
  const page = await visit();
  await page.getByRole('textbox', { name: 'User', exact: true }).fill('alice');
  await page.getByLabel('Password').fill('wrong');
  await page.getByLabel('Project').fill('research');
  await page.keyboard.press('Enter');
  await see(alert(page, 'The user name or the password is wrong.'));
  assert.equal(await focused(page), 'Password');
  assert.equal(await page.getByText('serialproxy status').isVisible(), false);
  await page.getByLabel('Domain').fill('lab');
  await button(page, 'Log in').click();
  await api.until(() => api.logins.length === 2, 'second attempt');
  assert.deepEqual(api.logins, [
    { user: 'alice', password: 'wrong', project: 'research' },
    { user: 'alice', password: 'wrong', project: 'research', domain: 'lab' },
  ]);
});

test('a token logs in, and nothing of it stays in the page', async () => {
  oneServer();
  const page = await enter();
  await see(row(page, 'web-1, port 0'));
  assert.ok(!(await storage(page)).includes(TOKEN));
  assert.equal(await page.evaluate(() => document.cookie), '');
  await page.reload();
  await see(row(page, 'web-1, port 0'));
  const other = await page.context().newPage();
  await other.goto(api.url);
  await see(row(other, 'web-1, port 0'));
});

test('a wrong token is said to be wrong', async () => {
  const page = await visit();
  await tokenField(page).fill('wrong');
  await page.keyboard.press('Enter');
  await see(alert(page, 'This token is wrong or has expired.'));
  assert.equal(await focused(page), 'API token');
  await tokenField(page).fill('');
  await button(page, 'Log in with the token').click();
  await see(alert(page, 'Paste your API token here.'));
});

test('a login link opens the list, and its code leaves the address bar', async () => {
  oneServer();
  const page = await visit(DESKTOP, `${api.url}#login=0123abcd`);
  await see(row(page, 'web-1, port 0'));
  assert.equal(page.url(), api.url);
  assert.deepEqual(api.changes, ['POST /v1/login']);
});

test('a login link that was used says so, unless this browser is logged in anyway', async () => {
  oneServer();
  const message = 'this login link was used before, or has expired: `serialproxy status` prints a new one';
  api.instead.set('POST /v1/login', [401, { unauthorized: { code: 401, message } }]);
  const page = await visit(DESKTOP, `${api.url}#login=9876`);
  await see(alert(page, 'This login link was used before, or has expired: `serialproxy status` prints a new one.'));
  assert.equal(page.url(), api.url);
  api.instead.clear();
  await tokenField(page).fill(TOKEN);
  await page.keyboard.press('Enter');
  await see(row(page, 'web-1, port 0'));
  await page.goto(`${api.url}?again#login=9876`);
  await see(row(page, 'web-1, port 0'));
});

test('who came from a console to log in is led back to it, and to no other site', async () => {
  oneServer();
  const way = `console/${api.servers[0].id}/0?mode=watch`;
  for (const [next, ends] of [
    [way, way],
    ['https://evil.example/console/a/0', undefined],
  ]) {
    const page = await visit(DESKTOP, `${api.url}?next=${encodeURIComponent(next)}`);
    await tokenField(page).fill(TOKEN);
    await page.keyboard.press('Enter');
    if (ends) await page.waitForURL(`${api.url}${ends}`);
    else await see(row(page, 'web-1, port 0'));
  }
});

test('logging out takes the list away, also in a page that is loaded again', async () => {
  oneServer();
  const page = await enter();
  await button(page, 'Log out').click();
  await see(page.getByRole('heading', { name: 'Log in' }));
  assert.deepEqual(api.changes, ['POST /v1/login', 'DELETE /v1/login']);
  assert.equal(await page.getByRole('rowheader').count(), 0);
  assert.equal(await page.getByText('alice').isVisible(), false);
  assert.equal(await storage(page), '{}');
  await page.reload();
  await see(page.getByRole('heading', { name: 'Log in' }));
});

test('a login that has ended is asked for again', async () => {
  oneServer();
  const page = await enter();
  api.knowsCookie = false;
  await see(alert(page, 'Your login has ended. Log in again.'));
  assert.equal(await page.getByRole('rowheader').count(), 0);
  await page.getByRole('textbox', { name: 'User', exact: true }).fill('alice');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await see(row(page, 'web-1, port 0'));
});

test('where everyone is let in nobody is asked to log in, and nobody can log out', async () => {
  api.methods = [];
  api.who = { user: 'anonymous', project: 'admin', project_name: '', role: 'admin' };
  oneServer();
  const page = await visit();
  await see(row(page, 'web-1, port 0'));
  await see(page.getByText('anonymous admin in admin'));
  assert.equal(await tokenField(page).isVisible(), false);
  assert.equal(await button(page, 'Log out').isVisible(), false);
});
