// What people do on the servers page: consoles, power, logs, sessions.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { see } from './browser.mjs';
import {
  alert,
  api,
  button,
  cell,
  enter,
  focused,
  item,
  link,
  oneServer,
  openMenu,
  row,
  status,
} from './servers-stage.mjs';
import { id, line, server } from './servers.mjs';

// Consoles

test('names and Open are links to the console, and Watch is one that only watches', async () => {
  const { id: uuid } = oneServer();
  const page = await enter();
  const console = `console/${uuid}/0`;
  assert.equal(await link(page, 'web-1, port 0').getAttribute('href'), console);
  assert.equal(await link(page, 'Open web-1, port 0').getAttribute('href'), console);
  await openMenu(page, 'web-1, port 0');
  assert.equal(await item(page, 'Watch').getAttribute('href'), `${console}?mode=watch`);
  await page.keyboard.press('Escape');
  assert.equal(await focused(page), 'More for web-1, port 0');
  const [tab] = await Promise.all([
    page.context().waitForEvent('page'),
    link(page, 'Open web-1, port 0').click({ modifiers: ['Control'] }),
  ]);
  await tab.waitForURL(`${api.url}${console}`);
  await tab.close();
  await link(page, 'web-1, port 0').click();
  await page.waitForURL(`${api.url}${console}`);
  await page.goBack();
  await see(row(page, 'web-1, port 0'));
});

test('who may only watch is offered to watch', async () => {
  oneServer();
  api.servers[0].can = ['watch'];
  const page = await enter();
  await see(link(page, 'Watch web-1, port 0'));
  assert.equal(await link(page, 'Open web-1, port 0').count(), 0);
  await openMenu(page, 'web-1, port 0');
  assert.deepEqual(await page.getByRole('menuitem').allInnerTexts(), ['Watch', 'Log', 'Who is there…']);
  await item(page, 'Who is there…').click();
  await see(page.getByRole('dialog', { name: 'Port 0 of web-1' }).getByText('bob has been watching'));
  assert.equal(await page.getByRole('button', { name: /^Disconnect/ }).count(), 0);
});

test('the log is a file with what the port printed', async () => {
  const { id: uuid } = oneServer();
  api.servers[0].name = api.lines[0].server.name = '../web 1';
  const page = await enter();
  await openMenu(page, '../web 1, port 0');
  const [file] = await Promise.all([page.waitForEvent('download'), item(page, 'Log').click()]);
  assert.equal(file.suggestedFilename().replace(/^[._]+/, ''), 'web_1-0.log');
  assert.equal(await readFile(await file.path(), 'utf8'), 'what it printed');
  const asked = api.calls.filter(({ path }) => path.includes('/output')).map(({ path }) => path);
  assert.deepEqual(asked, [`/v1/lines/${uuid}/0/output?from=0&max=1048576`]);
});

// Power

test('a server is started at once, and stopped and rebooted only after a question', async () => {
  const web = oneServer();
  api.servers.push(server(2, { status: 'SHUTOFF' }));
  api.lines.push(line(api.servers[1], 0, { state: 'waiting', cause: 'stopped' }));
  const page = await enter();
  await openMenu(page, 'web-2, port 0');
  await item(page, 'Start').click();
  await see(status(page, 'web-2 was started.'));

  await openMenu(page, 'web-1, port 0');
  await item(page, 'Stop…').click();
  await see(page.getByRole('dialog', { name: 'Stop web-1?' }).getByText('alice is typing on port 0.'));
  assert.equal(await focused(page), 'Cancel');
  await page.keyboard.press('Enter');
  assert.equal(await focused(page), 'More for web-1, port 0');
  await openMenu(page, 'web-1, port 0');
  await item(page, 'Reboot…').click();
  await page.keyboard.press('Escape');
  assert.deepEqual(api.changes.slice(1), [`POST /v1/servers/${id(2)}/start`]);

  let stopped;
  api.instead.set(`POST /v1/servers/${web.id}/stop`, new Promise((resolve) => (stopped = resolve)));
  await openMenu(page, 'web-1, port 0');
  await item(page, 'Stop…').click();
  await button(page, 'Stop').click();
  await see(cell(page, 'web-1, port 0', 'State').getByText('stopping…'));
  await openMenu(page, 'web-1, port 0');
  await item(page, /^Reboot… stopping…$/).click({ force: true });
  assert.equal(await page.getByRole('dialog').isVisible(), false);
  await page.keyboard.press('Escape');
  api.servers[0].status = 'SHUTOFF';
  Object.assign(api.lines[0], { state: 'waiting', cause: 'stopped' });
  stopped([202, undefined]);
  await see(status(page, 'web-1 is off.'));
  await see(cell(page, 'web-1, port 0', 'State').getByText('off', { exact: true }));
});

