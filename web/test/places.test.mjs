// Consoles by their address, `/console/SERVER/PORT`: without a token, for whoever is logged in.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { faint, see, seeInTerminal } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { CALLER, fleetServer } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const DESKTOP = { viewport: { width: 1280, height: 800 } };

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const alert = (page, text) => page.getByRole('alert').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const heading = (page, name) => page.getByRole('heading', { name });

/** Somebody is logged in, and sees three servers. */
function logIn() {
  at.proxy.caller = CALLER;
  at.proxy.fleet = [fleetServer(1), fleetServer(2), fleetServer(3, { status: 'SHUTOFF' })];
}

/** Opens the address of a console, with what Chromium says of refused calls no fault. */
async function visit(server, port = 0, options = DESKTOP, query = '') {
  const page = await at.page(options, at.proxy.url(query, `/console/${server}/${port}`));
  at.pages.pop();
  at.pages.push({ context: () => page.context(), faults: [] });
  return page;
}

const consoleCall = (number, query) =>
  `POST /v3/servers/${fleetServer(number).id}/get-serial-console?${query}`;

for (const [kind, options] of [
  ['a desktop', DESKTOP],
  ['a phone', PHONE],
]) {
  test(`on ${kind}, the address of a console opens it with a fresh token that is nowhere to be seen`, async () => {
    logIn();
    const page = await visit('web-1', 0, options);
    const session = await at.proxy.attempt();
    assert.equal(session.query.get('token'), 'fresh-1');
    session.hello({ server: at.proxy.fleet[0] });
    await see(heading(page, 'web-1 port 0'));
    assert.deepEqual(at.proxy.changes, [consoleCall(1, 'port=0&wait=1')]);
    assert.equal(page.url(), at.proxy.url('', '/console/web-1/0'));
    session.print('hello\r\n');
    await seeInTerminal(page, 'hello');
  });
}

test('a server is found by its UUID, and whoever may only watch gets a token for that', async () => {
  logIn();
  at.proxy.fleet[1].can = ['watch'];
  await visit(fleetServer(2).id, 3);
  const session = await at.proxy.attempt();
  assert.equal(session.query.get('mode'), 'watch');
  assert.deepEqual(at.proxy.changes, [consoleCall(2, 'port=3&wait=1&mode=watch')]);
});

test('an address may ask to watch', async () => {
  logIn();
  await visit('web-1', 0, DESKTOP, 'mode=watch');
  assert.equal((await at.proxy.attempt()).query.get('mode'), 'watch');
});

test('whoever is not logged in is led to the login', async () => {
  at.proxy.fleet = [fleetServer(1)];
  const page = await visit('web-1');
  await page.waitForURL((url) => url.pathname === '/');
  assert.equal(new URL(page.url()).searchParams.get('next'), 'console/web-1/0');
});

test('a server that there is not is said not to be there, and two of one name are told apart', async () => {
  logIn();
  const page = await visit('web-9');
  await see(alert(page, 'There is no server called “web-9”, or you may not see it.'));
  assert.equal(await button(page, 'Try again').isVisible(), false);
  await see(page.getByRole('link', { name: 'All servers' }));
  at.proxy.fleet[1].name = 'web-1';
  const other = await visit('web-1');
  await see(alert(other, 'You see 2 servers of this name. Choose one:'));
  await other.getByRole('link', { name: fleetServer(2).id }).click();
  await at.proxy.attempt();
  assert.deepEqual(at.proxy.changes, [consoleCall(2, 'port=0&wait=1')]);
});

test('an API that is away is said in words, and asked again when one wants', async () => {
  logIn();
  const message = 'the API cannot be reached: try again later';
  at.proxy.instead.set('GET /v1/servers', [502, { computeFault: { code: 502, message } }]);
  const page = await visit('web-1');
  await see(alert(page, 'The API cannot be reached: try again later.'));
  at.proxy.instead.clear();
  await button(page, 'Try again').click();
  (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0] });
  await see(heading(page, 'web-1 port 0'));
});

