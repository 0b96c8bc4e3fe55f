// A network that breaks, a tab that is loaded again, a second window: the session goes on.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { choose, see, seeInTerminal, terminalText } from '../test/browser.mjs';
import { Cable, Guest, alert, button, consoleUrl, eventually, stage, status } from './story.mjs';

const at = stage();
let guest;
let cable;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());
beforeEach(async () => {
  cable = await Cable.lay(await consoleUrl());
});
afterEach(() => cable.remove());

/** A page that writes, over the cable. */
async function attached() {
  const page = await at.open(cable.url(await consoleUrl()));
  await see(status(page, 'connected · you are typing'));
  return page;
}

/** Cuts the cable, and waits until the page knows. */
async function cut(page) {
  cable.break();
  await see(alert(page, /^The (connection was lost|proxy cannot be reached)\./));
}

/** Chromium reports attempts and calls that failed while the cable was cut. */
function forgiveAttempts(page) {
  page.faults = page.faults.filter((fault) => !/WebSocket connection|net::ERR_/.test(fault));
}

test('output and input of a time without a network arrive once and in order', async () => {
  const page = await attached();
  guest.print('before\r\n');
  await seeInTerminal(page, 'before');
  await page.keyboard.type('one ');
  await guest.hears('one ');
  await cut(page);
  await see(page.getByText(/your session is kept for \d+ s more/));
  guest.print('meanwhile\r\n');
  await page.keyboard.type('two ');
  cable.mend();
  await seeInTerminal(page, 'before\nmeanwhile');
  await see(status(page, 'connected · you are typing'));
  await page.keyboard.type('three');
  await guest.hears('two three');
  guest.print('after');
  await seeInTerminal(page, 'before\nmeanwhile\nafter');
  assert.doesNotMatch(await terminalText(page), /missing|skipped|not sent/);
  forgiveAttempts(page);
});

test('many breaks while lines are printed and typed lose nothing and repeat nothing', async () => {
  const page = await attached();
  let typed = '';
  for (let round = 0; round < 6; round += 1) {
    guest.print(`line ${round}\r\n`);
    await page.keyboard.type(`${round},`);
    typed += `${round},`;
    await cut(page);
    await page.keyboard.type(`${round}.`);
    typed += `${round}.`;
    cable.mend();
    await see(status(page, 'connected · you are typing'));
  }
  await guest.hears(typed);
  const lines = Array.from({ length: 6 }, (_, round) => `line ${round}`).join('\n');
  await seeInTerminal(page, lines);
  forgiveAttempts(page);
});

test('a tab that is loaded again keeps typing and shows the screen', async () => {
  const page = await attached();
  guest.print('\x1b[2J\x1b[H\x1b[31mon the screen\x1b[0m');
  await seeInTerminal(page, 'on the screen');
  await page.reload();
  await see(status(page, /connected · you are typing$/));
  await seeInTerminal(page, 'on the screen');
  await page.keyboard.type('typed');
  await guest.hears('typed');
});

test('a second window takes the session over, and the first has it back at a press', async () => {
  const page = await attached();
  const opened = page.context().waitForEvent('page');
  await choose(page, 'More', 'Open in new window');
  const other = await opened;
  await see(status(other, 'connected · you are typing'));
  await see(alert(page, 'This session is now open in another window.'));
  await other.keyboard.type('there');
  await guest.hears('there');
  await button(page, 'Use it here').click();
  await see(status(page, 'connected · you are typing'));
  await see(alert(other, 'This session is now open in another window.'));
  await page.keyboard.type('here');
  await guest.hears('here');
});

test('who leaves frees the pen at once', async () => {
  const page = await attached();
  await choose(page, 'More', 'Leave');
  await see(alert(page, 'You left the console'));
  const bob = await at.open(await consoleUrl('bob'));
  await see(status(bob, 'connected · you are typing'));
});

test('a paste arrives whole, and Ctrl+C stops the next', async () => {
  const page = await attached();
  const paste = (text) =>
    page.evaluate((pasted) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', pasted);
      const event = { clipboardData, bubbles: true, cancelable: true };
      document.activeElement.dispatchEvent(new ClipboardEvent('paste', event));
    }, text);
  const lines = Array.from({ length: 400 }, (_, line) => `line ${line}\n`).join('');
  await paste(lines);
  await page.getByRole('dialog').getByRole('button', { name: 'Paste' }).click();
  await see(page.getByText(/^Pasting: /));
  await guest.hears(lines.replaceAll('\n', '\r'));
  await paste(lines.repeat(20));
  await page.getByRole('dialog').getByRole('button', { name: 'Paste' }).click();
  await see(page.getByText(/^Pasting: /));
  await page.keyboard.press('Control+c');
  await eventually('Ctrl+C arrives', () => guest.typed.at(-1) === 3);
  assert.ok(guest.typed.length < lines.length * 20);
  guest.typed = Buffer.alloc(0);
});
