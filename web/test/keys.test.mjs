// The keyboard of a browser beside that of a terminal: keys that browsers keep for themselves, a tab that
// closes while a shell is open, and what older devices want Backspace and Enter to send.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { choose, see, seeInTerminal, terminalText } from './browser.mjs';
import { stage } from './stage.mjs';

const at = stage();

const button = (page, name) => page.getByRole('button', { name, exact: true });
const item = (page, name) => page.getByRole('menuitem', { name });
const focused = (page) => page.evaluate(() => document.activeElement.ariaLabel);

test('keys that close or open tabs are sent from the menu, on any screen', async () => {
  const { page, session } = await at.attach();
  for (const name of ['Ctrl+W', 'Ctrl+T', 'Ctrl+N', 'Ctrl+Q', 'Shift+F6']) {
    await choose(page, 'Keys', `Send ${name}`);
  }
  await session.typed('\x17\x14\x0e\x11\x1b[17;2~');
  assert.equal(await focused(page), 'Terminal input');
});

test('the key bar is there for a mouse too, where one wants it, also after a reload', async () => {
  const { page } = await at.attach({ resume: 'k' });
  const bar = page.getByRole('toolbar', { name: 'Keys' });
  assert.equal(await bar.isVisible(), false);
  await button(page, 'Keys').click();
  await page.getByRole('menuitemcheckbox', { name: 'Key bar' }).click();
  await see(bar);
  await page.reload();
  const session = await at.proxy.admit({ resume: 'k' });
  await bar.getByRole('button', { name: 'Fn' }).click();
  await bar.getByRole('button', { name: 'Ctrl+W' }).click();
  await session.typed('\x17');
});

test('the key bar comes and goes also where the browser stores nothing', async () => {
  const { page } = await at.attach();
  await page.evaluate(() => {
    Storage.prototype.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError');
    };
  });
  const bar = page.getByRole('toolbar', { name: 'Keys' });
  for (const state of ['visible', 'hidden']) {
    await button(page, 'Keys').click();
    await page.getByRole('menuitemcheckbox', { name: 'Key bar' }).click();
    await bar.waitFor({ state });
  }
});

test('a watcher has no keys to send', async () => {
  const { page } = await at.attach({ mode: 'watch' });
  await button(page, 'Keys').click();
  assert.ok(await item(page, 'Send Ctrl+W').isDisabled());
  assert.ok(await item(page, 'Backspace sends').isEnabled());
});

/** Whether the tab asks before it closes. */
async function asksToClose(page) {
  // Refused when the page closes.
  const asked = page.waitForEvent('dialog').catch(() => undefined);
  await page.close({ runBeforeUnload: true });
  const dialog = await asked;
  if (!dialog) {
    assert.ok(page.isClosed());
    return false;
  }
  await dialog.dismiss();
  // Chromium 156 may crash where its tab is taken away before it's done with the answer.
  await see(page.locator('.xterm'));
  return dialog.type() === 'beforeunload';
}

test('a tab in which somebody typed asks before it closes', async () => {
  const { page, session } = await at.attach();
  session.print('\x1b[6n$ ');
  await session.typed('R');
  await page.locator('.xterm').click();
  await page.keyboard.type('nano notes.txt');
  await session.typed('notes.txt');
  assert.ok(await asksToClose(page));
});

for (const [how, hello, act] of [
  ['nothing was typed', {}, () => {}],
  ['somebody watches', { mode: 'watch' }, (page) => page.keyboard.type('x')],
  ['one left', {}, async (page) => {
    await page.keyboard.type('x');
    await choose(page, 'More', 'Leave');
  }],
]) {
  test(`a tab in which ${how} closes without a question`, async () => {
    const { page, session } = await at.attach(hello);
    session.print('\x1b[6n$ ');
    await seeInTerminal(page, '$');
    await page.locator('.xterm').click();
    await act(page);
    assert.equal(await asksToClose(page), false);
  });
}

/** Presses the item of the keys' menu until it reads `words`. */
async function set(page, name, words) {
  await button(page, 'Keys').click();
  const choice = item(page, name);
  while ((await choice.innerText()) !== words) await choice.click();
  await page.keyboard.press('Escape');
  await page.getByLabel('Terminal input').focus();
}

