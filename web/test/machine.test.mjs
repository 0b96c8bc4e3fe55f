// The machine's menu, and what a guest's state allows.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, paste, see } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const item = (page, name) => page.getByRole('menuitem', { name });
const ALL = { can: ['write', 'force', 'power'] };
const ALICE = 'a11ce000-0000-4000-8000-000000000000';

test('who types sends a break, where there is a machine to send it', async () => {
  const { page, session } = await at.attach(ALL);
  await choose(page, 'Machine', 'Send break');
  assert.deepEqual(await session.hears('break'), [{ type: 'break' }]);
});

test('a line without a machine offers none', async () => {
  const { page } = await at.attach({ can: ['write', 'force'] });
  await see(status(page, 'you are typing'));
  assert.equal(await button(page, 'Machine').isVisible(), false);
});

test('a paused guest is shown as paused, and goes on by one press', async () => {
  const { page, session } = await at.attach(ALL);
  await choose(page, 'Machine', 'Pause…');
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click();
  assert.deepEqual(await session.hears('power'), [{ type: 'power', do: 'pause' }]);
  const reason = 'connected; the guest is paused';
  session.say({ type: 'state', state: 'connected', reason, cause: 'paused' });
  await see(status(page, 'the guest is paused · you are typing'));
  assert.equal(await page.locator('#status').getAttribute('data-tone'), 'waiting');
  await page.keyboard.type('ls');
  await session.typed('ls');
  await see(status(page, 'The guest is paused: it reads what you type when it is resumed.'));
  await button(page, 'Machine').click();
  for (const name of ['Stop…', 'Reboot…', 'Pause…', 'Send break', 'Send SysRq…']) {
    assert.ok(await item(page, name).isDisabled(), name);
  }
  assert.ok(await item(page, 'Reset…').isEnabled());
  await page.keyboard.press('Escape');
  await button(page, 'Resume').click();
  assert.equal((await session.hears('power', 2))[1].do, 'resume');
  session.say({ type: 'state', state: 'connected', reason: 'connected' });
  await button(page, 'Resume').waitFor({ state: 'hidden' });
  await see(status(page, 'connected · you are typing'));
});

test('a guest that crashed is offered what does not need to be heard: reset, and power off', async () => {
  const { page, session } = await at.attach(ALL);
  const reason = 'connected; the guest crashed';
  session.say({ type: 'state', state: 'connected', reason, cause: 'crashed' });
  await see(status(page, 'the guest crashed · you are typing'));
  await page.keyboard.type('ls');
  await session.typed('ls');
  await see(status(page, 'The guest crashed: it reads nothing until you reset it.'));
  assert.equal(await button(page, 'Resume').isVisible(), false);
  await button(page, 'Machine').click();
  for (const name of ['Reset…', 'Stop…']) assert.ok(await item(page, name).isEnabled(), name);
  for (const name of ['Reboot…', 'Pause…', 'Send break', 'Send SysRq…']) {
    assert.ok(await item(page, name).isDisabled(), name);
  }
});

test('a guest that is paused already is shown as paused from the beginning', async () => {
  const { page } = await at.attach({ reason: 'the guest is paused', cause: 'paused' });
  await see(status(page, 'the guest is paused · you are typing'));
});

test('a watcher without power has no menu of the machine', async () => {
  const { page, session } = await at.attach({ mode: 'watch', can: ['write'] });
  session.pen('held', { holder: 'alice', session: ALICE });
  await see(status(page, 'alice is typing'));
  assert.equal(await button(page, 'Machine').isVisible(), false);
});

test('a watcher with power may stop the guest, and send neither break nor SysRq', async () => {
  const { page } = await at.attach({ mode: 'watch', can: ['power'] });
  await button(page, 'Machine').click();
  assert.ok(await item(page, 'Stop…').isEnabled());
  assert.ok(await item(page, 'Send break').isDisabled());
  assert.ok(await item(page, 'Send SysRq…').isDisabled());
});

test('a SysRq is chosen by what it does', async () => {
  const { page, session } = await at.attach(ALL);
  await choose(page, 'Machine', 'Send SysRq…');
  const dialog = page.getByRole('dialog', { name: 'Send a SysRq' });
  await dialog.getByLabel('Command').selectOption({ label: 's: write everything to the disks' });
  await dialog.getByRole('button', { name: 'Send' }).click();
  assert.deepEqual(await session.hears('sysrq'), [{ type: 'sysrq', key: 's' }]);
});

