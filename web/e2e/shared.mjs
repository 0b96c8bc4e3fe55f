// Two people at one port: busy, watching, taking over, thrown off.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { see, seeInTerminal } from '../test/browser.mjs';
import { Guest, alert, button, call, consoleUrl, offer, stage, status, story } from './story.mjs';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

/** What the strip says to who watches alice. */
const ALICE_TYPES = /^alice is typing \(since \d\d:\d\d\)\. You are watching\.$/;

const attached = (page, count) => page.getByRole('list', { name: `${count} attached` });

/** Alice types, and bob, who came second, watches at once. */
async function aliceAndBob() {
  const alice = await at.open(await consoleUrl('alice'));
  await see(status(alice, 'connected · you are typing'));
  const bob = await at.open(await consoleUrl('bob'));
  await see(status(bob, ALICE_TYPES));
  await see(attached(bob, 2));
  return { alice, bob };
}

test('who comes second watches what the first types, and types nothing', async () => {
  const { alice, bob } = await aliceAndBob();
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
  await see(status(bob, 'connected · you are typing'));
  await see(alert(alice, 'bob took over typing. You are watching now.'));
  await see(status(alice, /^bob is typing \(since \d\d:\d\d\)\. You are watching\.$/));
  await alice.keyboard.type('not any more');
  await bob.keyboard.type('b');
  await guest.hears('b');
  guest.print('typed by bob');
  await seeInTerminal(alice, 'typed by bob');
  await seeInTerminal(bob, 'typed by bob');
});

test('who watches asks to type, is kept waiting, and is given it', async () => {
  const { alice, bob } = await aliceAndBob();
  await see(attached(bob, 2).getByRole('img', { name: 'alice is typing' }));
  await see(attached(alice, 2).getByRole('img', { name: 'bob is watching' }));
  await button(bob, 'Ask to type').click();
  await bob.getByLabel('Reason (they see it)').fill('the disk is full');
  await bob.keyboard.press('Enter');
  await see(status(bob, 'You asked alice to let you type.'));
  await see(bob.getByText(/^Without an answer, you can type in \d+ s\.$/));
  await see(alert(alice, 'bob asks to type: the disk is full.'));
  await button(alice, 'Keep typing').click();
  await see(alert(bob, /^alice keeps typing/));
  await alice.locator('#screen').click();
  await alice.keyboard.type('a');
  await guest.hears('a');

  await button(bob, 'Ask to type').click();
  await bob.getByRole('dialog').getByRole('button', { name: 'Ask' }).click();
  await button(alice, 'Let them type').click();
  await see(status(bob, 'connected · you are typing'));
  await see(alert(alice, 'You are watching now.'));
  await alice.keyboard.type('not any more');
  await bob.keyboard.type('b');
  await guest.hears('b');
});

test('who watches sees the grid of who is typing', async () => {
  const { bob } = await aliceAndBob();
  await bob.setViewportSize({ width: 500, height: 700 });
  await bob.locator('#screen[data-grid=theirs]').waitFor();
  const line = 'x'.repeat(110);
  guest.print(`\x1b[2J\x1b[H${line}\r\nnext`);
  await seeInTerminal(bob, `${line}\nnext`);
});

test('one person goes on typing in another window by one press', async () => {
  const first = await at.open(await consoleUrl('alice'));
  await see(status(first, 'you are typing'));
  const second = await at.open(await consoleUrl('alice'));
  await see(status(second, 'You have this console open in another window.'));
  await button(second, 'Use it here').click();
  await see(status(second, 'you are typing'));
  await see(status(first, 'You have this console open in another window.'));
  await first.keyboard.type('first');
  await second.keyboard.type('second');
  await guest.hears('second');
});

test('who is thrown off by the API reads by whom and why, and comes back at a click', async () => {
  const page = await at.open(await consoleUrl('alice'));
  await see(status(page, 'you are typing'));
  const path = `/v3/servers/${story.server}/disconnect-serial-console?reason=maintenance`;
  await call('POST', path, { user: 'root' });
  await see(alert(page, 'root disconnected you: maintenance. Reconnect, or watch.'));
  await see(status(page, 'closed: disconnected'));
  await page.keyboard.type('lost');
  await offer(page, 'Reconnect').click();
  await see(status(page, 'connected · you are typing'));
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
  await focused(alice, 'Search');
  for (const name of ['Copy', 'Paste', 'Share', 'View', 'Keys', 'More']) {
    await alice.keyboard.press('Tab');
    await focused(alice, name);
  }
  await alice.keyboard.press('Enter');
  await alice.keyboard.press('End');
  await alice.keyboard.press('ArrowUp');
  await focused(alice, 'Reconnect');
  await alice.keyboard.press('Enter');
  await see(status(alice, 'connected · you are typing'));
  await focused(alice, 'Terminal input');

  guest.print('seen');
  await seeInTerminal(bob, 'seen');
  // Who watches leaves the terminal by Tab, too.
  await focused(bob, 'Terminal input');
  await bob.keyboard.press('Shift+Tab');
  await focused(bob, 'Take over…');
  await bob.keyboard.press('Shift+Tab');
  await focused(bob, 'Ask to type');
});

test('a phone of 360 px shows what happens on a busy console', async () => {
  const alice = await at.open(await consoleUrl('alice'));
  await see(status(alice, 'you are typing'));
  const phone = await at.open(await consoleUrl('bob'), { viewport: { width: 360, height: 640 } });
  await see(status(phone, ALICE_TYPES));
  await see(attached(phone, 2));
  const overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(overflow, 0);
});
