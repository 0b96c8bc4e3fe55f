// The bytes: shown as they are, typed as they are, and never typed by someone who does not write.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, see, seeInTerminal, terminalText } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ESC = '\x1b';
const BOB = 'b0b00000-0000-4000-8000-000000000000';

/** Everything that a terminal answers: DA, cursor position, DECRQM, background color, ENQ. */
const QUERIES = `${ESC}[c${ESC}[6n${ESC}[?2026$p${ESC}]11;?\x07\x05`;

const bytes = (text) => Buffer.from(text, 'utf8');

test('characters that are split over frames arrive whole', async () => {
  const { page, session } = await at.attach();
  for (const byte of bytes('aé€“…”😀┌─┐\u2800\u{10000}z')) session.print([byte]);
  await seeInTerminal(page, 'aé€“…”😀┌─┐\u2800\u{10000}z');
});

test('bytes that are no UTF-8 are shown as such and harm nothing after them', async () => {
  const { page, session } = await at.attach();
  session.print([0x61, 0xff, 0xc3, 0x62, 0x00, 0x63]);
  await seeInTerminal(page, 'a\ufffd\ufffdbc');
});

test('keys and pastes are sent as UTF-8', async () => {
  const { page, session } = await at.attach();
  await page.keyboard.type('ü€\n');
  await page.keyboard.press('Control+c');
  await page.keyboard.press('Tab');
  await page.keyboard.press('F6');
  await session.typed(bytes(`ü€\r\x03\t${ESC}[17~`));
});

test('mouse reports are sent as bytes, not as UTF-8', async () => {
  const { page, session } = await at.attach();
  session.print(`${ESC}[?1000h` + 'ready');
  await seeInTerminal(page, 'ready');
  await page.mouse.click(1050, 300);
  await session.until(() => session.input.includes(`${ESC}[M `), 'mouse report');
  const column = session.input[session.input.indexOf(`${ESC}[M`) + 4];
  assert.ok(column > 127 && session.input.length <= 12, session.input.toString('hex'));
});

test('live queries are answered by who is typing', async () => {
  const { session } = await at.attach();
  session.print(`abc${ESC}[6n`);
  await session.typed(`${ESC}[1;4R`);
});

for (const kind of ['screen', 'history']) {
  test(`queries in a replayed ${kind} are not answered, later ones are`, async () => {
    const { session } = await at.attach({ offset: 100 });
    const replay = bytes(`${QUERIES}old`);
    session.say({ type: 'replay', kind, bytes: replay.length, offset: 100 + replay.length });
    session.print(replay.subarray(0, 5));
    session.print(Buffer.concat([replay.subarray(5), bytes(`${ESC}[5n`)]));
    await session.typed(`${ESC}[0n`);
    assert.equal(session.input.toString(), `${ESC}[0n`);
  });
}

test('what is typed while a replay is still coming is sent', async () => {
  const { page, session } = await at.attach();
  session.say({ type: 'replay', kind: 'history', bytes: 100, offset: 100 });
  session.print('half');
  await seeInTerminal(page, 'half');
  await page.keyboard.type('x');
  await session.typed('x');
});

test('a watcher sends nothing: no key, no paste, no mouse, no answer', async () => {
  const { page, session } = await at.attach({ mode: 'watch' });
  session.print(`${QUERIES}${ESC}[?1000h${ESC}[?1004hshown`);
  await seeInTerminal(page, 'shown');
  await page.keyboard.type('rm -rf /\n');
  await page.mouse.click(300, 300);
  await page.keyboard.press('Control+c');
  await see(page.getByRole('button', { name: 'Paste', disabled: true }));
  await choose(page, 'More', 'Leave');
  await session.until(() => session.closedWith === 1000, 'close');
  assert.equal(session.input.length, 0);
});

test('nothing is sent after the pen is lost', async () => {
  const { page, session } = await at.attach();
  session.pen('lost', { by: 'bob', holder: 'bob', session: BOB });
  session.pen('held', { holder: 'carol', session: BOB });
  session.print(`${QUERIES}shown`);
  await seeInTerminal(page, 'shown');
  await page.keyboard.type('x');
  await choose(page, 'More', 'Leave');
  await session.until(() => session.closedWith === 1000, 'close');
  assert.equal(session.input.length, 0);
});

