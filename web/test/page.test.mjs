// The page around the terminal: keyboard, search, copy and paste, colors, a phone's width, and that it
// needs nothing but what the proxy serves.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see, seeInTerminal } from './browser.mjs';
import { stage } from './stage.mjs';

// A name that leads here and, unlike localhost, is no secure context: no `navigator.clipboard`.
const at = stage(['--host-resolver-rules=MAP console.test 127.0.0.1']);

const PHONE = { viewport: { width: 360, height: 640 } };

const button = (page, name) => page.getByRole('button', { name, exact: true });

const focused = (page) =>
  page.evaluate(() => {
    const { activeElement } = document;
    return activeElement.ariaLabel ?? activeElement.textContent;
  });

/** Presses `key` until the focus is on what is called `name`. */
async function pressUntil(page, key, name) {
  const passed = [];
  while ((await focused(page)) !== name) {
    assert.ok(passed.length < 12, `${key} never reaches ${name}: ${passed.join(', ')}`);
    await page.keyboard.press(key);
    passed.push(await focused(page));
  }
  const ring = await page.evaluate(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
    return `${outlineStyle} ${outlineWidth}`;
  });
  if (name !== 'Terminal input') assert.equal(ring, 'solid 2px');
}

test('everything comes from the proxy, and its policy has nothing to object to', async () => {
  const { page, session } = await at.attach();
  const origins = await page.evaluate(() =>
    performance.getEntriesByType('resource').map(({ name }) => new URL(name).origin),
  );
  assert.deepEqual([...new Set(origins)], [new URL(at.proxy.url()).origin]);
  session.print('\x1b[31mred\x1b[0m\x1b[4munderlined\x1b[0m');
  await seeInTerminal(page, 'red');
  assert.deepEqual(page.faults, []);
});

test('the page works below any path', async () => {
  for (const path of ['/', '/consoles/of/hall-7/serial.html']) {
    const page = await at.page({}, at.proxy.url('token=t', path));
    const session = await at.proxy.admit();
    assert.equal(session.path, path);
    await see(page.getByText('connected · you are typing'));
  }
});

test('the keyboard reaches everything: out of the terminal, along the tools, and back', async () => {
  const { page, session } = await at.attach({ can: ['write', 'power'] });
  assert.equal(await focused(page), 'Terminal input');
  await see(page.getByText('Shift+F6 leaves the terminal and comes back'));
  const hint = await page.getByLabel('Terminal input').getAttribute('aria-describedby');
  assert.equal(hint, 'hint');
  await page.keyboard.press('Tab');
  await session.typed('\t');
  await page.keyboard.press('Shift+F6');
  for (const name of ['Search', 'Copy', 'Paste', 'Share', 'Machine', 'View', 'Keys', 'More']) {
    await pressUntil(page, 'Tab', name);
  }
  await pressUntil(page, 'Shift+Tab', 'Search');
  await pressUntil(page, 'Shift+F6', 'Terminal input');
  assert.equal(session.input.toString(), '\t');
});

test('Tab alone leaves a terminal that does not listen, to the offers of the notice', async () => {
  const { page, session } = await at.attach();
  session.close(4006, 'maintenance');
  await see(page.getByRole('alert'));
  await pressUntil(page, 'Tab', 'Reconnect');
  await pressUntil(page, 'Tab', 'Watch');
  await page.keyboard.press('Enter');
  assert.equal((await at.proxy.admit({ mode: 'watch' })).query.get('mode'), 'watch');
  assert.equal(await focused(page), 'Terminal input');
  await pressUntil(page, 'Shift+Tab', 'More');
});

test('the question keeps the focus inside, and starts at Cancel', async () => {
  const page = await at.page();
  const refused = await at.proxy.attempt();
  refused.pen('held', { holder: 'alice', can: ['write', 'force'] });
  refused.close(4004, 'busy: alice since 2026-01-02T09:05:00Z');
  await see(button(page, 'Take over…'));
  await pressUntil(page, 'Tab', 'Take over…');
  await page.keyboard.press('Enter');
  await see(page.getByRole('dialog', { name: 'Take over from alice?' }));
  assert.equal(await focused(page), 'Cancel');
  for (let pressed = 0; pressed < 6; pressed += 1) {
    await page.keyboard.press('Tab');
    const inside = await page.evaluate(
      () => document.activeElement === document.body || !!document.activeElement.closest('dialog'),
    );
    assert.ok(inside, await focused(page));
  }
  await page.keyboard.press('Escape');
  assert.equal(await focused(page), 'Take over…');
});

test('search begins and ends in the terminal', async () => {
  const { page, session } = await at.attach();
  session.print('error one\r\n');
  await seeInTerminal(page, 'one');
  await page.keyboard.press('Control+Shift+F');
  assert.equal(await focused(page), 'Search for');
  await page.keyboard.type('error');
  const matches = page.getByRole('search').getByRole('status');
  await matches.getByText('1 of 1').waitFor();
  await page.getByLabel('Search for').fill('nowhere');
  await matches.getByText('no match').waitFor();
  await page.getByLabel('Search for').press('Escape');
  await page.getByRole('search').waitFor({ state: 'hidden' });
  assert.equal(await focused(page), 'Terminal input');
  assert.equal(session.input.length, 0);
});

/** Selects the word at the start of the terminal. */
async function selectFirstWord(page) {
  const box = await page.locator('.xterm-screen').boundingBox();
  await page.mouse.dblclick(box.x + 12, box.y + 8);
}

