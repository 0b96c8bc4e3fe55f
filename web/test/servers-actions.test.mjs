// What people do on the servers page: consoles, power, sessions.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see } from './browser.mjs';
import { alert, api, button, card, enter, focused, oneServer, port, storage } from './servers-stage.mjs';
import { TOKEN, id, line, server } from './servers.mjs';

// Consoles

test('a console opens in a tab that can type, or watch, and knows nothing of this one', async () => {
  const { id: uuid } = oneServer();
  const page = await enter();
  for (const [name, query] of [
    ['Open', '?port=0&wait=1'],
    ['Watch', '?port=0&wait=1&mode=watch'],
  ]) {
    const [tab] = await Promise.all([
      page.waitForEvent('popup'),
      button(page, `${name} port 0 of web-1`).click(),
    ]);
    // The scripted proxy has no consoles: the page there says that it cannot be reached.
    await tab.getByRole('heading', { name: 'Console' }).waitFor();
    assert.equal(api.changes.at(-1), `POST /v3/servers/${uuid}/get-serial-console${query}`);
    assert.equal(await tab.evaluate(() => window.opener), null);
    assert.ok(!(await storage(tab)).includes(TOKEN));
    await tab.close();
  }
  assert.ok((await storage(page)).includes(TOKEN));
});

test('a console that is not to be had is explained, and leaves no empty tab', async () => {
  const { id: uuid } = oneServer();
  const message = 'Unavailable console type serial.';
  api.instead.set(`POST /v3/servers/${uuid}/get-serial-console`, [
    400,
    { badRequest: { code: 400, message } },
  ]);
  const page = await enter();
  const [tab] = await Promise.all([
    page.waitForEvent('popup'),
    button(page, 'Open port 0 of web-1').click(),
  ]);
  if (!tab.isClosed()) await tab.waitForEvent('close');
  await see(alert(page, message));
  await button(page, 'Dismiss').click();
  await alert(page, message).waitFor({ state: 'hidden' });
});

test('where the browser forbids a new tab there is a link instead', async () => {
  oneServer();
  const page = await enter();
  await page.evaluate(() => {
    window.open = () => null;
  });
  await button(page, 'Open port 0 of web-1').click();
  const link = page.getByRole('link', { name: 'Open the console' });
  await see(link);
  assert.equal(await link.getAttribute('href'), `${api.url}?token=of-a-console`);
  assert.match(await link.getAttribute('rel'), /noopener/);
});

// Power and sessions

test('a server is started at once, and stopped and rebooted only after a question', async () => {
  const web = oneServer();
  api.servers.push(server(2, { status: 'SHUTOFF' }));
  const page = await enter();
  await button(page, 'Start web-2').click();
  await see(page.getByRole('status').filter({ hasText: 'web-2 was started.' }));

  await button(page, 'Stop web-1').click();
  await see(page.getByRole('dialog', { name: 'Stop web-1?' }).getByText('alice is typing on port 0.'));
  assert.equal(await focused(page), 'Cancel');
  await page.keyboard.press('Enter');
  assert.equal(await focused(page), 'Stop web-1');
  await button(page, 'Reboot web-1').click();
  await page.keyboard.press('Escape');
  assert.deepEqual(api.changes, [`POST /v1/servers/${id(2)}/start`]);

  let stopped;
  api.instead.set(
    `POST /v1/servers/${web.id}/stop`,
    new Promise((resolve) => (stopped = resolve)),
  );
  await button(page, 'Stop web-1').click();
  await button(page, 'Stop').click();
  await see(card(page, 'web-1').getByText('stopping…'));
  await button(page, 'Stop web-1').click({ force: true });
  assert.equal(await page.getByRole('dialog').isVisible(), false);
  api.servers[0].status = 'SHUTOFF';
  stopped([202, undefined]);
  await see(page.getByRole('status').filter({ hasText: 'web-1 is off.' }));
  await see(button(page, 'Start web-1'));
  await see(card(page, 'web-1').getByText('off', { exact: true }));
});

test('what a server refuses is said in the words of the API', async () => {
  const web = oneServer();
  api.instead.set(`POST /v1/servers/${web.id}/reboot`, [
    409,
    { conflictingRequest: { code: 409, message: 'the guest does not react: use reset' } },
  ]);
  const page = await enter();
  await button(page, 'Reboot web-1').click();
  await button(page, 'Reboot').click();
  await see(alert(page, 'The guest does not react: use reset.'));
});