test('what is typed between two sessions goes nowhere', async () => {
  const { page, session } = await at.attach();
  session.close(4009, 'stopped: server is SHUTOFF');
  await see(page.getByRole('alert'));
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.type('lost');
  await page.locator('#offers').getByRole('button', { name: 'Reconnect' }).click();
  const next = await at.proxy.admit();
  await see(page.getByRole('status').filter({ hasText: 'you are typing' }));
  await page.keyboard.type('!');
  await next.typed('!');
  assert.equal(next.input.toString(), '!');
});

test('skipped output is stated where it is missing, and acknowledged', async () => {
  const { page, session } = await at.attach({ offset: 1000 });
  session.print(`before${ESC}[31`);
  session.say({ type: 'gap', from: 1010, to: 1_201_010 });
  session.print('after');
  await seeInTerminal(page, 'after');
  const text = await terminalText(page);
  assert.match(
    text,
    /^before\n\[… 1\.2 MB of output skipped: this browser was too slow …\]\nafter$/,
  );
  assert.deepEqual((await session.hears('ack', 2))[1], { type: 'ack', offset: 1_201_010 });
});

test('output that is no longer kept is stated at the start', async () => {
  const { page, session } = await at.attach();
  session.say({ type: 'gap', from: 0, to: 300 });
  session.print('on');
  await seeInTerminal(page, '[… 300 bytes of output skipped: it is no longer kept …]\non');
});

/** Waits for some acks after the first, and gives their offsets. */
async function acks(session, count) {
  return (await session.hears('ack', count + 1)).slice(1).map(({ offset }) => offset);
}

test('the first ack names the start, so the proxy knows that more will come', async () => {
  const { session } = await at.attach({ offset: 77 });
  assert.deepEqual(await session.hears('ack'), [{ type: 'ack', offset: 77 }]);
});

test('a replayed screen does not count as offset', async () => {
  const { session } = await at.attach({ offset: 5_000_000 });
  session.say({ type: 'replay', kind: 'screen', bytes: 300, offset: 5_000_000 });
  session.print('s'.repeat(300));
  for (let sent = 0; sent < 250; sent += 1) session.print('x'.repeat(800));
  const [first, second] = await acks(session, 2);
  assert.ok(first % 800 === 5_000_000 % 800 && first >= 5_100_000, String(first));
  assert.ok(second - first >= 100_000 && second <= 5_200_000, String(second));
});

for (const [begin, offset] of [
  ['where it begins', 5_000_000],
  ['where it ends', 5_150_000],
]) {
  test(`a replayed history counts up to the live bytes, announced ${begin}`, async () => {
    const { session } = await at.attach({ offset });
    session.say({ type: 'replay', kind: 'history', bytes: 150_000, offset: 5_150_000 });
    for (let sent = 0; sent < 150; sent += 1) session.print('h'.repeat(1000));
    for (let sent = 0; sent < 125; sent += 1) session.print('x'.repeat(800));
    const offsets = await acks(session, offset === 5_000_000 ? 2 : 1);
    assert.ok(
      offsets.every((ack) => ack % 200 === 0 && ack <= 5_250_000),
      offsets.join(),
    );
    assert.ok(offsets.at(-1) >= 5_200_000, offsets.join());
  });
}

test('a link from the guest opens without a way back to this page', async () => {
  const { page, session } = await at.attach();
  session.print(`see ${at.proxy.url('', '/favicon.svg')} now`);
  await seeInTerminal(page, 'now');
  const popup = page.context().waitForEvent('page');
  const box = await page.locator('.xterm-screen').boundingBox();
  await page.mouse.move(box.x + 100, box.y + 8);
  await page.locator('#screen[title*="favicon"]').waitFor();
  await page.mouse.down();
  await page.mouse.up();
  const opened = await popup;
  await opened.waitForLoadState();
  assert.equal(await opened.evaluate(() => window.opener), null);
});
