// A console that prints 10 MB/s: the page keeps up as well as it can, says what it skipped, and its user
// is heard at once.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { describe, test } from 'node:test';

import { seeInTerminal } from './browser.mjs';
import { stage } from './stage.mjs';

/** Un-acknowledged bytes at which the proxy pauses a viewer. */
const WINDOW = 512 * 1024;

/** Bytes that the guest prints in a second. */
const RATE = 10_000_000;

/** Bytes of the line that the proxy still has for a viewer who pauses. */
const KEPT = 1024 * 1024;

/** Key presses that are measured, and acks (100 kB each) that come before each. */
const PRESSES = 5;
const ACKS_BETWEEN = 30;

/** Milliseconds within which one is to be heard, and presses after which none will be. */
const SOON = 300;
const MOST_PRESSES = 25;

const FRAME = Buffer.from('y\r\n'.repeat(21_845));

/** Prints as a line does: at its own rate, skipping what a slow viewer can no longer have. */
async function flood(session, until) {
  const start = performance.now();
  const flow = { offset: 0, skipped: 0, mostUnacked: 0 };
  const acked = () => session.said('ack').at(-1)?.offset ?? 0;
  while (!until()) {
    const printed = ((performance.now() - start) / 1000) * RATE;
    if (printed - flow.offset > KEPT) {
      const to = Math.floor(printed);
      session.say({ type: 'gap', from: flow.offset, to });
      flow.skipped += to - flow.offset;
      flow.offset = to;
      await session.until(() => acked() >= to, 'ack of the gap');
    }
    if (flow.offset + FRAME.length <= printed && flow.offset - acked() <= WINDOW) {
      session.print(FRAME);
      flow.offset += FRAME.length;
      flow.mostUnacked = Math.max(flow.mostUnacked, flow.offset - acked());
    }
    await setImmediate();
  }
  return flow;
}

describe('output that comes faster than it can be shown', () => {
  const at = stage();
  const ROW = 'y'.repeat(62);
  const FRAME = Buffer.from(`${ROW}\r\n`.repeat(1024));
  const FRAMES = 7;
  const END = 'the end';

  /** Prints it at once; gives what the terminal holds in the end, and the count of bytes. */
  async function pour({ page, session }) {
    for (let frame = 0; frame < FRAMES; frame += 1) session.print(FRAME);
    session.print(END);
    await seeInTerminal(page, END);
    // The terminal has the text a moment before it says that it is done with these bytes.
    await page.waitForFunction(
      (bytes) => window.serialproxy.output.shown + window.serialproxy.output.skipped === bytes,
      FRAMES * FRAME.length + END.length,
    );
    return page.evaluate(() => ({ text: window.serialproxy.text(), output: window.serialproxy.output }));
  }

  test('is shown whole when nobody typed', async () => {
    const { output } = await pour(await at.attach());
    assert.equal(output.skipped, 0);
  });

  test('is skipped but for the newest when somebody did, and that is said', async () => {
    const { page, session } = await at.attach();
    // It is skipped within a second of the key, which lasts until the end.
    await page.evaluate(() => {
      const now = performance.now();
      performance.now = () => now;
    });
    await page.keyboard.press('q');
    await session.typed('q');
    const { text, output } = await pour({ page, session });
    assert.ok(output.skipped > FRAME.length, `${output.skipped} bytes were skipped`);
    const notes = text.split('\n').filter((row) => row.includes('skipped: this browser was too slow'));
    assert.ok(notes.length > 0);
    const rows = text.split('\n').filter((row) => !notes.includes(row) && row !== '');
    assert.deepEqual([...new Set(rows)], [ROW, END], 'no row is cut');
  });
});

describe('a flood of 10 MB/s', () => {
  const at = stage();

  test('leaves the page responsive, and Ctrl+C is heard within 300 ms', async (t) => {
    const { page, session } = await at.attach();
    const heard = [];
    session.socket.on('message', (_, binary) => binary && heard.push(performance.now()));
    let isEnough = false;
    const poured = flood(session, () => isEnough);
    for (let pressed = 0; !isEnough; pressed += 1) {
      await session.hears('ack', session.said('ack').length + ACKS_BETWEEN);
      await page.evaluate(() => new Promise(requestAnimationFrame));
      const start = performance.now();
      await page.keyboard.press('Control+c');
      await session.until(() => heard.length > pressed, 'Ctrl+C');
      heard[pressed] -= start;
      isEnough = pressed + 1 >= PRESSES && (Math.min(...heard) < SOON || pressed + 1 === MOST_PRESSES);
    }
    const flow = await poured;
    t.diagnostic(`heard after ${heard.map(Math.round).join(', ')} ms; ${JSON.stringify(flow)}`);
    // What else the machine does only adds to it.
    assert.ok(Math.min(...heard) < SOON, `heard after ${heard.join()} ms`);
    assert.equal(session.input.toString('latin1'), '\x03'.repeat(heard.length));
    session.print('\r\nend of the flood');
    await seeInTerminal(page, 'end of the flood');
  });
});
