// A writer whose connection is lost: told as such, with the time until the console is free, and given back to
// its own user by one press.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see } from './browser.mjs';
import { SESSION } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const alert = (page, text) => page.getByRole('alert').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });

const OTHER = 'a11ce000-0000-4000-8000-000000000000';
const LOST = { session: OTHER, cause: 'busy', reason: 'since 2026-11-22T09:00:00Z', free_in: 40 };
const BUSY = 'busy: carol since 2026-11-22T09:00:00Z (lost the connection, free in 40 s)';

test("one's own lost session is told as such, and taken back by one press", async () => {
  const page = await at.page();
  const refused = await at.proxy.attempt();
  refused.pen('held', { ...LOST, holder: 'carol', own: true });
  refused.close(4004, BUSY);
  await see(alert(page, 'Your other session here lost its connection. Use it here, or wait'));
  await see(status(page, 'your other session lost its connection'));
  await see(page.getByText(/^Free in \d+ s/));
  await button(page, 'Use it here').click();
  let session = await at.proxy.attempt();
  while (session.query.get('mode') !== 'watch') session = await at.proxy.attempt();
  session.hello({ mode: 'watch', can: ['write'] });
  assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: 'request' }]);
  session.pen('held', { holder: 'carol', session: SESSION });
  await see(status(page, 'you are typing'));
});

test('a console whose writer lost the connection is waited for', async () => {
  const page = await at.page();
  const refused = await at.proxy.attempt();
  refused.pen('held', { ...LOST, holder: 'alice' });
  refused.close(4004, BUSY.replace('carol', 'alice'));
  await see(alert(page, 'alice was typing here and lost the connection.'));
  await see(page.getByText(/^Free in \d+ s/));
  assert.equal(await button(page, 'Use it here').isVisible(), false);
  await at.proxy.admit();
  await see(status(page, 'you are typing'));
});