test('a port that no hypervisor knows has no power buttons, and runs only where it is reached', async () => {
  const can = ['watch', 'write', 'force'];
  const statics = [2, 3].map((number) => server(number, { static: true, can }));
  api.servers = [server(1), ...statics];
  api.lines = [line(statics[0]), line(statics[1], 0, { state: 'failed', reason: 'refused' })];
  const page = await enter();
  await see(button(page, 'Stop web-1'));
  assert.equal(await button(page, 'Stop web-2').isVisible(), false);
  const tone = (name) => card(page, name).locator('.status').getAttribute('data-tone');
  await see(card(page, 'web-2').getByText('serial port, reachable'));
  assert.equal(await tone('web-2'), 'good');
  await see(card(page, 'web-3').getByText('serial port, unreachable'));
  assert.equal(await tone('web-3'), 'bad');
  assert.equal(await card(page, 'web-3').getByText('running').count(), 0);
});

test('who may only watch is offered to watch', async () => {
  oneServer();
  api.servers[0].can = ['watch'];
  const page = await enter();
  await see(button(page, 'Watch port 0 of web-1'));
  await page.getByText('2 sessions').click();
  await see(page.getByText(/^has been typing since/));
  for (const name of ['Open port 0 of web-1', 'Stop web-1', 'Reboot web-1', 'Pause web-1']) {
    assert.equal(await button(page, name).isVisible(), false, name);
  }
  assert.equal(await page.getByRole('button', { name: /^Disconnect/ }).count(), 0);
});

test('a paused guest is shown as paused, and goes on when it is resumed', async () => {
  const web = oneServer();
  const page = await enter();
  await button(page, 'Pause web-1').click();
  await see(page.getByRole('dialog', { name: 'Pause web-1?' }).getByText('alice is typing on port 0.'));
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
  await see(page.getByRole('status').filter({ hasText: 'web-1 is paused.' }));
  api.servers[0].status = 'PAUSED';
  Object.assign(api.lines[0], { cause: 'paused', reason: 'connected; the guest is paused' });
  await see(card(page, 'web-1').locator('.status').getByText('paused'));
  await see(port(page, 0, 'web-1').getByText('connected: the guest is paused'));
  assert.equal(await button(page, 'Stop web-1').isVisible(), false);
  await button(page, 'Resume web-1').click();
  await see(page.getByRole('status').filter({ hasText: 'web-1 was resumed.' }));
  const path = `POST /v1/servers/${web.id}`;
  assert.deepEqual(api.changes, [`${path}/pause`, `${path}/resume`]);
});

test('the power that is offered is what the state of a server allows', async () => {
  const states = [
    ['ACTIVE', undefined, ['Pause', 'Reboot', 'Stop']],
    ['SHUTOFF', 'stopped', ['Start']],
    ['PAUSED', 'paused', ['Resume']],
    ['ERROR', undefined, ['Start', 'Stop']],
    // On a disk, asleep, and not known.
    ['HOST_LOST', undefined, []],
    ['SUSPENDED', 'stopped', ['Start']],
    ['SUSPENDED', 'paused', ['Resume']],
    ['SUSPENDED', undefined, ['Start', 'Resume']],
  ];
  api.servers = states.map(([status], at) => server(at + 1, { status }));
  api.lines = states.map(([, cause], at) => line(api.servers[at], 0, { cause }));
  const page = await enter();
  for (const [at, [status, , offered]] of states.entries()) {
    const power = page.getByRole('group', { name: `Power of web-${at + 1}` }).getByRole('button');
    assert.deepEqual(await power.allInnerTexts(), offered, status);
  }
});

test('who lost the connection is no one who just types', async () => {
  oneServer();
  api.lines[0].writer.free_in = 40;
  Object.assign(api.sessions[0], { state: 'detached', ends_in: 41 });
  const page = await enter();
  await see(port(page, 0, 'web-1').getByText(/^alice has been typing .*, lost the connection, free in 40 s, 1/));
  await page.getByText('2 sessions').click();
  await see(page.getByText(/connection lost, ends in 41 s$/));
});

test('a session is ended with a reason, which may be left out', async () => {
  oneServer();
  const page = await enter();
  await page.getByText('2 sessions').click();
  await see(page.getByText(/^has been typing since .* \(for 12 minutes\), from 192\.0\.2\.7:50123 \(console\.v1\)$/));
  await button(page, 'Disconnect… alice, who is typing').click();
  await see(page.getByRole('dialog', { name: 'Disconnect alice?' }).getByText('port 0 of web-1'));
  await page.getByLabel('Reason').fill('maintenance & more');
  await page.keyboard.press('Enter');
  await see(page.getByRole('status').filter({ hasText: 'alice was disconnected' }));
  await button(page, 'Disconnect… bob, who is watching').click();
  assert.equal(await page.getByLabel('Reason').inputValue(), '');
  await button(page, 'Disconnect').click();
  await see(page.getByRole('status').filter({ hasText: 'bob was disconnected' }));
  const [alice, bob] = api.sessions;
  assert.deepEqual(api.changes, [
    `DELETE /v1/sessions/${alice.id}?reason=maintenance+%26+more`,
    `DELETE /v1/sessions/${bob.id}`,
  ]);
});
