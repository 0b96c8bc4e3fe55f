// When no console comes about: what is wrong is named, and what to do is offered.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { blank, see } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const alert = (page, text) => page.getByRole('alert').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });

/** A page that is prepared before it opens the console URL; what Chromium says of failures is no fault. */
async function prepared(prepare) {
  const page = await blank(at.browser);
  await prepare(page);
  await page.goto(at.proxy.url());
  at.pages.push({ context: () => page.context(), faults: [] });
  return page;
}

test('a reverse proxy that strips the Upgrade header is named, and the page goes on trying', async () => {
  const { http } = at.proxy;
  const [upgrade] = http.listeners('upgrade');
  http.removeAllListeners('upgrade');
  const page = await prepared((page) => page.clock.install());
  const host = new URL(at.proxy.url()).host;
  await see(alert(page, `WebSockets to ${host} are blocked, perhaps by a reverse proxy.`));
  await see(alert(page, 'pass on the Upgrade and Connection headers'));
  const help = await page.getByRole('link', { name: 'Reverse proxies: what to configure' }).getAttribute('href');
  const text = await (await fetch(new URL(help, page.url()))).text();
  assert.match(text, /^# Reverse proxies and load balancers/);
  await see(status(page, 'WebSockets are blocked, trying again'));
  // The clock stands, so the next attempt is that of the button.
  await page.clock.pauseAt(Date.now() + 60_000);
  await see(page.getByText(/Trying again in \d+ s/));
  http.on('upgrade', upgrade);
  await button(page, 'Reconnect now').click();
  await at.proxy.admit();
  await see(status(page, 'you are typing'));
});

test('a firewall that swallows WebSockets is named after a while', async () => {
  const swallow = (request, socket) => socket.resume().on('end', () => socket.destroy());
  at.proxy.http.removeAllListeners('upgrade').on('upgrade', swallow);
  const page = await prepared((page) => page.clock.install());
  await see(status(page, 'connecting …'));
  await page.clock.runFor(6000);
  await see(status(page, 'connecting …, no answer yet'));
  await page.clock.runFor(25_000);
  await see(alert(page, 'are blocked, perhaps by a reverse proxy.'));
});

for (const [how, script] of [
  ['has no WebSockets', 'delete window.WebSocket'],
  ['forbids WebSockets', 'window.WebSocket = class { constructor() { throw new Error("no") } }'],
]) {
  test(`a browser that ${how} is told so`, async () => {
    const page = await prepared((page) => page.addInitScript(script));
    await see(alert(page, 'This browser cannot open WebSockets'));
    await see(status(page, 'closed: no WebSockets'));
  });
}

test('one attempt that fails while the proxy starts is no blocked WebSocket', async () => {
  const { http } = at.proxy;
  const [upgrade] = http.listeners('upgrade');
  http.removeAllListeners('upgrade').once('upgrade', (request, socket) => {
    http.on('upgrade', upgrade);
    socket.destroy();
  });
  const page = await prepared(() => {});
  await at.proxy.admit();
  await see(status(page, 'you are typing'));
  assert.equal(await alert(page, 'WebSocket').isVisible(), false);
});

test('a host that is drained is named as the reason, and asked again only by hand', async () => {
  const page = await prepared(() => {});
  const refused = await at.proxy.attempt();
  refused.close(4015, 'draining: the host of this server is being drained and takes no new sessions');
  await see(alert(page, 'The host of this server takes no new sessions, because it is being drained.'));
  await button(page, 'Reconnect').click();
  await at.proxy.admit();
  await see(status(page, 'you are typing'));
});

test('an expired URL leads to the servers page, to its server', async () => {
  const { page, session } = await at.attach({ server: { id: 'x', name: 'web 1' } });
  session.close(4001, 'token missing, unknown or expired: ask for a new console URL');
  await see(alert(page, 'This console URL has expired or was revoked.'));
  assert.equal(await button(page, 'Reconnect').isVisible(), false);
  // The servers page takes the name out of its address.
  const visited = [];
  page.on('framenavigated', (frame) => visited.push(new URL(frame.url()).hash));
  await button(page, 'All servers').click();
  await page.waitForURL((url) => url.pathname === '/');
  assert.equal(visited[0], '#web%201');
});

test('an expired URL gives the command that makes a new one', async () => {
  const { page, session } = await at.attach(
    {},
    { permissions: ['clipboard-read', 'clipboard-write'] },
  );
  session.close(4001, 'token missing, unknown or expired: ask for a new console URL');
  await button(page, 'Copy the command').click();
  const command = 'serialproxy get-serial-console web-1 serial';
  await see(status(page, `Copied: ${command}`));
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), command);
});

test('a proxy without a servers page offers none', async () => {
  at.proxy.servers = false;
  const { page, session } = await at.attach();
  session.close(4001, 'token missing, unknown or expired: ask for a new console URL');
  await see(button(page, 'Copy the command'));
  assert.equal(await button(page, 'All servers').isVisible(), false);
  const lost = await at.page({}, at.proxy.url('', '/serial.html'));
  await see(lost.getByRole('heading', { name: 'This page needs a console URL' }));
  await lost.getByText('the servers page').waitFor({ state: 'hidden' });
});
