// The host of a guest is cut off for longer than its lease: both pages say so, and go on when it is back.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';

import { see } from '../test/browser.mjs';
import { alert, consoleUrl, knock, stage, status, story } from './story.mjs';

// As if it were served over TLS.
const at = stage([`--unsafely-treat-insecure-origin-as-secure=${new URL(story.proxy).origin}`]);

test('a host that is lost is shown so, and its console goes on', async () => {
  const list = await at.open(story.proxy);
  await list.getByLabel('API token').fill(story.token);
  await list.keyboard.press('Enter');
  await see(list.getByText('running', { exact: true }));
  const page = await at.open(await consoleUrl());
  await see(status(page, 'connected · you are typing'));
  await knock(page, 'before');

  const cable = connect(story.control, '127.0.0.1');
  await once(cable, 'connect');
  cable.write('x');
  await once(cable, 'data');
  await see(list.getByText('host lost', { exact: true }));
  await see(list.getByText(/^Its host, hypervisor, does not respond\./));
  await see(alert(page, /^The host of this server does not respond; the server itself may still run\./));
  cable.write('x');
  await once(cable, 'data');
  await see(list.getByText('running', { exact: true }));
  await see(status(page, 'connected · you are typing'));
  await knock(page, 'after');
  assert.equal(await page.getByRole('alert').isVisible(), false);
  cable.destroy();
  // Chromium reports what failed meanwhile.
  for (const window of [list, page]) window.faults = [];
});
