// The program is told to stop, or dies, and comes back: the page says so and comes back by itself.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';

import { see, seeInTerminal, terminalText } from '../test/browser.mjs';
import { Guest, alert, consoleUrl, stage, status, story } from './story.mjs';

const at = stage();

/** Has the program end by a signal and start again; resolves once it is ready. */
async function restart(signal) {
  const control = connect(story.control, '127.0.0.1');
  control.write(signal);
  await once(control, 'data');
  control.destroy();
}

for (const [signal, how, words] of [
  ['TERM', 'is told to stop', 'The proxy is restarting.'],
  ['KILL', 'dies', 'The connection was lost.'],
]) {
  test(`a page whose program ${how} says so and comes back by itself`, async () => {
    let guest = await Guest.attach();
    const page = await at.open(await consoleUrl());
    await see(status(page, 'connected · you are typing'));
    guest.print(`before ${signal}\r\n`);
    await seeInTerminal(page, `before ${signal}`);

    await Promise.all([see(alert(page, words)), restart(signal)]);
    await see(status(page, 'connected · you are typing'));
    assert.equal(await page.getByRole('alert').isVisible(), false);
    guest.leave();
    guest = await Guest.attach();
    guest.print(`after ${signal}\r\n`);
    await seeInTerminal(page, `after ${signal}`);
    assert.match(await terminalText(page), /before [^]*reconnected[^]*after /);
    await page.keyboard.type('typed');
    await guest.hears('typed');
    guest.leave();
    // Chromium reports attempts that failed while the program was away.
    page.faults = page.faults.filter((fault) => !/WebSocket connection|ERR_CONNECTION_REFUSED/.test(fault));
  });
}