test('Copy and Paste use the clipboard', async () => {
  const { page, session } = await at.attach(
    {},
    { permissions: ['clipboard-read', 'clipboard-write'] },
  );
  session.print('selected words');
  await seeInTerminal(page, 'selected');
  await button(page, 'Copy').click();
  await see(page.getByText('Nothing is selected. Select some text, then copy.'));
  await selectFirstWord(page);
  await button(page, 'Copy').click();
  await see(page.getByText('Copied.'));
  await button(page, 'Paste').click();
  await session.typed('selected');
  assert.equal(await focused(page), 'Terminal input');
  session.print('\x1b[?2004h.');
  await seeInTerminal(page, 'words.');
  await page.evaluate(() => navigator.clipboard.writeText('two\nlines'));
  await button(page, 'Paste').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Paste' }).click();
  await session.typed('\x1b[200~two\rlines\x1b[201~');
});

test('Ctrl+Shift+C and Ctrl+Shift+V copy and paste without any permission', async () => {
  const url = at.proxy.url().replace('127.0.0.1', 'console.test');
  const page = await at.page({}, url);
  const session = await at.proxy.admit();
  session.print('selected words');
  await seeInTerminal(page, 'selected');
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await selectFirstWord(page);
  await page.keyboard.press('Control+Shift+C');
  await see(page.getByText('Copied.'));
  await page.keyboard.press('Control+Shift+V');
  await session.typed('selected');
  await button(page, 'Paste').click();
  await see(page.getByText('Press Ctrl+Shift+V instead'));
  assert.equal(session.input.toString(), 'selected');
});

for (const scheme of ['light', 'dark']) {
  test(`the page is ${scheme} where the system is, or as the button says, also after a reload`, async () => {
    const { page, session } = await at.attach({}, { colorScheme: scheme });
    session.print('\x1b]11;?\x07');
    const other = scheme === 'light' ? 'dark' : 'light';
    await session.typed('rgb:');
    assert.equal(lightness(session.input.toString()), scheme);
    assert.equal(await pageLightness(page), scheme);
    const choice = page.getByRole('menuitemradio', { name: new RegExp(other, 'i') });
    await button(page, 'View').click();
    await choice.click();
    assert.equal(await pageLightness(page), other);
    await page.reload();
    await at.proxy.admit();
    await button(page, 'View').click();
    assert.equal(await choice.getAttribute('aria-checked'), 'true');
    assert.equal(await pageLightness(page), other);
  });
}

test('the page follows a system that changes its colors', async () => {
  const { page, session } = await at.attach({}, { colorScheme: 'light' });
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.evaluate(() => new Promise(requestAnimationFrame));
  session.print('\x1b]11;?\x07');
  await session.typed('rgb:');
  assert.equal(lightness(session.input.toString()), 'dark');
  assert.equal(await pageLightness(page), 'dark');
});

/** `light` or `dark`, of an answer `rgb:RRRR/GGGG/BBBB`. */
function lightness(answer) {
  return Number.parseInt(/rgb:(..)/.exec(answer)[1], 16) > 127 ? 'light' : 'dark';
}

async function pageLightness(page) {
  const color = await page.evaluate(
    () => getComputedStyle(document.documentElement).backgroundColor,
  );
  return Number(/\d+/.exec(color)[0]) > 127 ? 'light' : 'dark';
}

/** Nothing may reach beyond the window, and nothing but the terminal may scroll. */
async function assertFits(page) {
  const outside = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const visible = [
      ...document.querySelectorAll('h1, p, button, input, main, pre, dialog, #screen'),
    ].filter((element) => element.checkVisibility());
    return visible
      .filter((element) => {
        const { left, right } = element.getBoundingClientRect();
        return left < 0 || right > width;
      })
      .map((element) => element.outerHTML.slice(0, 80));
  });
  assert.deepEqual(outside, []);
  const scrolls = await page.evaluate(() => {
    const { scrollWidth, scrollHeight, clientWidth, clientHeight } = document.documentElement;
    return scrollWidth > clientWidth || scrollHeight > clientHeight;
  });
  assert.equal(scrolls, false);
}

test('a phone of 360 px shows all of it: status, tools, search and terminal', async () => {
  const name = 'a-rather-long-server-name-that-someone-chose.example.org';
  const { page, session } = await at.attach({ server: { id: 'x', name } }, PHONE);
  session.say({ type: 'state', state: 'waiting', reason: 'server is SHUTOFF' });
  session.say({ type: 'viewers', count: 12 });
  session.print('x'.repeat(500));
  await see(page.getByText('waiting for the guest: server is shut off · you are typing'));
  await see(page.getByRole('list', { name: '12 attached' }));
  await button(page, 'Search').click();
  await assertFits(page);
  const port = await page.getByText('port 0', { exact: true }).boundingBox();
  assert.ok(port.x > 0 && port.x + port.width < 360, `the port at ${port.x} px`);
  const screen = await page.locator('#screen').boundingBox();
  assert.ok(screen.height > 300, `${screen.height} px for the terminal`);
  await page.waitForFunction(() => window.serialproxy.text().length === 500);
});

test('a phone of 360 px shows a busy console, its offers and the question', async () => {
  const page = await at.page(PHONE);
  const refused = await at.proxy.attempt();
  const holder = 'someone.with.a.long.name@example.org';
  refused.pen('held', { holder, can: ['write', 'force'], reason: 'since 2026-01-02T09:05:00Z' });
  refused.close(4004, `busy: ${holder} since 2026-01-02T09:05:00Z`);
  await see(page.getByRole('alert'));
  await assertFits(page);
  await button(page, 'Take over…').click();
  await see(page.getByRole('dialog'));
  await assertFits(page);
});

test('a phone of 360 px shows how to get a console URL', async () => {
  const page = await at.page(PHONE, at.proxy.url(''));
  await see(page.getByRole('heading', { name: 'This page needs a console URL' }));
  await assertFits(page);
});
