// Consoles side by side: `/consoles?at=SERVER/PORT&at=…`.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { faint, see } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { CALLER, fleetServer } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const DESKTOP = { viewport: { width: 1280, height: 800 } };

const button = (page, name) => page.getByRole('button', { name, exact: true });
const tile = (page, name) => page.getByRole('region', { name, exact: true });
const inside = (page, name) => tile(page, name).locator('iframe').contentFrame();
const terminal = (page, name) => inside(page, name).locator('#screen');
const heading = (page, name) => page.getByRole('heading', { name, exact: true });

/** The tiles that have a border as the one that is typed into. */
const active = (page) => page.locator('.tile.active').evaluateAll((all) => all.map((one) => one.ariaLabel));

/** Somebody is logged in, and sees these servers. */
function logIn(count) {
  at.proxy.caller = CALLER;
  at.proxy.fleet = Array.from({ length: count }, (_, index) => fleetServer(index + 1));
}

/** Opens the consoles of the first so many servers, and lets their sessions in. */
async function sideBySide(count, options = DESKTOP) {
  logIn(count + 1);
  const shown = at.proxy.fleet.slice(0, count);
  const query = new URLSearchParams(shown.map(({ name }) => ['at', `${name}/0`]));
  const page = await at.page(options, at.proxy.url(String(query), '/consoles'));
  const sessions = await letIn(count);
  for (const { name } of shown) await see(heading(page, `${name}:0`));
  return { page, sessions };
}

/** Lets so many sessions in, and gives them in the order of their servers. */
async function letIn(count, hello = { mode: 'watch', can: ['write'] }) {
  const sessions = [];
  for (let left = count; left > 0; left -= 1) {
    const session = await at.proxy.attempt();
    const name = decodeURIComponent(session.path.split('/').at(-2));
    const index = at.proxy.fleet.findIndex((server) => server.name === name || server.id === name);
    session.id = fleetServer(100 + index).id;
    session.hello({ ...hello, server: at.proxy.fleet[index], session: session.id });
    sessions[index] = session;
  }
  return sessions.filter(Boolean);
}

/** Lets the session of a tile type, which asks for it. */
async function grant(page, name, session) {
  const asked = await session.hears('pen');
  assert.deepEqual(asked, [{ type: 'pen', do: 'request' }]);
  session.pen('held', { holder: 'carol', session: session.id, by: 'carol' });
  await see(tile(page, name).getByText('you are typing'));
}

for (const [kind, options] of [
  ['a desktop', DESKTOP],
  ['a phone', PHONE],
]) {
  test(`on ${kind}, a tile watches until one clicks into it, and a border shows where one types`, async () => {
    const { page, sessions } = await sideBySide(3, options);
    for (const { query } of sessions) assert.equal(query.get('mode'), 'watch');
    assert.deepEqual(await active(page), []);
    await terminal(page, 'web-2:0').click();
    await grant(page, 'web-2:0', sessions[1]);
    await page.keyboard.type('uptime');
    await sessions[1].typed('uptime');
    assert.deepEqual(await active(page), ['web-2:0']);
    assert.deepEqual([sessions[0].input.length, sessions[2].input.length], [0, 0]);
    assert.deepEqual([sessions[0].said('pen'), sessions[2].said('pen')], [[], []]);
  });

  test(`on ${kind}, nine tiles fit, and every text has enough contrast`, async () => {
    const { page } = await sideBySide(9, options);
    await see(page.getByText('9 consoles'));
    assert.equal(await button(page, 'Add…').isDisabled(), true);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    assert.deepEqual(await faint(page), []);
  });
}

test('where somebody else types, a click asks nobody and says who it is', async () => {
  const { page, sessions } = await sideBySide(2);
  sessions[0].pen('held', { holder: 'alice' });
  const strip = inside(page, 'web-1:0').getByRole('region', { name: 'Typing' });
  await see(strip.getByText('alice is typing'));
  await terminal(page, 'web-1:0').click();
  await terminal(page, 'web-2:0').click();
  await grant(page, 'web-2:0', sessions[1]);
  assert.deepEqual(sessions[0].said('pen'), []);
});

