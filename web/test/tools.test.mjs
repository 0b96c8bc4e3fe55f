// The menus, the window's size, and the tools behind "More".

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { choose, paste, see, seeInTerminal } from './browser.mjs';
import { SESSION } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const PHONE = { viewport: { width: 360, height: 740 } };
const TOUCH = { ...PHONE, hasTouch: true, isMobile: true };

const status = (page, text) => page.getByRole('status').filter({ hasText: text });
const button = (page, name) => page.getByRole('button', { name, exact: true });
const item = (page, name) => page.getByRole('menuitem', { name });
const ALL = { can: ['write', 'force', 'power'] };
const ALICE = 'a11ce000-0000-4000-8000-000000000000';

test('a menu is worked with arrows, and Escape gives the focus back', async () => {
  const { page } = await at.attach(ALL);
  const focused = () =>
    page.evaluate(({ activeElement } = document) => activeElement.ariaLabel ?? activeElement.textContent.trim());
  await button(page, 'More').focus();
  await page.keyboard.press('Enter');
  const first = await focused();
  assert.match(first, /^Last kernel panic/);
  await page.keyboard.press('ArrowDown');
  assert.notEqual(await focused(), first);
  await page.keyboard.press('End');
  assert.equal(await focused(), 'Leave');
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(), first);
  await page.keyboard.press('Escape');
  await page.getByRole('menu').waitFor({ state: 'hidden' });
  assert.equal(await focused(), 'More');
});

/** The grid that the page told last. */
async function grid(session) {
  const { rows, cols } = (await session.hears('size')).at(-1);
  return { rows, cols };
}

test('the grid is told after the greeting and when it changes', async () => {
  const { page, session } = await at.attach();
  const { rows, cols } = await grid(session);
  assert.ok(rows > 20 && cols > 80, `${rows} rows, ${cols} columns`);
  await page.setViewportSize({ width: 700, height: 500 });
  await session.until(() => session.said('size').at(-1).cols < cols, 'a smaller grid');
  assert.ok((await grid(session)).rows < rows);
});

for (const [how, act] of [
  ['chosen', (page) => choose(page, 'More', /^Fit guest/)],
  ['its shortcut is pressed', (page) => page.keyboard.press('Control+Shift+S')],
]) {
  test(`the guest's shell is told the grid when that is ${how}`, async () => {
    const { page, session } = await at.attach();
    await session.hears('size');
    assert.equal(session.input.length, 0);
    await act(page);
    await session.typed('\r');
    const { rows, cols } = await grid(session);
    assert.equal(session.input.toString(), `stty rows ${rows} cols ${cols}\r`);
  });
}

test('a watcher cannot fit the guest', async () => {
  const { page, session } = await at.attach({ mode: 'watch' });
  await page.keyboard.press('Control+Shift+S');
  await see(status(page, 'Fit guest to window: you are watching.'));
  await button(page, 'More').click();
  assert.ok(await item(page, /^Fit guest/).isDisabled());
  assert.equal(session.input.length, 0);
});

/** What of the terminal's grid is outside of its place, in pixels. */
function overflow(page) {
  return page.evaluate(() => {
    const place = document.querySelector('#screen').getBoundingClientRect();
    const screen = document.querySelector('.xterm-screen').getBoundingClientRect();
    return Math.max(screen.right - place.right, screen.bottom - place.bottom, 0);
  });
}

for (const [what, options] of [
  ['window', {}],
  ['phone', PHONE],
]) {
  test(`a watcher's ${what} shows the writer's grid whole, in a font that fits`, async () => {
    const { page, session } = await at.attach({ mode: 'watch', can: ['write'] }, options);
    const own = await grid(session);
    session.pen('held', { holder: 'alice', session: ALICE });
    session.say({ type: 'size', rows: 50, cols: 90 });
    await page.locator('#screen[data-grid=theirs]').waitFor();
    session.print(`\x1b[1;1H${'x'.repeat(90)}\x1b[50;90H!`);
    await seeInTerminal(page, '!');
    const lines = await page.evaluate(() => window.serialproxy.text().split('\n'));
    assert.equal(lines[0], 'x'.repeat(90));
    assert.equal(lines[49], `${' '.repeat(89)}!`);
    assert.equal(await overflow(page), 0);
    session.pen('held', { holder: 'carol', session: SESSION });
    await page.locator('#screen[data-grid=own]').waitFor();
    const screen = page.locator('.xterm-rows, .xterm-screen').first();
    await screen.waitFor();
    // The rows depend on how many lines the bars take just now; the columns do not.
    assert.equal((await grid(session)).cols, own.cols);
    assert.equal(await overflow(page), 0);
  });
}

