// A port that prints 10 MB of colored text a second: Ctrl+C is answered on the screen at once, what
// was not shown is said, and the page does not grow.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { see, terminalText } from '../test/browser.mjs';
import { Guest, assertRowsFollow, consoleUrl, stage, status } from './story.mjs';

/** Bytes that the port prints in a second. */
const RATE = 10_000_000;

/** Seconds of the first flood, at which the heap is looked at, and of each flood after it. */
const SECONDS = { settled: 3, first: 10, next: 2 };

/** How often Ctrl+C is measured. */
const PRESSES = 5;

/** Milliseconds from the key to its answer on the screen. */
const ANSWER = 300;

/** Bytes that the heap may be larger after ten seconds than after three. */
const GROWTH = 4 * 1024 * 1024;

/** Each line has its number, in two colors, and so many bytes; so many lines are printed at once. */
const LINE = 96;
const LINES = 1000;

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

const LEAD = '\x1b[1;32m';

/** Lines whose numbers are written into them when they are printed. */
const piece = Buffer.from(
  Array.from({ length: LINES }, (_, line) => {
    const color = String(line % 256).padStart(3, '0');
    const start = `${LEAD}${'0'.repeat(12)}\x1b[0m \x1b[38;5;${color}m`;
    const end = '\x1b[0m\r\n';
    return start + '.'.repeat(LINE - start.length - end.length) + end;
  }).join(''),
);

let lines = 0;

function printLines() {
  for (let line = 0; line < LINES; line += 1, lines += 1) {
    piece.write(String(lines).padStart(12, '0'), line * LINE + LEAD.length, 'latin1');
  }
  guest.print(Buffer.from(piece));
}

/** Prints at the rate until Ctrl+C is heard, which is answered as a shell would; says how fast. */
async function pour(answer) {
  const start = performance.now();
  const first = lines;
  while (!guest.typed.includes(0x03)) {
    const due = first + ((performance.now() - start) / 1000) * (RATE / LINE);
    if (lines + LINES <= due && guest.socket.writableLength < piece.length) printLines();
    else await pause(1);
  }
  const rate = ((lines - first) * LINE) / (performance.now() - start) / 1000;
  guest.typed = Buffer.alloc(0);
  guest.print(`^C\r\n${answer}`);
  return rate;
}

/** Runs in the page: resolves with the milliseconds from Ctrl+C to the frame that shows `answer`. */
function answered(answer) {
  window.delay = new Promise((resolve) => {
    const onKey = (event) => {
      if (event.key !== 'c') return;
      removeEventListener('keydown', onKey, true);
      const look = () => {
        const rows = document.querySelector('.xterm-rows').textContent.replaceAll('\xa0', ' ');
        if (!rows.includes(answer)) return requestAnimationFrame(look);
        // The next frame begins when this one was painted.
        requestAnimationFrame(() => resolve(performance.now() - event.timeStamp));
      };
      requestAnimationFrame(look);
    };
    addEventListener('keydown', onKey, true);
  });
}

/** Bytes of the page's heap that are in use, without garbage. */
async function heap(devtools) {
  await devtools.send('HeapProfiler.collectGarbage');
  const { usedSize } = await devtools.send('Runtime.getHeapUsage');
  return usedSize;
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

/** Presses Ctrl+C; gives the milliseconds until `answer` is on the screen. */
async function interrupt(page, answer) {
  await page.evaluate(answered, answer);
  await page.keyboard.press('Control+c');
  return page.evaluate(() => window.delay);
}

test('a flood of 10 MB/s is answered on the screen at once and leaves the page small', async (t) => {
  const page = await at.open(await consoleUrl());
  await see(status(page, 'connected · you are typing'));
  const devtools = await page.context().newCDPSession(page);
  const heaps = [];
  const delays = [];
  const rates = [];
  for (let press = 0; press < PRESSES; press += 1) {
    const answer = `answer ${press}$`;
    const poured = pour(answer);
    if (press === 0) {
      await pause(SECONDS.settled * 1000);
      heaps.push(await heap(devtools));
      await pause((SECONDS.first - SECONDS.settled) * 1000);
      heaps.push(await heap(devtools));
    } else {
      await pause(SECONDS.next * 1000);
    }
    delays.push(Math.round(await interrupt(page, answer)));
    rates.push((await poured).toFixed(1));
  }
  const { shown, skipped } = await page.evaluate(() => window.serialproxy.output);
  t.diagnostic(`${rates} MB/s; answered on the screen after ${delays} ms`);
  t.diagnostic(`${shown} bytes shown, ${skipped} skipped; heap ${heaps.map(megabytes)} MB`);
  // What else the machine does only adds to it.
  assert.ok(Math.min(...delays) < ANSWER, `answered after ${delays} ms`);
  assert.equal(shown + skipped, guest.printed);
  assert.ok(heaps[1] - heaps[0] < GROWTH, `the heap went from ${heaps.map(megabytes)} MB`);
  // A gap of the proxy's may cut an escape sequence, whose end is then text.
  assertRowsFollow(await terminalText(page), /^answer|\^C$|^\[?[\d;]*m[\d. ]*$/);
});
