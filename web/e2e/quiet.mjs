// Queries of the guest: those in the history are answered by nobody, a live one by who writes, once.

import { after, before, test } from 'node:test';

import { see, seeInTerminal } from '../test/browser.mjs';
import { Guest, consoleUrl, stage, status } from './story.mjs';

/** Where is the cursor, what are you, which mode, which color, who are you. */
const QUERIES = '\x1b[c\x1b[>c\x1b[6n\x1b[?2026$p\x1b]11;?\x07\x05';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

async function watcher(user) {
  const page = await at.open(await consoleUrl(user, '?mode=watch'));
  await see(status(page, 'you are watching'));
  await seeInTerminal(page, 'ready>');
  return page;
}

/** Had a terminal answered anything, the guest would have heard it before this key. */
async function hearsOnlyThisKey(page, key) {
  await page.keyboard.type(key);
  await guest.hears(key);
}

test('no terminal answers what the guest asked before it attached', async () => {
  guest.print(`${QUERIES}ready>`);
  const alice = await at.open(await consoleUrl('alice'));
  await see(status(alice, 'connected · you are typing'));
  await seeInTerminal(alice, 'ready>');
  await hearsOnlyThisKey(alice, 'a');
  await watcher('bob');
  await watcher('eve');
  await hearsOnlyThisKey(alice, 'b');
  await alice.reload();
  await see(status(alice, 'connected · you are typing'));
  await seeInTerminal(alice, 'ready>');
  await hearsOnlyThisKey(alice, 'c');
});

test('of three terminals the one that writes answers a live query, once', async () => {
  const alice = await at.open(await consoleUrl('alice'));
  await see(status(alice, 'connected · you are typing'));
  const others = [await watcher('bob'), await watcher('eve')];
  guest.print('\x1b[2J\x1b[H\x1b[3;5H\x1b[6nasked');
  for (const page of [alice, ...others]) await seeInTerminal(page, 'asked');
  await guest.hears('\x1b[3;5R');
  await hearsOnlyThisKey(alice, 'd');
});