test('the grid of who wrote stays through a break, and goes with the pen', async () => {
  const { page, session } = await at.attach({ mode: 'watch', can: ['write'], resume: 'k' });
  session.pen('held', { holder: 'alice', session: ALICE });
  session.say({ type: 'size', rows: 50, cols: 90 });
  await page.locator('#screen[data-grid=theirs]').waitFor();
  session.drop();
  const next = await at.proxy.attempt();
  await see(page.getByRole('alert'));
  await see(page.locator('#screen[data-grid=theirs]'));
  next.hello({ mode: 'watch', can: ['write'] });
  next.pen('free');
  await page.locator('#screen[data-grid=own]').waitFor();
});

test('the font grows and shrinks, also after a reload', async () => {
  const { page, session } = await at.attach({ resume: 'k' });
  const before = await grid(session);
  await button(page, 'View').click();
  for (let pressed = 0; pressed < 4; pressed += 1) await item(page, 'Larger font').click();
  await session.until(() => session.said('size').at(-1).cols < before.cols, 'fewer columns');
  assert.equal(await page.evaluate(() => localStorage.getItem('serialproxy.font-size')), '18');
  await page.reload();
  const next = await at.proxy.admit();
  assert.ok((await grid(next)).cols < before.cols);
  await button(page, 'View').click();
  for (let pressed = 0; pressed < 4; pressed += 1) await item(page, 'Smaller font').click();
  await next.until(() => next.said('size').at(-1).cols >= before.cols, 'as many columns again');
});

test('the screen reader mode is a switch that is kept', async () => {
  const { page, session } = await at.attach();
  const mode = page.getByRole('menuitemcheckbox', { name: 'Screen reader mode' });
  await button(page, 'View').click();
  assert.equal(await mode.getAttribute('aria-checked'), 'false');
  await mode.click();
  session.print('for all to hear');
  await page.locator('.xterm-accessibility').getByText('for all to hear').first().waitFor();
  await page.reload();
  await at.proxy.admit();
  await button(page, 'View').click();
  assert.equal(await mode.getAttribute('aria-checked'), 'true');
});

test('what the terminal holds is downloaded as text', async () => {
  const { page, session } = await at.attach();
  session.print('first\r\n\x1b[31mred\x1b[0m ü\r\n');
  await seeInTerminal(page, 'red ü');
  const download = page.waitForEvent('download');
  await choose(page, 'More', 'Download text');
  const file = await download;
  assert.match(file.suggestedFilename(), /^web-1-0-\d{4}-\d\d-\d\dT\d{6}\.txt$/);
  assert.equal(await readFile(await file.path(), 'utf8'), 'first\nred ü\n');
});

test('the history is downloaded as it was printed, and says what is missing', async () => {
  const { page } = await at.attach({ resume: 'the-key' });
  // The guest prints on meanwhile, and what it prints after the beginning is not waited for.
  const pieces = { 0: ['\x1b[31mboot', 0, 9, 108], 9: ['login: \xff', 100, 108, 300] };
  const keys = [];
  await page.route(/\/history\?from=/, async (route) => {
    const request = route.request();
    keys.push(request.headers()['x-console-resume']);
    const [text, offset, next, end] = pieces[new URL(request.url()).searchParams.get('from')];
    await route.fulfill({
      body: Buffer.from(text, 'latin1'),
      headers: {
        'x-console-offset': `${offset}`,
        'x-console-next': `${next}`,
        'x-console-end': `${end}`,
      },
    });
  });
  const download = page.waitForEvent('download');
  await choose(page, 'More', 'Download history');
  const file = await download;
  assert.match(file.suggestedFilename(), /^web-1-0-.*\.log$/);
  const saved = await readFile(await file.path(), 'latin1');
  assert.equal(saved, '\x1b[31mboot\r\n[91 bytes are no longer kept]\r\nlogin: \xff');
  assert.deepEqual(keys, ['the-key', 'the-key']);
});

