// A real guest of another host than the proxy's: its shell in the page, through stop and start.

import { test } from 'node:test';

import { see, seeInTerminal } from '../test/browser.mjs';
import { button, call, consoleUrl, knock, stage, status, story } from './story.mjs';

// As if it were served over TLS.
const at = stage([`--unsafely-treat-insecure-origin-as-secure=${new URL(story.proxy).origin}`]);

test('the page is a live shell, and waits for its guest', async () => {
  const page = await at.open(await consoleUrl());
  await see(status(page, 'connected · you are typing'));
  await knock(page, 'before');
  await page.keyboard.type('uname -a\r');
  await seeInTerminal(page, 'uname -a\nLinux ');
  await call('POST', `/v1/servers/${story.server}/stop`, { body: { force: true } });
  await see(status(page, 'waiting for the guest: the server is shut off'));
  await button(page, 'Start').click();
  await see(status(page, 'connected · you are typing'));
  await knock(page, 'after');
});