test('Backspace sends ^H where that is wanted, also after a reload', async () => {
  const { page, session } = await at.attach({ resume: 'k' });
  await page.keyboard.press('Backspace');
  await page.keyboard.press('Control+Backspace');
  await session.typed('\x7f\x08');
  await set(page, 'Backspace sends', 'Backspace sends ^H');
  await page.keyboard.press('Backspace');
  await page.keyboard.press('Control+Backspace');
  await page.keyboard.press('Alt+Backspace');
  await session.typed('\x7f\x08\x08\x7f\x1b\x08');
  await page.reload();
  const next = await at.proxy.admit({ resume: 'k' });
  await see(page.getByText('you are typing'));
  await page.keyboard.press('Backspace');
  await next.typed('\x08');
});

test('what an operator set for a line holds until somebody sets it otherwise', async () => {
  const terminal = { backspace: 'ctrl-h', newline: 'lf', line_feed: 'new-line' };
  const { page, session } = await at.attach({ terminal });
  session.print('one\ntwo');
  await seeInTerminal(page, 'one\ntwo');
  await page.getByLabel('Terminal input').focus();
  await page.keyboard.press('Backspace');
  await page.keyboard.press('Enter');
  await session.typed('\x08\n');
  await set(page, 'Backspace sends', 'Backspace sends ^?');
  await set(page, 'Line feed', 'Line feed moves down');
  await page.keyboard.press('Backspace');
  await session.typed('\x08\n\x7f');
  await page.reload();
  const next = await at.proxy.admit({ terminal });
  next.print('one\ntwo');
  await seeInTerminal(page, 'one\n   two');
  await page.getByLabel('Terminal input').focus();
  await page.keyboard.press('Backspace');
  await page.keyboard.press('Enter');
  await next.typed('\x7f\n');
});

test('Enter and pastes end lines as is wanted', async () => {
  const { page, session } = await at.attach();
  for (const [words, sent] of [
    ['Enter sends LF', '\n'],
    ['Enter sends CR LF', '\r\n'],
    ['Enter sends CR', '\r'],
  ]) {
    await set(page, 'Enter sends', words);
    session.input = Buffer.alloc(0);
    await page.keyboard.type('a');
    await page.keyboard.press('Enter');
    await choose(page, 'More', /^Fit guest/);
    await session.until(() => /^a[\r\n]+stty rows \d+ cols \d+[\r\n]+$/.test(session.input), words);
    assert.equal(session.input.toString().replace(/stty.*\d/, ''), `a${sent}${sent}`);
  }
});

test('a line feed alone starts a new line where that is wanted, through boots too', async () => {
  const { page, session } = await at.attach();
  session.print('one\ntwo');
  await seeInTerminal(page, 'one\n   two');
  await set(page, 'Line feed', 'Line feed starts a new line');
  session.print('\r\nthree\nfour');
  await seeInTerminal(page, 'three\nfour');
  session.say({ type: 'epoch', epoch: 2, offset: 0 });
  session.print('five\nsix');
  await seeInTerminal(page, 'five\nsix');
  assert.doesNotMatch(await terminalText(page), /\n +six/);
});

/** Composes a text in steps, as an input method does, and commits the last one. */
async function compose(page, steps) {
  const devtools = await page.context().newCDPSession(page);
  for (const text of steps) {
    await devtools.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length });
  }
  await devtools.send('Input.insertText', { text: steps.at(-1) });
}

for (const [language, steps] of [
  ['Japanese', ['n', 'に', 'にh', 'にほ', 'にほん', '日本']],
  ['Korean', ['ㅎ', '하', '한']],
  ['Chinese', ['n', 'ni', "ni'h", "ni'hao", '你好']],
]) {
  test(`what an input method composes in ${language} is sent once, as it was committed`, async () => {
    const { page, session } = await at.attach();
    await compose(page, steps);
    await session.typed(steps.at(-1));
    await page.keyboard.type('!');
    await session.typed('!');
    assert.equal(session.input.toString(), `${steps.at(-1)}!`);
    await compose(page, steps);
    await session.until(() => session.input.toString() === `${steps.at(-1)}!${steps.at(-1)}`, 'second composition');
  });
}

test('what an input method composes is shown where the cursor is, until it is committed', async () => {
  const { page, session } = await at.attach();
  session.print('name: ');
  await seeInTerminal(page, 'name:');
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Input.imeSetComposition', { text: 'にほ', selectionStart: 2, selectionEnd: 2 });
  await see(page.locator('.composition-view').getByText('にほ'));
  await see(page.locator('.xterm-rows').getByText('name:'));
  assert.equal(session.input.length, 0);
  const [composed, cursor] = await Promise.all([
    page.locator('.composition-view').boundingBox(),
    page.locator('.xterm-cursor').boundingBox(),
  ]);
  assert.ok(Math.abs(composed.x - cursor.x) < 2 && Math.abs(composed.y - cursor.y) < 4, JSON.stringify([composed, cursor]));
});
