// Bytes on the way from a port to the page: split anywhere, and as many as 10 MB in a second.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { see, seeInTerminal, terminalText } from '../test/browser.mjs';
import { Guest, assertRowsFollow, consoleUrl, eventually, stage, status } from './story.mjs';

const at = stage();
let guest;

before(async () => {
  guest = await Guest.attach();
});
after(() => guest.leave());

/** Opens a page where `watch` is called with each message, and how much was printed before. */
async function watched(watch) {
  const page = await at.blank();
  await page.addInitScript(`
    const watch = ${watch};
    const base = ${guest.printed};
    window.WebSocket = class extends WebSocket {
      constructor(...all) {
        super(...all);
        this.addEventListener('message', ({ data }) => watch(data, base));
      }
    };`);
  await page.goto(await consoleUrl());
  await see(status(page, 'connected · you are typing'));
  return page;
}

test('characters that arrive byte by byte are shown whole', async () => {
  const page = await watched((data) => {
    window.lengths ??= [];
    if (typeof data !== 'string') window.lengths.push(data.byteLength);
  });
  // What is printed while the screen is painted for the page would come with the screen.
  guest.print('ready');
  await seeInTerminal(page, 'ready');
  await page.evaluate(() => (window.lengths = []));
  const bytes = Buffer.from('aé€“…”😀┌─┐z');
  for (const [index, byte] of bytes.entries()) {
    guest.print(Buffer.from([byte]));
    await page.waitForFunction((count) => window.lengths?.length === count, index + 1);
  }
  assert.deepEqual(await page.evaluate(() => window.lengths), Array(bytes.length).fill(1));
  await seeInTerminal(page, 'aé€“…”😀┌─┐z');
});

/** Bytes that the port prints in a second, for so many seconds at least. */
const RATE = 10_000_000;
const SECONDS = 3;

/** Each line is 64 bytes: its number, then filling. */
const LINE = 64;
const LINES = 1600;

function lines(first) {
  let text = '';
  for (let number = first; number < first + LINES; number += 1) {
    text += `${String(number).padStart(12, '0')} ${'.'.repeat(LINE - 15)}\r\n`;
  }
  return text;
}

/** Prints until `until()`, at the rate; says how many lines. */
async function pour(until) {
  const start = performance.now();
  let printed = 0;
  while (!until()) {
    const due = ((performance.now() - start) / 1000) * (RATE / LINE);
    if (printed + LINES <= due && guest.socket.writableLength < 4 * LINES * LINE) {
      guest.print(lines(printed));
      printed += LINES;
    }
    await pause(1);
  }
  return { printed, seconds: (performance.now() - start) / 1000 };
}

/** Runs in the page: follows the numbers of the lines through frames and gaps. */
function follow(data, base) {
  const first = { at: 0, start: 0, screen: 0, received: 0, skipped: 0, faults: [] };
  const flow = (window.flow ??= first);
  if (typeof data === 'string') {
    const message = JSON.parse(data);
    if (message.type === 'hello') flow.at = flow.start = message.offset;
    // The screen's bytes have no place in the output.
    if (message.type === 'replay' && message.kind === 'screen') flow.screen = message.bytes;
    if (message.type !== 'gap') return;
    if (message.from !== flow.at) flow.faults.push(`gap from ${message.from}, not ${flow.at}`);
    flow.skipped += message.to - message.from;
    flow.at = message.to;
    return;
  }
  if (flow.screen > 0) {
    flow.screen -= data.byteLength;
    if (flow.screen < 0) flow.faults.push('the screen and live output in one frame');
    return;
  }
  // The number of the first whole line says where these bytes belong.
  const line = Math.ceil(Math.max(0, flow.at - base) / 64);
  const start = base + line * 64 - flow.at;
  if (start + 12 <= data.byteLength) {
    const number = String.fromCharCode(...new Uint8Array(data, start, 12));
    if (Number(number) !== line && !number.startsWith('the end')) {
      flow.faults.push(`${number} where ${line} belongs`);
    }
  }
  flow.received += data.byteLength;
  flow.at += data.byteLength;
}

test('a flood of 10 MB/s leaves the page responsive and no byte unaccounted for', async (t) => {
  const page = await watched(follow);
  const pressed = [];
  const heard = [];
  guest.socket.on('data', () => heard.push(performance.now()));
  let done = false;
  const poured = pour(() => done);
  const start = performance.now();
  while (performance.now() - start < SECONDS * 1000 || pressed.length < 5) {
    await page.evaluate(() => new Promise(requestAnimationFrame));
    pressed.push(performance.now());
    await page.keyboard.press('Control+c');
    await eventually('Ctrl+C is heard', () => heard.length === pressed.length);
  }
  done = true;
  const { printed, seconds } = await poured;
  guest.print('the end of the flood');
  await seeInTerminal(page, 'the end of the flood');

  const delays = heard.map((time, index) => Math.round(time - pressed[index]));
  const flow = await page.evaluate(() => window.flow);
  const rate = (printed * LINE) / seconds / 1e6;
  t.diagnostic(`${rate.toFixed(1)} MB/s; heard after ${delays} ms; ${JSON.stringify(flow)}`);
  // What else the machine does only adds to some of them.
  const median = delays.toSorted((a, b) => a - b)[Math.floor(delays.length / 2)];
  assert.ok(median < 1000, `heard after ${delays} ms`);
  assert.equal(guest.typed.toString(), '\x03'.repeat(pressed.length));
  assert.deepEqual(flow.faults, []);
  assert.equal(flow.start + flow.received + flow.skipped, guest.printed);
  assertRowsFollow(await terminalText(page), /end of the flood$/);
});