test('the command that watches is copied', async () => {
  const { page } = await at.attach(
    { port: 1 },
    { permissions: ['clipboard-read', 'clipboard-write'] },
  );
  await choose(page, 'Share', 'Copy watch command');
  const command = 'serialproxy connect web-1 --port 1 --watch';
  await see(status(page, `Copied: ${command}`));
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), command);
});

const WATCH = (server) => ['connect', server, '--port', '1', '--watch'];
const URL_OF = (server) => ['get-serial-console', server, 'serial', '--port', '1'];

for (const name of ['a; touch b', '$(id)', '`id`', "it's", 'a "b" \\c', '-h', 'a\u202eb', 'a\tb']) {
  for (const [what, copy, words] of [
    ['watches', (page) => choose(page, 'Share', 'Copy watch command'), WATCH],
    ['makes a URL of', (page) => button(page, 'Copy the command').click(), URL_OF],
  ]) {
    test(`the command that ${what} ${JSON.stringify(name)} is one for a shell to run`, async () => {
      const id = 'a3b7c1d2-0000-4000-8000-000000000003';
      const { page, session } = await at.attach(
        { server: { id, name }, port: 1 },
        { permissions: ['clipboard-read', 'clipboard-write'] },
      );
      if (words === URL_OF) session.close(4001, 'expired');
      await copy(page);
      await see(status(page, 'Copied: '));
      const command = await page.evaluate(() => navigator.clipboard.readText());
      const shell = `serialproxy() { printf '%s\\n' "$@"; }\n${command}`;
      const server = /^-|\p{C}/u.test(name) ? id : name;
      const ran = execFileSync('sh', ['-c', shell], { encoding: 'utf8' });
      assert.equal(ran, words(server).map((word) => `${word}\n`).join(''));
    });
  }
}

test('a link that watches is made and copied', async () => {
  const { page, session } = await at.attach(
    {},
    { permissions: ['clipboard-read', 'clipboard-write'] },
  );
  await choose(page, 'Share', 'Copy watch link');
  await session.until(() => session.said('link').length === 1, 'a wish for a link');
  const url = 'https://consoles.example/serial.html?token=x&mode=watch';
  session.say({ type: 'link', url, seconds: 600 });
  await see(status(page, 'Copied a link that only watches.'));
  assert.ok(!(await page.content()).includes(url));
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), url);
});

test('who may only watch makes no link', async () => {
  const { page } = await at.attach({ mode: 'watch', can: [] });
  await button(page, 'Share').click();
  await see(page.getByRole('menuitem', { name: 'Copy watch link you may only watch', disabled: true }));
});

test('in front of a Nova, the page offers neither links nor commands of an API that is not there', async () => {
  const { page, session } = await at.attach(
    { nova: true, can: ['write', 'force'] },
    { permissions: ['clipboard-read', 'clipboard-write'] },
  );
  await button(page, 'More').click();
  await see(page.getByRole('menuitem', { name: 'Download history' }));
  await page.keyboard.press('Escape');
  await button(page, 'Share').click();
  assert.deepEqual(await page.getByRole('menuitem').allInnerTexts(), ['Notify me…']);
  await page.keyboard.press('Escape');
  session.close(4001, 'token missing, unknown or expired: ask for a new console URL');
  const command = 'openstack console url show --serial web-1';
  await see(page.getByText(`Get a new one: ${command}`).first());
  await button(page, 'Copy the command').click();
  await see(status(page, `Copied: ${command}`));
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), command);
});

const keys = (page) => page.getByRole('toolbar', { name: 'Keys' });

