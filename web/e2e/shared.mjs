// Two people at one port: busy, watching, taking over, thrown off.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { see, seeInTerminal, terminalText } from '../test/browser.mjs';
import { Guest, alert, button, call, consoleUrl, offer, stage, status, story } from './story.mjs';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

/** Alice writes, and bob, who came second, is told so. */
async function aliceAndBob() {
  const alice = await at.open(await consoleUrl('alice'));
  await see(status(alice, 'connected · you write'));
  const bob = await at.open(await consoleUrl('bob'));
  await see(alert(bob, /^alice has been typing here since \d\d:\d\d \(for less than a minute\)\./));
  await see(status(bob, 'closed: alice writes'));
  return { alice, bob };
}

test('who comes second watches what the first types, and types nothing', async () => {
  const { alice, bob } = await aliceAndBob();
  await button(bob, 'Watch').click();
  await see(status(bob, 'connected · alice writes, you watch · 2 attached'));
  await bob.keyboard.type('rm -rf /\r');
  await alice.keyboard.type('ls');
  await guest.hears('ls');
  guest.print('ls\r\nto be seen by both\r\n');
  await seeInTerminal(alice, 'to be seen by both');
  await seeInTerminal(bob, 'to be seen by both');
  await alice.keyboard.type('\r');
  await guest.hears('\r');
});

test('who comes second takes over after a question, and the first goes on watching', async () => {
  const { alice, bob } = await aliceAndBob();
  await button(bob, 'Take over…').click();
  const question = bob.getByRole('dialog', { name: 'Take over from alice?' });
  await question.getByRole('button', { name: 'Cancel' }).click();
  await alice.keyboard.type('a');
  await guest.hears('a');
  await button(bob, 'Take over…').click();
  await question.getByRole('button', { name: 'Take over' }).click();
  await see(status(bob, 'connected · you write · 2 attached'));
  await see(alert(alice, 'bob took over typing. You watch now.'));
  await see(status(alice, 'connected · bob writes, you watch · 2 attached'));
  await alice.keyboard.type('not any more');
  await bob.keyboard.type('b');
  await guest.hears('b');
  guest.print('typed by bob');
  await seeInTerminal(alice, 'typed by bob');
  await seeInTerminal(bob, 'typed by bob');
});

test('who watches asks for the pen, is kept waiting, and is given it', async () => {
  const { alice, bob } = await aliceAndBob();
  await button(bob, 'Watch').click();
  await see(status(bob, '2 attached: you, alice'));
  await see(status(alice, '2 attached: you, bob'));
  await button(bob, 'Ask to write').click();
  await bob.getByLabel('Reason, for them to read').fill('the disk is full');
  await bob.keyboard.press('Enter');
  await see(bob.getByText(/^Asked alice to let you write: \d+ s left to refuse\.$/));
  await see(alert(alice, 'bob asks to write: the disk is full.'));
  await button(alice, 'Keep').click();
  await see(alert(bob, /^alice keeps the pen/));
  await alice.locator('#screen').click();
  await alice.keyboard.type('a');
  await guest.hears('a');

  await button(bob, 'Ask to write').click();
  await bob.getByRole('dialog').getByRole('button', { name: 'Ask' }).click();
  await button(alice, 'Give').click();
  await see(status(bob, 'connected · you write'));
  await see(alert(alice, 'You watch now.'));
  await alice.keyboard.type('not any more');
  await bob.keyboard.type('b');
  await guest.hears('b');
});

test('who watches sees the grid of who writes', async () => {
  const { bob } = await aliceAndBob();
  await button(bob, 'Watch').click();
  await see(status(bob, 'alice writes, you watch'));
  await bob.setViewportSize({ width: 500, height: 700 });
  await bob.locator('#screen[data-grid=theirs]').waitFor();
  const line = 'x'.repeat(110);
  guest.print(`\x1b[2J\x1b[H${line}\r\nnext`);
  await seeInTerminal(bob, `${line}\nnext`);
});

test('one person takes over from their own other window', async () => {
  const first = await at.open(await consoleUrl('alice'));
  await see(status(first, 'you write'));
  const second = await at.open(await consoleUrl('alice'));
  await button(second, 'Take over…').click();
  await second.getByRole('dialog').getByRole('button', { name: 'Take over' }).click();
  await see(status(second, 'you write'));
  await see(status(first, 'alice writes, you watch'));
  await first.keyboard.type('first');
  await second.keyboard.type('second');
  await guest.hears('second');
});

test('who is thrown off by the API reads by whom and why, and comes back at a click', async () => {
  const page = await at.open(await consoleUrl('alice'));
  await see(status(page, 'you write'));
  const path = `/v3/servers/${story.server}/disconnect-serial-console?reason=maintenance`;
  await call('POST', path, { user: 'root' });
  await see(alert(page, 'An administrator (root) disconnected you: maintenance.'));
  await see(status(page, 'closed: disconnected'));
  await page.keyboard.type('lost');
  await offer(page, 'Reconnect').click();
  await see(status(page, 'connected · you write'));
  await page.keyboard.type('back');
  await guest.hears('back');
});

test('the keyboard alone is enough: out of the terminal, to the tools, and through a notice', async () => {
  const focused = (page, name) =>
    page.waitForFunction((wanted) => {
      const { activeElement } = document;
      return (activeElement.ariaLabel ?? activeElement.textContent) === wanted;
    }, name);
  const { alice, bob } = await aliceAndBob();
  await focused(alice, 'Terminal input');
  await alice.keyboard.press('Tab');
  await guest.hears('\t');
  await alice.keyboard.press('Shift+F6');
  await focused(alice, 'Copy');
  for (const name of ['Paste', 'Search', 'Keys', 'More']) {
    await alice.keyboard.press('Tab');
    await focused(alice, name);
  }
  await alice.keyboard.press('Enter');
  await alice.keyboard.press('End');
  await alice.keyboard.press('ArrowUp');
  await focused(alice, 'Reconnect');
  await alice.keyboard.press('Enter');
  await see(status(alice, 'connected · you write'));
  await focused(alice, 'Terminal input');

  await bob.keyboard.press('Tab');
  await focused(bob, 'Watch');
  await bob.keyboard.press('Enter');
  await see(status(bob, 'alice writes, you watch'));
  guest.print('seen');
  await seeInTerminal(bob, 'seen');
  assert.ok(!(await terminalText(bob)).includes('\t'));
});

test('a phone of 360 px shows a busy console and lets it be watched', async () => {
  const alice = await at.open(await consoleUrl('alice'));
  await see(status(alice, 'you write'));
  const phone = await at.open(await consoleUrl('bob'), { viewport: { width: 360, height: 640 } });
  await see(alert(phone, 'alice has been typing here'));
  await button(phone, 'Watch').click();
  await see(status(phone, 'connected · alice writes, you watch · 2 attached'));
  const overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(overflow, 0);
});