for (const [name, address] of [
  ['a/b', 'a%2Fb'],
  ['שרת 1', '%D7%A9%D7%A8%D7%AA%201'],
  ['x'.repeat(255), 'x'.repeat(255)],
  ['<img src=x onerror=alert(1)>', '%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E'],
]) {
  test(`a server called ${name.slice(0, 30)} has an address, too`, async () => {
    logIn();
    at.proxy.fleet[0].name = name;
    const page = await visit(address);
    (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0] });
    await see(heading(page, name));
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  });
}

test('whoever leaves and comes back by Back finds the session', async () => {
  logIn();
  const page = await visit('web-1');
  const session = await at.proxy.attempt();
  session.hello({ server: at.proxy.fleet[0], resume: 'key-of-the-first' });
  await see(heading(page, 'web-1 port 0'));
  await page.goto(at.proxy.url('', `/console/${fleetServer(2).id}/0`));
  (await at.proxy.attempt()).hello({ server: at.proxy.fleet[1], resume: 'key-of-the-second' });
  await see(heading(page, 'web-2 port 0'));
  await page.goBack();
  const back = await at.proxy.attempt();
  assert.equal(back.query.get('resume'), 'key-of-the-first');
  back.hello({ server: at.proxy.fleet[0] });
  await see(status(page, 'you are typing'));
});

// The header

for (const [kind, options] of [
  ['a desktop', DESKTOP],
  ['a phone', PHONE],
]) {
  test(`on ${kind}, the server's name opens a list of all consoles, with their states`, async () => {
    logIn();
    at.proxy.ports.set(fleetServer(2).id, [0, 1]);
    const page = await visit('web-1', 0, options);
    (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0] });
    await see(heading(page, 'web-1 port 0'));
    await page.locator('#server-button').click();
    const list = page.getByRole('dialog', { name: 'Switch server' });
    await see(list.getByRole('status').filter({ hasText: '4 of 4 ports' }));
    await see(list.getByRole('link', { name: 'web-1 running' }));
    await see(list.getByRole('link', { name: 'web-2 port 1 running' }));
    await see(list.getByRole('link', { name: 'web-3 off' }));
    assert.deepEqual(await faint(page), []);
    await list.getByRole('searchbox', { name: 'Filter by name' }).fill('WEB-2');
    await see(list.getByRole('status').filter({ hasText: '2 of 4 ports' }));
    await list.getByRole('link', { name: 'web-2 port 1' }).click();
    await page.waitForURL(at.proxy.url('', `/console/${fleetServer(2).id}/1`));
    (await at.proxy.attempt()).hello({ server: at.proxy.fleet[1], port: 1 });
    await see(heading(page, 'web-2 port 1'));
  });
}

test('the keyboard alone switches: Ctrl+Shift+O, a part of the name, Enter', async () => {
  logIn();
  const page = await visit('web-1');
  (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0] });
  await page.locator('#server-button').waitFor();
  await page.keyboard.press('Control+Shift+O');
  await see(page.getByText('3 of 3 ports'));
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.type('web-3');
  await see(page.getByText('1 of 3 ports'));
  await page.keyboard.press('Enter');
  await page.waitForURL(at.proxy.url('', `/console/${fleetServer(3).id}/0`));
  (await at.proxy.attempt()).hello({ server: at.proxy.fleet[2] });
  await see(heading(page, 'web-3 port 0'));
});

test('the ports of a server are tabs, and each keeps its session while one is away', async () => {
  logIn();
  at.proxy.ports.set(fleetServer(1).id, [0, 1]);
  const page = await visit('web-1');
  const first = await at.proxy.attempt();
  first.hello({ server: at.proxy.fleet[0], resume: 'key-of-port-0' });
  const tab = (name) => page.getByRole('tab', { name });
  await see(tab('Port 1'));
  assert.equal(await tab('Port 0').getAttribute('aria-selected'), 'true');
  await page.getByLabel('Terminal input').focus();
  await page.keyboard.type('half a line');
  await first.typed('half a line');
  // Nothing is asked before one leaves: the session stays.
  await tab('Port 1').click();
  (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0], port: 1, resume: 'key-of-port-1' });
  await see(heading(page, 'web-1 port 1'));
  await tab('Port 0').click();
  const back = await at.proxy.attempt();
  assert.equal(back.path, `/console/${fleetServer(1).id}/0`);
  await page.goBack();
  const again = await at.proxy.attempt();
  assert.equal(again.query.get('resume'), 'key-of-port-1');
});