for (const [name, title, yes, action] of [
  ['Stop…', 'Stop web-1?', 'Stop', 'stop'],
  ['Reboot…', 'Reboot web-1?', 'Reboot', 'reboot'],
  ['Reset…', 'Reset web-1?', 'Reset', 'reset'],
  ['Send NMI…', 'Send an NMI to web-1?', 'Send NMI', 'nmi'],
]) {
  test(`${yes} is asked about first`, async () => {
    const { page, session } = await at.attach(ALL);
    await choose(page, 'Machine', name);
    const dialog = page.getByRole('dialog', { name: title });
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await choose(page, 'Machine', name);
    await dialog.getByRole('button', { name: yes, exact: true }).click();
    assert.deepEqual(await session.hears('power'), [{ type: 'power', do: action }]);
    session.say({ type: 'error', message: `${action}: the guest does not answer` });
    await see(status(page, `${action}: the guest does not answer`));
  });
}

test('a stopped guest is started by a button beside its state', async () => {
  const { page, session } = await at.attach({
    ...ALL,
    state: 'waiting',
    reason: 'the server is SHUTOFF',
    cause: 'stopped',
  });
  await see(status(page, 'waiting for the guest: the server is shut off'));
  await button(page, 'Machine').click();
  assert.ok(await item(page, 'Stop…').isDisabled());
  assert.ok(await item(page, 'Start').isEnabled());
  await page.keyboard.press('Escape');
  await button(page, 'Start').click();
  assert.deepEqual(await session.hears('power'), [{ type: 'power', do: 'start' }]);
  session.say({ type: 'state', state: 'connected', reason: 'connected' });
  await button(page, 'Start').waitFor({ state: 'hidden' });
});

test('a stopped guest offers no Start to who may not', async () => {
  const { page } = await at.attach({
    state: 'waiting',
    reason: 'the server is SHUTOFF',
    cause: 'stopped',
  });
  await see(status(page, 'waiting for the guest'));
  assert.equal(await button(page, 'Start').isVisible(), false);
});

for (const [state, reason, cause] of [
  ['waiting', "connecting to the guest's port", undefined],
  ['waiting', 'connecting again: connection refused', 'unreachable'],
  ['failed', 'connection refused', 'unreachable'],
]) {
  test(`a guest that runs and is not reached (${reason}) is stopped, not started`, async () => {
    const { page } = await at.attach({ ...ALL, state, reason, cause });
    await see(status(page, reason));
    assert.equal(await button(page, 'Start').isVisible(), false);
    await button(page, 'Machine').click();
    for (const name of ['Stop…', 'Reboot…', 'Reset…', 'Send NMI…', 'Send break']) {
      assert.ok(await item(page, name).isEnabled(), name);
    }
    assert.ok(await item(page, 'Start').isDisabled());
  });
}

test('a server that is gone offers nothing to do with it', async () => {
  const gone = { state: 'failed', reason: 'the server was deleted', cause: 'gone' };
  const { page } = await at.attach({ ...ALL, ...gone });
  await see(status(page, 'the server was deleted'));
  await button(page, 'Machine').click();
  const items = page.getByRole('menu', { name: 'Machine' }).getByRole('menuitem');
  assert.equal(await items.count(), 9);
  for (const one of await items.all()) assert.ok(await one.isDisabled(), await one.innerText());
});

test('nothing is pasted to a port that is not connected, which would drop it', async () => {
  const { page, session } = await at.attach();
  session.say({ type: 'state', state: 'failed', reason: 'refused', cause: 'unreachable' });
  await see(status(page, 'failed: refused'));
  assert.ok(await button(page, 'Paste').isDisabled());
  await paste(page, 'ls');
  await see(status(page, 'Not pasted: the serial port is not connected.'));
  await page.keyboard.press('Control+Shift+S');
  await see(status(page, 'Fit guest to window: the serial port is not connected.'));
  await choose(page, 'Keys', 'Send Ctrl+W');
  await session.typed('\x17');
  await see(status(page, 'The serial port is not connected: what you type is dropped.'));
  assert.equal(session.input.toString(), '\x17');
});