test('what is typed and pasted into a chosen tile goes to all of them, after one question', async () => {
  const { page, sessions } = await sideBySide(3);
  await button(page, 'Broadcast…').click();
  const question = page.getByRole('dialog', { name: 'Type into several consoles at once?' });
  await question.getByRole('checkbox', { name: 'web-3:0' }).uncheck();
  await question.getByRole('checkbox', { name: 'web-2:0' }).uncheck();
  assert.equal(await button(question, 'Broadcast').isDisabled(), true);
  await question.getByRole('checkbox', { name: 'web-2:0' }).check();
  await button(question, 'Broadcast').click();
  await grant(page, 'web-1:0', sessions[0]);
  await grant(page, 'web-2:0', sessions[1]);
  await see(page.getByText('What you type goes to web-1:0, web-2:0.'));
  assert.deepEqual(await faint(page), []);
  await page.keyboard.type('date');
  for (const session of sessions.slice(0, 2)) await session.typed('date');
  await inside(page, 'web-2:0').getByLabel('Terminal input').evaluate((field) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', 'two\nlines\n');
    field.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
  });
  await button(inside(page, 'web-2:0'), 'Paste').click();
  for (const session of sessions.slice(0, 2)) await session.typed('two\rlines\r');
  assert.equal(sessions[2].input.length, 0);
  await button(page, 'Stop broadcast').click();
  await terminal(page, 'web-1:0').click();
  await page.keyboard.type('alone');
  await sessions[0].typed('alone');
  assert.equal(sessions[1].input.toString(), 'datetwo\rlines\r');
});

test('a chosen tile that takes no input is named, and gets none', async () => {
  const { page, sessions } = await sideBySide(2);
  await button(page, 'Broadcast…').click();
  await button(page.getByRole('dialog'), 'Broadcast').click();
  await grant(page, 'web-1:0', sessions[0]);
  await see(page.getByText('What you type goes to web-1:0. Not to web-2:0: you are not typing there.'));
  await page.keyboard.type('x');
  await sessions[0].typed('x');
  assert.equal(sessions[1].input.length, 0);
});

test('the keyboard alone goes from tile to tile, and to the buttons of one', async () => {
  const { page, sessions } = await sideBySide(3);
  await terminal(page, 'web-1:0').click();
  await grant(page, 'web-1:0', sessions[0]);
  await page.keyboard.press('Control+Shift+ArrowRight');
  await grant(page, 'web-2:0', sessions[1]);
  await page.keyboard.type('second');
  await sessions[1].typed('second');
  await page.keyboard.press('Control+Shift+ArrowLeft');
  await page.locator('.tile.active').and(tile(page, 'web-1:0')).waitFor();
  await page.keyboard.press('Control+Shift+ArrowLeft');
  await grant(page, 'web-3:0', sessions[2]);
  await page.keyboard.type('third');
  await sessions[2].typed('third');
  assert.deepEqual(await active(page), ['web-3:0']);
  await page.keyboard.press('Shift+F6');
  await page.waitForFunction(() => document.activeElement.ariaLabel === 'Open alone: web-3:0');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await see(page.getByText('2 consoles'));
  assert.equal(await tile(page, 'web-3:0').count(), 0);
  assert.equal(page.url(), at.proxy.url('at=web-1%2F0&at=web-2%2F0', '/consoles'));
});

test('a console is added from the list, and is in the address then', async () => {
  const { page } = await sideBySide(1);
  await button(page, 'Add…').click();
  const list = page.getByRole('dialog', { name: 'Add a console' });
  await list.getByRole('link', { name: 'web-2' }).click();
  await letIn(1);
  await see(heading(page, 'web-2:0'));
  assert.equal(page.url(), at.proxy.url(`at=web-1%2F0&at=${fleetServer(2).id}%2F0`, '/consoles'));
});

test('a console leads to the page that shows another one beside it', async () => {
  logIn(2);
  const page = await at.page(DESKTOP, at.proxy.url('', '/console/web-1/0'));
  (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0] });
  await page.locator('#server-button').waitFor();
  await button(page, 'Menu').click();
  await page.getByRole('menuitem', { name: 'Show another beside it…' }).click();
  await page.getByRole('dialog', { name: 'Show another beside it' }).getByRole('link', { name: 'web-2' }).click();
  await letIn(2);
  await see(heading(page, 'web-1:0'));
  await see(heading(page, 'web-2:0'));
});

test('the title of the tab carries the mark of a tile, and an end is said', async () => {
  const { page, sessions } = await sideBySide(2);
  sessions[1].close(4007, 'idle');
  await see(page.getByRole('status').filter({ hasText: 'web-2:0: closed' }));
  await page.waitForFunction(() => document.title === '✕ web-1:0, web-2:0');
});

test('whoever is not logged in is led to the login, and back to the same consoles', async () => {
  logIn(2);
  at.proxy.caller = null;
  const page = await at.page(DESKTOP, at.proxy.url('at=web-1%2F0&at=web-2%2F0', '/consoles'));
  at.pages.pop();
  at.pages.push({ context: () => page.context(), faults: [] });
  await page.waitForURL((url) => url.pathname === '/');
  assert.equal(new URL(page.url()).searchParams.get('next'), 'consoles?at=web-1%2F0&at=web-2%2F0');
});

test('without consoles the page says how to get some', async () => {
  logIn(1);
  const page = await at.page(DESKTOP, at.proxy.url('at=nonsense&at=web-1%2F1234', '/consoles'));
  await see(heading(page, 'No console is shown'));
  await see(page.getByRole('link', { name: 'servers page' }));
});
