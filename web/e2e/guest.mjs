// A real guest: its shell in the page, on a phone too, through stop and start.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, see, seeInTerminal, terminalText } from '../test/browser.mjs';
import {
  assertNoSidewaysScroll,
  button,
  call,
  consoleUrl,
  knock,
  stage,
  status,
  story,
} from './story.mjs';

const at = stage();

test('the page is a live shell, named in the title, and keeps the token to itself', async () => {
  const page = await at.open(await consoleUrl());
  await see(status(page, 'connected · you are typing'));
  await see(page.getByRole('heading', { name: `${story.name} port 0` }));
  assert.equal(await page.title(), `${story.name}:0 – console`);
  assert.match(page.url(), /^http:\/\/127\.0\.0\.1:\d+\/serial\.html$/);
  await knock(page, 'here');
  await page.keyboard.type('uname -a\r');
  await page.waitForFunction(() => /uname -a\nLinux /.test(window.serialproxy.text()));
});

test('characters whose bytes the guest prints one by one are shown whole', async () => {
  const page = await at.open(await consoleUrl());
  await knock(page, 'utf8');
  await page.keyboard.type(
    'for b in 342 202 254 360 237 230 200 342 224 214; do printf "\\\\$b"; done; echo " shown"\r',
  );
  await seeInTerminal(page, '€😀┌ shown');
});

test('a phone of 360 px is enough to work with it', async () => {
  const page = await at.open(await consoleUrl(), { viewport: { width: 360, height: 640 } });
  await see(status(page, 'connected · you are typing'));
  await knock(page, 'phone');
  await page.keyboard.type('stty size; seq 1 3000 | tail -n 1\r');
  await seeInTerminal(page, '\n3000');
  await assertNoSidewaysScroll(page);
  const line = await status(page, 'you are typing').boundingBox();
  assert.ok(line.x >= 0 && line.x + line.width <= 360 && line.height > 0);
});

test('the guest takes the grid of the page, and obeys a SysRq and a reset', async () => {
  const page = await at.open(await consoleUrl());
  await knock(page, 'grid');
  await choose(page, 'More', /^Fit guest/);
  await page.keyboard.type('stty size\r');
  await page.waitForFunction(() => {
    const size = /stty rows (\d+) cols (\d+)/.exec(window.serialproxy.text());
    return size && window.serialproxy.text().includes(`\n${size[1]} ${size[2]}\n`);
  });
  await choose(page, 'Machine', 'Send SysRq…');
  await page.getByRole('dialog').getByRole('button', { name: 'Send' }).click();
  await seeInTerminal(page, 'sysrq: HELP');
  await choose(page, 'Machine', 'Reset…');
  await page.getByRole('dialog').getByRole('button', { name: 'Reset' }).click();
  await page.waitForFunction(() => window.serialproxy.text().includes('started, boot 2'));
  await knock(page, 'again');
});

test('a guest that stops is waited for, and its next boot appears by itself', async () => {
  const page = await at.open(await consoleUrl());
  await knock(page, 'before');
  await call('POST', `/v1/servers/${story.server}/stop`, { body: { force: true } });
  await see(status(page, 'waiting for the guest: the server is shut off'));
  await button(page, 'Start').click();
  await see(status(page, 'connected · you are typing'));
  await page.waitForFunction(() => /started, boot 3[^]*Linux version/.test(window.serialproxy.text()));
  await knock(page, 'after');
  assert.match(await terminalText(page), /before again[^]*started, boot 3[^]*after again/);
});

test('after a reload each boot is where it was, with its time, and each row has the time at which it arrived', async () => {
  const page = await at.open(await consoleUrl());
  await knock(page, 'marked');
  const { boots } = await (await call('GET', `/v1/lines/${story.server}/0/boots`)).json();
  const facts = boots.map(({ epoch, reason }) => `${epoch} ${reason}`);
  assert.deepEqual(facts, ['1 started', '2 rebooted', '3 started']);
  for (const { kernel, time } of boots) {
    assert.match(kernel, /^\d+\.\d+/);
    assert.ok(Date.now() - new Date(time) < 3_600_000, time);
  }
  const places = async () => (await terminalText(page)).match(/started, boot \d ──\n.*/g);
  const before = await places();
  assert.equal(before.length, 3, before.join());
  await page.reload();
  await knock(page, 'reloaded');
  assert.deepEqual(await places(), before);
  await see(page.getByRole('navigation', { name: 'Boots' }).getByText(/^Boot 3 · today \d\d:\d\d$/));
  await button(page, 'View').click();
  await page.getByRole('menuitemcheckbox', { name: 'Arrival times' }).click();
  const times = page.getByRole('list', { name: 'Arrival times' }).getByText(/^\d\d:\d\d:\d\d\.\d\d$/);
  await see(times.last());
  assert.deepEqual(await places(), before);
});
