// The page over https, whose WebSocket is over TLS as well.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { see, seeInTerminal } from '../test/browser.mjs';
import { Guest, consoleUrl, stage, status } from './story.mjs';

// Whether a browser trusts the certificate is for those who made it.
const at = stage(['--ignore-certificate-errors']);
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

test('a console works over TLS', async () => {
  const page = await at.open(await consoleUrl());
  await see(status(page, 'connected · you are typing'));
  guest.print('printed');
  await seeInTerminal(page, 'printed');
  await page.keyboard.type('typed');
  await guest.hears('typed');
  const schemes = page.requests.map((address) => new URL(address).protocol);
  assert.deepEqual([...new Set(schemes)].sort(), ['https:', 'wss:']);
});