test('what a server refuses is said in the words of the API', async () => {
  const web = oneServer();
  api.instead.set(`POST /v1/servers/${web.id}/reboot`, [
    409,
    { conflictingRequest: { code: 409, message: 'the guest does not react: use reset' } },
  ]);
  const page = await enter();
  await openMenu(page, 'web-1, port 0');
  await item(page, 'Reboot…').click();
  await button(page, 'Reboot').click();
  await see(alert(page, 'The guest does not react: use reset.'));
  await button(page, 'Dismiss').click();
  await alert(page, 'The guest does not react').waitFor({ state: 'hidden' });
});

test('a port that no hypervisor knows has no power, and runs only where it is reached', async () => {
  const can = ['watch', 'write', 'force'];
  const statics = [2, 3].map((number) => server(number, { static: true, can }));
  api.servers = [server(1), ...statics];
  api.lines = [line(statics[0]), line(statics[1], 0, { state: 'failed', reason: 'refused' })];
  const page = await enter();
  await openMenu(page, 'web-2, port 0');
  assert.deepEqual(await page.getByRole('menuitem').allInnerTexts(), ['Watch', 'Log', 'Who is there… nobody']);
  await page.keyboard.press('Escape');
  await openMenu(page, 'web-3, port 0');
  await item(page, 'Why it failed…').click();
  await see(alert(page, 'refused'));
  const state = (name) => cell(page, name, 'State').innerText();
  assert.equal(await state('web-2, port 0'), 'connected');
  assert.equal(await state('web-3, port 0'), 'failed');
});

test('what is impossible now says why, by the state of the server', async () => {
  const states = [
    ['ACTIVE', undefined, ['Pause…', 'Reboot…', 'Stop…'], 'it is running'],
    ['SHUTOFF', 'stopped', ['Start'], 'it is off'],
    ['PAUSED', 'paused', ['Resume'], 'it is paused'],
    ['ERROR', undefined, ['Start', 'Stop…'], 'it is in error'],
    // On a disk, asleep, and not known.
    ['SUSPENDED', 'stopped', ['Start'], 'it is suspended'],
    ['SUSPENDED', 'paused', ['Resume'], 'it is suspended'],
    ['SUSPENDED', undefined, ['Start', 'Resume'], 'it is suspended'],
    ['HOST_LOST', undefined, [], 'its host does not respond'],
  ];
  api.servers = states.map(([state], at) => server(at + 1, { status: state }));
  api.lines = states.map(([, cause], at) => line(api.servers[at], 0, { cause }));
  const page = await enter();
  for (const [at, [state, , offered, why]] of states.entries()) {
    await openMenu(page, `web-${at + 1}, port 0`);
    const power = page.getByRole('menuitem', { name: /^(Start|Resume|Pause|Reboot|Stop)/ });
    const [possible, not] = await power.evaluateAll((all) => {
      const isOff = (one) => one.ariaDisabled === 'true';
      return [all.filter((one) => !isOff(one)), all.filter(isOff)].map((some) => some.map((one) => one.innerText));
    });
    assert.deepEqual(possible, offered, state);
    assert.equal(not.length, 5 - offered.length);
    assert.ok(not.every((text) => text.endsWith(why)), String(not));
    await page.keyboard.press('Escape');
  }
});

// Sessions

test('a session is ended with a reason, which may be left out', async () => {
  oneServer();
  api.lines[0].writer.free_in = 40;
  Object.assign(api.sessions[0], { state: 'detached', ends_in: 41 });
  const page = await enter();
  await see(cell(page, 'web-1, port 0', 'Typing').getByText('lost the connection · 1 watching'));
  await see(cell(page, 'web-1, port 0', 'Typing').getByTitle(/, lost the connection, free in 40 s$/));
  await openMenu(page, 'web-1, port 0');
  await item(page, 'Who is there…').click();
  const people = page.getByRole('dialog', { name: 'Port 0 of web-1' });
  await see(
    people.getByText(
      /^alice has been typing since .* \(for 12 minutes\), from 192\.0\.2\.7:50123 \(console\.v1\), connection lost, ends in 41 s$/,
    ),
  );
  await button(page, 'Disconnect… alice, who is typing').click();
  await see(page.getByRole('dialog', { name: 'Disconnect alice?' }).getByText('port 0 of web-1'));
  await page.getByLabel('Reason').fill('maintenance & more');
  const [alice, bob] = api.sessions;
  api.sessions = [bob];
  await page.keyboard.press('Enter');
  await see(status(page, 'alice was disconnected'));
  await button(page, 'Disconnect… alice, who is typing').waitFor({ state: 'detached' });
  await button(page, 'Disconnect… bob, who is watching').click();
  assert.equal(await page.getByLabel('Reason').inputValue(), '');
  api.sessions = [];
  await button(page, 'Disconnect').click();
  await see(people.getByText('Nobody is there now.'));
  assert.deepEqual(api.changes.slice(1), [
    `DELETE /v1/sessions/${alice.id}?reason=maintenance+%26+more`,
    `DELETE /v1/sessions/${bob.id}`,
  ]);
  await button(page, 'Close').click();
  assert.equal(await people.isVisible(), false);
});
