// A boot begins with a terminal as it is when it is switched on: nothing that the last boot set reaches it,
// and nothing that was printed is lost.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { paste, see, seeInTerminal, terminalText } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ESC = '\x1b';

/** Everything that a full-screen program may leave behind when its guest dies. */
const LEFT_BEHIND =
  `${ESC}[?1;5;6;12;45;66;1000;1003;1004;1006;1049;2004h${ESC}[?7;25l${ESC}[4;20h${ESC}=` +
  `${ESC}(0${ESC}[3;5r${ESC}[3g${ESC}[1;31;44m${ESC}[4 q` +
  `${ESC}]11;#ff0000${ESC}\\${ESC}]4;1;#00ff00${ESC}\\${ESC}]8;;http://a.example${ESC}\\`;

const focus = (page) => page.getByLabel('Terminal input').focus();

/** A page with the output of a first boot; gives where the next one's begins. */
async function firstBoot(text, hello = {}) {
  const { page, session } = await at.attach(hello);
  session.print(text);
  return { page, session, offset: Buffer.byteLength(text) };
}

test('nothing that the last boot set reaches the next one', async () => {
  const { page, session, offset } = await firstBoot(`${LEFT_BEHIND}left`);
  session.say({ type: 'epoch', epoch: 2, offset });
  session.print(`qqq${ESC}[6n`);
  await session.typed(`${ESC}[2;4R`);
  session.input = Buffer.alloc(0);
  await page.mouse.click(300, 300);
  await page.locator('#more-button').focus();
  await focus(page);
  await page.keyboard.press('ArrowUp');
  await paste(page, 'secret');
  await session.typed('secret');
  assert.equal(session.input.toString(), `${ESC}[Asecret`);
  session.input = Buffer.alloc(0);
  session.print(`\n\ta${ESC}[6n`);
  await session.typed('R');
  assert.equal(session.input.toString(), `${ESC}[3;10R`, 'LF goes straight down, tabs are 8 apart');
  session.print(`\r${'x'.repeat(500)}`);
  await seeInTerminal(page, 'x'.repeat(500));
  session.input = Buffer.alloc(0);
  session.print(`${ESC}]11;?${ESC}\\`);
  await session.typed('rgb:');
  assert.doesNotMatch(session.input.toString(), /rgb:ffff\/0000/);
  assert.match(await terminalText(page), /boot 2 ──\nqqq/);
});

test("a boot's output scrolls back, and so does what was printed before it", async () => {
  const before = 'Kernel panic - not syncing\r\n';
  const { page, session, offset } = await firstBoot(`${before}${ESC}[?1049h${ESC}[3;5rvim`);
  session.say({ type: 'epoch', epoch: 2, offset });
  const rows = Array.from({ length: 200 }, (_, row) => `row ${row}\r\n`);
  session.print(`${ESC}c${ESC}[2J${rows.join('')}done`);
  await seeInTerminal(page, 'done');
  const text = await terminalText(page);
  assert.match(text, /Kernel panic - not syncing[^]*boot 2[^]*row 0\nrow 1\n[^]*row 199\ndone$/);
});

test('a reset by the guest keeps what was printed, also when it is split over frames', async () => {
  const { page, session } = await at.attach();
  session.print(`first\r\n${ESC}[?1049h${ESC}`);
  session.print(`csecond${ESC}cthird${ESC}[6n`);
  await session.typed(`${ESC}[1;6R`);
  assert.match(await terminalText(page), /first\n[^]*second\n+third/);
});

test('a boot is shown where its output begins, not where the word of it came', async () => {
  const { page, session } = await at.attach();
  const tail = 'the last words\r\n';
  session.say({ type: 'epoch', epoch: 2, offset: tail.length });
  session.print(`${tail}SeaBIOS`);
  await seeInTerminal(page, 'SeaBIOS');
  assert.match(await terminalText(page), /the last words\n+── web-1 started, boot 2 ──\nSeaBIOS/);
});

for (const [encoding, modes] of [
  ['bytes', '1000;2004'],
  ['text', '1000;1006;2004'],
]) {
  test(`until an announced boot prints, only what somebody typed is sent, with mouse reports as ${encoding}`, async () => {
    const { page, session, offset } = await firstBoot(`${ESC}[?${modes}h$ `);
    await seeInTerminal(page, '$');
    const tail = `the last words${ESC}[6n`;
    session.say({ type: 'epoch', epoch: 2, offset: offset + tail.length + 1 });
    session.print(tail);
    await seeInTerminal(page, 'the last words');
    await page.mouse.click(300, 300);
    await page.keyboard.type('k');
    await paste(page, 'secret');
    await session.typed('secret');
    assert.equal(session.input.toString('latin1'), 'ksecret');
  });
}

test('a boot while the connection was lost is shown where its output begins', async () => {
  const { page, session, offset } = await firstBoot(`before${ESC}[?2004h`, { resume: 'k' });
  await seeInTerminal(page, 'before');
  session.drop();
  const next = await at.proxy.attempt();
  const missed = `tail${ESC}[?1049h${ESC}[?1000hSeaBIOS`;
  const boot = offset + missed.indexOf('SeaBIOS');
  const end = offset + missed.length;
  next.hello({ epoch: 2, epoch_offset: boot, offset, resume: 'l' });
  next.say({ type: 'replay', kind: 'history', bytes: missed.length, offset: end });
  next.print(missed);
  await seeInTerminal(page, 'SeaBIOS');
  assert.match(await terminalText(page), /before\n?tail[^]*boot 2 ──\nSeaBIOS/);
  await paste(page, 'secret');
  await next.typed('secret');
  assert.equal(next.input.toString(), 'secret');
});

test('a paste that a boot meets is dropped, and ended for no one', async () => {
  const { page, session, offset } = await firstBoot(`${ESC}[?2004h$ `);
  await seeInTerminal(page, '$');
  session.acknowledges = false;
  await paste(page, 'y'.repeat(4000));
  await session.typed(`${ESC}[200~`);
  session.say({ type: 'epoch', epoch: 2, offset });
  await see(page.getByText(/^Paste stopped because the guest started again: \d+ of \d+ bytes were sent\.$/));
  await page.keyboard.type('z');
  await session.typed('z');
  assert.doesNotMatch(session.input.toString(), /\[201~/);
});

test("an answer of the terminal is no key: it skips no output, and takes no key's Ctrl", async () => {
  const { page, session } = await at.attach();
  const row = `${'o'.repeat(78)}\r\n`;
  for (let part = 0; part < 40; part += 1) session.print(`${row.repeat(100)}${ESC}[6n`);
  session.print('end');
  await seeInTerminal(page, 'end');
  await session.typed('R');
  assert.equal(await page.evaluate(() => window.serialproxy.output.skipped), 0);
});
