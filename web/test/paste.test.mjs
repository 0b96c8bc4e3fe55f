// Pastes: asked about where they may do harm, no faster than a serial port, and stopped by Ctrl+C.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';

import { paste, see, seeInTerminal } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const pasting = (page) => page.getByRole('region', { name: 'Paste' });
const dialog = (page, name) => page.getByRole('dialog', { name });

test('a line without an end is pasted without a question', async () => {
  const { page, session } = await at.attach();
  await paste(page, 'ls -l ü');
  await session.typed('ls -l ü');
  assert.equal(session.input.toString(), 'ls -l ü');
});

test('lines are shown before they run, and Cancel sends nothing', async () => {
  const { page, session } = await at.attach();
  await paste(page, 'one\r\ntwo\nthree\n');
  await see(dialog(page, 'Paste 3 lines?').getByText('3 lines, 15 bytes. A shell runs each line'));
  assert.equal(await page.getByLabel('Text to paste').innerText(), 'one\ntwo\nthree');
  await dialog(page).getByRole('button', { name: 'Cancel' }).click();
  assert.equal(session.input.length, 0);
  await paste(page, 'one\r\ntwo\n');
  await dialog(page).getByRole('button', { name: 'Paste' }).click();
  await session.typed('one\rtwo\r');
  assert.equal(session.input.toString(), 'one\rtwo\r');
});

test('a long text is shown in part', async () => {
  const { page } = await at.attach();
  await paste(page, Array.from({ length: 200 }, (_, index) => `line ${index}`).join('\n'));
  await see(dialog(page, 'Paste 200 lines?').getByText(/line 5\n… and 194 more$/));
});

test('a text of very many lines is asked about as well', async () => {
  const { page, session } = await at.attach();
  await paste(page, 'x\n'.repeat(500_000));
  await see(dialog(page, 'Paste 500000 lines?'));
  await dialog(page).getByRole('button', { name: 'Paste' }).click();
  await session.typed('x\rx\r');
});

test('control characters are named, and shown as what they are', async () => {
  const { page } = await at.attach();
  await paste(page, 'echo\x1b[A\x03');
  await see(dialog(page, 'Paste 1 line?').getByText('control characters (Ctrl+[, Ctrl+C)'));
  assert.equal(await page.getByLabel('Text to paste').innerText(), 'echo^[[A^C');
});

test('a line that the guest would cut off is warned of', async () => {
  const { page } = await at.attach();
  await paste(page, 'x'.repeat(4095));
  await paste(page, `${'é'.repeat(2048)}`);
  await see(dialog(page).getByText('Its longest line has 4096 bytes.'));
});

test('a guest that asked for it gets a paste in brackets, which the text cannot close', async () => {
  const { page, session } = await at.attach();
  session.print('\x1b[?2004hready');
  await seeInTerminal(page, 'ready');
  await paste(page, 'one\ntwo\x1b[201~ three\n');
  await see(dialog(page).getByText('takes a paste as one piece'));
  await dialog(page).getByRole('button', { name: 'Paste' }).click();
  await session.typed('\x1b[201~');
  assert.equal(session.input.toString(), '\x1b[200~one\rtwo three\r\x1b[201~');
});

test('a paste goes no faster than a serial port, in pieces, and never far ahead', async () => {
  const { page, session } = await at.attach();
  const length = 4000;
  session.acknowledges = false;
  await paste(page, 'p'.repeat(length));
  await see(pasting(page).getByText(/^Pasting: \d\.\d of 4\.0 kB$/));
  session.acknowledges = true;
  const start = performance.now();
  session.say({ type: 'ack', input: session.count });
  await session.until(() => session.input.length === length, 'the whole paste');
  // 512 bytes were sent before, and as many may be sent at once.
  const rate = (length - 1024) / ((performance.now() - start) / 1000);
  assert.ok(rate < 13_000, `${Math.round(rate)} B/s`);
  assert.ok(Math.max(...session.frames) <= 256, String(session.frames));
  await pasting(page).waitFor({ state: 'hidden' });
});

test('at most 512 bytes of a paste are on their way, and the rest follows what is taken', async () => {
  const { page, session } = await at.attach();
  session.acknowledges = false;
  await paste(page, 'p'.repeat(3000));
  await session.until(() => session.input.length >= 512, 'the first bytes');
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)));
  assert.equal(session.input.length, 512);
  session.say({ type: 'ack', input: 256 });
  await session.until(() => session.input.length >= 768, 'the next piece');
  assert.equal(session.input.length, 768);
  await see(pasting(page).getByText('Pasting: 0.8 of 3.0 kB'));
  await pasting(page).getByRole('button', { name: 'Cancel paste' }).click();
  await see(status(page, 'Paste canceled: 768 of 3000 bytes were sent.'));
  await pasting(page).waitFor({ state: 'hidden' });
  await page.keyboard.type('z');
  await session.typed('z');
  assert.equal(session.input.length, 769);
});