test('a console URL alone shows its own port, and nothing that needs a login', async () => {
  at.proxy.fleet = [fleetServer(1)];
  at.proxy.ports.set(fleetServer(1).id, [0, 1]);
  const { page } = await at.attach({ server: fleetServer(1) });
  await see(page.getByRole('link', { name: 'All servers' }));
  assert.equal(await page.locator('#server-button').isVisible(), false);
  assert.equal(await page.getByRole('tab').count(), 0);
  await button(page, 'Menu').click();
  assert.deepEqual(await page.getByRole('menu', { name: 'Menu' }).getByRole('menuitem').allTextContents(), [
    'All servers',
  ]);
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Shift+O');
  await see(status(page, 'Log in at the servers page to switch to another server.'));
  await page.getByRole('link', { name: 'All servers' }).click();
  await page.waitForURL(at.proxy.url('', '/'));
});

test('the menu logs out, and leads to the servers page', async () => {
  logIn();
  const page = await visit('web-1');
  (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0] });
  await page.locator('#server-button').waitFor();
  await button(page, 'Menu').click();
  await page.getByRole('menuitem', { name: 'Log out' }).click();
  await page.waitForURL(at.proxy.url('', '/'));
  assert.equal(at.proxy.changes.at(-1), 'DELETE /v1/login?');
});

// Endings

test('an expired URL is replaced by itself where the browser is logged in', async () => {
  logIn();
  const page = await visit('web-1');
  const session = await at.proxy.attempt();
  session.hello({ server: at.proxy.fleet[0] });
  await see(status(page, 'you are typing'));
  session.close(4001, 'token missing, unknown or expired: ask for a new console URL');
  const next = await at.proxy.attempt();
  assert.equal(next.query.get('token'), 'fresh-2');
  next.hello({ server: at.proxy.fleet[0] });
  await see(status(page, 'you are typing'));
  // Not for ever: then it is offered.
  next.close(4001, 'token missing, unknown or expired: ask for a new console URL');
  await see(alert(page, 'This console URL has expired or was revoked.'));
  assert.equal(await alert(page, 'get-serial-console').count(), 0);
  await button(page, 'Open again').click();
  assert.equal((await at.proxy.attempt()).query.get('token'), 'fresh-3');
});

test('a guest that is off is waited for where the browser is logged in', async () => {
  logIn();
  const { page, session } = await at.attach({ server: at.proxy.fleet[0] });
  await page.locator('#server-button').waitFor();
  session.close(4009, 'stopped: the server is SHUTOFF');
  await see(alert(page, 'The guest is not running'));
  assert.equal(await button(page, 'Reconnect').isVisible(), false);
  await button(page, 'Wait for the guest').click();
  const waits = await at.proxy.attempt();
  assert.equal(waits.query.get('token'), 'fresh-1');
  assert.deepEqual(at.proxy.changes, [consoleCall(1, 'port=0&wait=1')]);
});

test('every ending leads to all servers, and a login that has ended meanwhile to the login', async () => {
  logIn();
  const page = await visit('web-1');
  const session = await at.proxy.attempt();
  session.hello({ server: at.proxy.fleet[0] });
  await page.locator('#server-button').waitFor();
  session.close(4007, 'idle');
  await see(page.locator('#offers').getByRole('button', { name: 'All servers' }));
  await button(page, 'Reconnect').click();
  at.proxy.caller = null;
  (await at.proxy.attempt()).close(4001, 'token missing, unknown or expired: ask for a new console URL');
  await page.waitForURL((url) => url.searchParams.get('next') === 'console/web-1/0');
});

for (const colorScheme of ['light', 'dark']) {
  test(`every text of the header has enough contrast where the system is ${colorScheme}`, async () => {
    logIn();
    at.proxy.ports.set(fleetServer(1).id, [0, 1]);
    const page = await visit('web-1', 0, { ...DESKTOP, colorScheme });
    (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0] });
    await see(page.getByRole('tab', { name: 'Port 1' }));
    await button(page, 'Menu').click();
    assert.deepEqual(await faint(page), []);
  });
}