test('a touch screen has the keys that its keyboard lacks', async () => {
  const { page, session } = await at.attach({}, TOUCH);
  const press = (name) => keys(page).getByRole('button', { name, exact: true }).tap();
  for (const name of ['Esc', 'Tab', 'Left', 'Down', 'Up', 'Right']) await press(name);
  await session.typed('\x1b\t\x1b[D\x1b[B\x1b[A\x1b[C');
  session.print('\x1b[?1hready');
  await seeInTerminal(page, 'ready');
  await press('Up');
  await session.typed('\x1bOA');
  assert.equal(await keys(page).getByRole('button', { name: 'F5' }).isVisible(), false);
  await press('Fn');
  await press('F1');
  await press('F12');
  await session.typed('\x1bOP\x1b[24~');
});

test('Ctrl on a touch screen counts for the next character', async () => {
  const { page, session } = await at.attach({}, TOUCH);
  const ctrl = keys(page).getByRole('button', { name: 'Ctrl', exact: true });
  await ctrl.tap();
  await ctrl.and(page.locator('[aria-pressed=true]')).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), 'Terminal input');
  await page.keyboard.type('cc');
  await session.typed('\x03c');
  assert.equal(await ctrl.getAttribute('aria-pressed'), 'false');
});

test('the touch keys are reached by a keyboard too', async () => {
  const { page, session } = await at.attach({}, TOUCH);
  await page.getByLabel('Terminal input').focus();
  await page.keyboard.press('Shift+F6');
  await page.keyboard.press('Shift+F6');
  await page.keyboard.press('Enter');
  await session.typed('\x1b');
  await page.keyboard.press('Shift+F6');
  await page.keyboard.type('x');
  await session.typed('\x1bx');
});

test('neither a mouse nor a watcher has touch keys', async () => {
  const { page } = await at.attach();
  assert.equal(await keys(page).isVisible(), false);
  const watcher = await at.attach({ mode: 'watch' }, TOUCH);
  await see(status(watcher.page, 'You are watching.'));
  assert.equal(await keys(watcher.page).isVisible(), false);
});

/** Nothing visible reaches beyond the window sideways, but the keys that scroll, and every button can be hit. */
async function assertUsable(page) {
  const faults = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const visible = [...document.querySelectorAll('button, input, select, p, pre, #screen')].filter(
      (element) => element.checkVisibility() && !element.matches('.spoken, .xterm *, #keys .row:last-child *'),
    );
    const wrong = visible.filter((element) => {
      const { left, right, height } = element.getBoundingClientRect();
      return left < 0 || right > width || (element.tagName === 'BUTTON' && height < 32);
    });
    const sideways = document.documentElement.scrollWidth - width;
    return [...wrong.map((element) => element.outerHTML.slice(0, 90)), ...(sideways ? ['page'] : [])];
  });
  assert.deepEqual(faults, []);
}

test('360 px are enough for all of it: bars, menus, questions, keys', async () => {
  const { page, session } = await at.attach({ ...ALL, resume: 'k' }, TOUCH);
  await see(keys(page));
  await keys(page).getByRole('button', { name: 'Fn' }).tap();
  await assertUsable(page);
  for (const menu of ['Share', 'Machine', 'View', 'Keys', 'More']) {
    await button(page, menu).tap();
    await see(page.getByRole('menu', { name: menu }));
    await assertUsable(page);
    await page.keyboard.press('Escape');
  }
  await choose(page, 'Machine', 'Send SysRq…');
  await assertUsable(page);
  await page.keyboard.press('Escape');
  session.pen('requested', { session: ALICE, by: 'alice', reason: 'x'.repeat(200) });
  await see(page.getByRole('button', { name: 'Let them type' }));
  session.acknowledges = false;
  await paste(page, `${'y'.repeat(4000)}\n`.repeat(3));
  await see(page.getByRole('dialog'));
  await assertUsable(page);
  await page.getByRole('dialog').getByRole('button', { name: 'Paste' }).tap();
  await see(page.getByRole('button', { name: 'Cancel paste' }));
  await assertUsable(page);
  session.pen('lost', { holder: 'alice', by: 'alice', session: ALICE, reason: 'z'.repeat(200) });
  session.say({
    type: 'state',
    state: 'waiting',
    reason: 'the server is SHUTOFF',
    cause: 'stopped',
  });
  await see(button(page, 'Start'));
  await see(button(page, 'Take over…'));
  await assertUsable(page);
  session.drop();
  await see(page.getByText('your session is kept for'));
  await assertUsable(page);
});