test('Ctrl+C overtakes a paste and drops the rest; other keys wait behind it', async () => {
  const { page, session } = await at.attach();
  session.acknowledges = false;
  await paste(page, 'p'.repeat(3000));
  await session.until(() => session.input.length === 512, 'the first bytes');
  await page.keyboard.type('behind');
  await page.keyboard.press('Control+c');
  await session.typed('\x03');
  await see(status(page, 'Paste stopped by Ctrl+C: 512 of 3006 bytes were sent.'));
  await page.keyboard.type('after');
  await session.typed('after');
  assert.equal(session.input.subarray(512).toString(), '\x03after');
});

test('keys that are typed while a paste runs arrive after it', async () => {
  const { page, session } = await at.attach();
  await paste(page, 'p'.repeat(3000));
  await page.keyboard.type('!\n');
  await session.typed('!\r');
  assert.equal(session.input.toString(), `${'p'.repeat(3000)}!\r`);
});

test('a bracketed paste that is stopped is closed first', async () => {
  const { page, session } = await at.attach();
  session.print('\x1b[?2004hready');
  await seeInTerminal(page, 'ready');
  session.acknowledges = false;
  await paste(page, 'p'.repeat(3000));
  await session.until(() => session.input.length >= 262, 'the first bytes');
  await page.keyboard.press('Control+c');
  await session.typed('\x1b[201~\x03');
});

test('a paste stops where the pen is lost', async () => {
  const { page, session } = await at.attach();
  session.acknowledges = false;
  await paste(page, 'p'.repeat(3000));
  await session.until(() => session.input.length === 512, 'the first bytes');
  session.pen('lost', { holder: 'bob', by: 'bob', session: 'b' });
  await see(status(page, 'Paste stopped: 512 of 3000 bytes were sent.'));
});

test('a paste goes on over a broken connection', async () => {
  const { page, session } = await at.attach({ resume: 'key-1' });
  await paste(page, 'p'.repeat(4000));
  await session.until(() => session.input.length > 600, 'a part');
  const had = session.count;
  session.drop();
  const next = await at.proxy.admit({ resume: 'key-2', input: had });
  await next.until(() => next.count === 4000, 'the rest');
  assert.equal(next.input.length, 4000 - had);
});

test('more than 1 MiB is refused in words', async () => {
  const { page, session } = await at.attach();
  await paste(page, 'x'.repeat(1024 * 1024 + 1));
  await see(status(page, 'Not pasted: the text is larger than 1 MiB. Transfer it as a file.'));
  assert.equal(session.input.length, 0);
});

test('a paste of who watches is refused in words', async () => {
  const { page, session } = await at.attach({ mode: 'watch' });
  await paste(page, 'rm -r /');
  await see(page.getByText('Not pasted: you are watching.'));
  assert.equal(session.input.length, 0);
});

test('a hidden page, whose timers run once a second, pastes as fast', async () => {
  const { page, session } = await at.attach();
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: true });
    const timeout = window.setTimeout;
    window.fired = 0;
    window.setTimeout = (act, delay, ...all) => {
      const fire = () => {
        window.fired += 1;
        act(...all);
      };
      return timeout(fire, Math.max(1000, delay));
    };
  });
  for (let pasted = 0; pasted < 6; pasted += 1) await paste(page, 'p'.repeat(4000));
  await session.until(() => session.input.length === 24_000, 'all of it');
  // One after the other would be 47 of them, with 512 bytes each.
  const fired = await page.evaluate(() => window.fired);
  assert.ok(fired < 20, `${fired} timers fired`);
});

test('a guest that asks its terminal for ever fills no queue behind a paste', async () => {
  const { page, session } = await at.attach();
  session.acknowledges = false;
  await paste(page, 'y'.repeat(3000));
  await session.typed('yy');
  for (let round = 0; round < 5; round += 1) {
    // Of more at once, the oldest is skipped while somebody types.
    session.print(`${'\x1b[6n'.repeat(8000)}asked ${round}`);
    await seeInTerminal(page, `asked ${round}`);
  }
  session.say({ type: 'pen', state: 'lost', session: 'other', holder: 'bob', by: 'bob' });
  const said = page.getByText(/^Paste stopped: 512 of \d+ bytes were sent\.$/);
  await see(said);
  const [, total] = /of (\d+)/.exec(await said.textContent());
  assert.ok(total < 100_000, total);
});
