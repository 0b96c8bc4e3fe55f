// Consoles side by side: `/consoles?at=SERVER/PORT&at=…`.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { faint, see } from './browser.mjs';
import { PHONE } from './phone.mjs';
import { CALLER, fleetServer } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const ALICE = 'a11ce000-0000-4000-8000-000000000000';
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
async function sideBySide(count, options = DESKTOP, pen) {
  logIn(count + 1);
  const shown = at.proxy.fleet.slice(0, count);
  const query = new URLSearchParams(shown.map(({ name }) => ['at', `${name}/0`]));
  const page = await at.page(options, at.proxy.url(String(query), '/consoles'));
  const sessions = await letIn(count, pen);
  for (const { name } of shown) await see(heading(page, `${name}:0`));
  return { page, sessions };
}

/** Lets so many sessions in, and gives them in the order of their servers. */
async function letIn(count, pen = ['free'], hello = { mode: 'watch', can: ['write'] }) {
  const sessions = [];
  for (let left = count; left > 0; left -= 1) {
    const session = await at.proxy.attempt();
    const name = decodeURIComponent(session.path.split('/').at(-2));
    const index = at.proxy.fleet.findIndex((server) => server.name === name || server.id === name);
    session.id = fleetServer(100 + index).id;
    session.hello({ ...hello, server: at.proxy.fleet[index], session: session.id });
    session.pen(...pen);
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
  sessions[0].pen('held', { holder: 'alice', session: ALICE });
  const strip = inside(page, 'web-1:0').getByRole('region', { name: 'Typing' });
  await see(strip.getByText('alice is typing'));
  await terminal(page, 'web-1:0').click();
  await terminal(page, 'web-2:0').click();
  await grant(page, 'web-2:0', sessions[1]);
  assert.deepEqual(sessions[0].said('pen'), []);
  // Another click does, when she has left.
  await terminal(page, 'web-1:0').click();
  sessions[0].pen('free');
  await strip.waitFor({ state: 'hidden' });
  await terminal(page, 'web-1:0').click();
  await grant(page, 'web-1:0', sessions[0]);
});

test('a click while a tile connects asks nobody either', async () => {
  logIn(1);
  const page = await at.page(DESKTOP, at.proxy.url('at=web-1%2F0', '/consoles'));
  const session = await at.proxy.attempt();
  await see(tile(page, 'web-1:0').getByText('connecting'));
  await terminal(page, 'web-1:0').click();
  session.hello({ mode: 'watch', server: at.proxy.fleet[0] });
  session.pen('held', { holder: 'alice', session: ALICE });
  await see(inside(page, 'web-1:0').getByText('alice is typing'));
  session.say({ type: 'error', message: 'so far' });
  await see(inside(page, 'web-1:0').getByText('so far'));
  assert.deepEqual(session.said('pen'), []);
});

test('Tab goes through the tiles and takes nothing, and a key that is typed there does', async () => {
  const { page, sessions } = await sideBySide(2);
  await tile(page, 'web-1:0').getByRole('link', { name: 'Open alone' }).focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.waitForFunction(() => document.activeElement.tagName === 'IFRAME');
  assert.deepEqual(sessions[0].said('pen'), []);
  await page.keyboard.press('x');
  await grant(page, 'web-1:0', sessions[0]);
});

test('a tile whose session is lost watches when it comes back anew', async () => {
  const { page } = await sideBySide(1, DESKTOP);
  await page.reload();
  const again = await at.proxy.attempt();
  assert.equal(again.query.get('mode'), 'watch');
});

test('a session that cannot be resumed does not type by itself', async () => {
  const { page, sessions } = await sideBySide(1);
  sessions[0].hello({ mode: 'watch', server: at.proxy.fleet[0], resume: 'key', session: sessions[0].id });
  sessions[0].pen('held', { holder: 'alice', session: ALICE });
  await see(inside(page, 'web-1:0').getByText('alice is typing'));
  await page.reload();
  const again = await at.proxy.attempt();
  assert.equal(again.query.get('resume'), 'key');
  again.close(4001, 'token missing, unknown or expired: ask for a new console URL');
  const anew = await at.proxy.attempt();
  assert.deepEqual([anew.query.get('mode'), anew.query.get('token')], ['watch', 'fresh-1']);
  // The next token allows typing, which one click asks for.
  anew.close(4001, 'token missing, unknown or expired: ask for a new console URL');
  await at.proxy.attempt();
  assert.match(at.proxy.changes.at(-1), /get-serial-console\?port=0&wait=1$/);
});

test('a login that has ended takes no open console away', async () => {
  const { page, sessions } = await sideBySide(2);
  at.pages.pop();
  at.pages.push({ context: () => page.context(), faults: [] });
  at.proxy.caller = null;
  sessions[0].close(4001, 'token missing, unknown or expired: ask for a new console URL');
  await see(inside(page, 'web-1:0').getByText('This console URL has expired'));
  sessions[1].print('still here');
  await inside(page, 'web-2:0').getByText('still here').waitFor();
});

test('a console that cannot be opened says so in its tile', async () => {
  logIn(1);
  const page = await at.page(DESKTOP, at.proxy.url('at=web-1%2F0&at=nothing%2F0', '/consoles'));
  (await at.proxy.attempt()).hello({ mode: 'watch', server: at.proxy.fleet[0] });
  await see(tile(page, 'nothing:0').getByText('cannot be opened'));
  await see(page.getByRole('status').filter({ hasText: 'nothing:0: cannot be opened' }));
  await page.keyboard.press('Control+Shift+ArrowLeft');
  await page.locator('.tile.active').and(tile(page, 'web-1:0')).waitFor();
  await page.keyboard.press('Control+Shift+ArrowRight');
  await page.locator('.tile.active').and(tile(page, 'nothing:0')).waitFor();
  await page.keyboard.press('Control+Shift+ArrowRight');
  await page.locator('.tile.active').and(tile(page, 'web-1:0')).waitFor();
});

test('a closed tile ends its session at once', async () => {
  const { page, sessions } = await sideBySide(2);
  await button(page, 'Close web-1:0').click();
  await sessions[0].until(() => sessions[0].closedWith !== undefined, 'end');
  assert.equal(sessions[0].closedWith, 1000);
});

test('on a phone, a tile has the keys that its keyboard lacks', async () => {
  const { page, sessions } = await sideBySide(2, PHONE);
  await terminal(page, 'web-1:0').tap();
  await grant(page, 'web-1:0', sessions[0]);
  await inside(page, 'web-1:0').getByRole('button', { name: 'Esc', exact: true }).tap();
  await sessions[0].typed('\x1b');
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
  await pasteInto(page, 'web-2:0', 'two\nlines\n');
  await button(inside(page, 'web-2:0'), 'Paste').click();
  for (const session of sessions.slice(0, 2)) await session.typed('two\rlines\r');
  assert.equal(sessions[2].input.length, 0);
  await button(page, 'Stop broadcast').click();
  await terminal(page, 'web-1:0').click();
  await page.keyboard.type('alone');
  await sessions[0].typed('alone');
  assert.equal(sessions[1].input.toString(), 'datetwo\rlines\r');
});

/** Broadcasts to all tiles, each of which is let in. */
async function broadcast(page, sessions) {
  await button(page, 'Broadcast…').click();
  await button(page.getByRole('dialog'), 'Broadcast').click();
  for (const [index, session] of sessions.entries()) await grant(page, `web-${index + 1}:0`, session);
}

function pasteInto(page, name, text) {
  return inside(page, name).getByLabel('Terminal input').evaluate((field, pasted) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', pasted);
    field.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
  }, text);
}

test('the mouse is not broadcast, and a paste is asked about for all who get it', async () => {
  const { page, sessions } = await sideBySide(2);
  await broadcast(page, sessions);
  sessions[0].print('\x1b[?1000h\x1b[?1006h\x1b[?2004hmouse');
  await inside(page, 'web-1:0').getByText('mouse').waitFor();
  await terminal(page, 'web-1:0').click();
  await sessions[0].typed('\x1b[<0;');
  await pasteInto(page, 'web-1:0', 'one\ntwo\n');
  await see(inside(page, 'web-1:0').getByText('A shell runs each line'));
  await button(inside(page, 'web-1:0'), 'Paste').click();
  await sessions[1].typed('one\rtwo\r');
  assert.equal(sessions[1].input.toString(), 'one\rtwo\r');
});

test('whoever stops the broadcast stops its pastes, too', async () => {
  const { page, sessions } = await sideBySide(2);
  await broadcast(page, sessions);
  await pasteInto(page, 'web-1:0', 'x\n'.repeat(200_000));
  await button(inside(page, 'web-1:0'), 'Paste').click();
  for (const session of sessions) await session.typed('x\rx');
  await button(page, 'Stop broadcast').click();
  for (const name of ['web-1:0', 'web-2:0']) await see(inside(page, name).getByText(/^Paste stopped: /));
  await page.waitForFunction(() => document.activeElement.tagName === 'IFRAME');
});

test('a chosen tile that takes no input is named, and gets none', async () => {
  const { page, sessions } = await sideBySide(2);
  await button(page, 'Broadcast…').click();
  await button(page.getByRole('dialog'), 'Broadcast').click();
  await grant(page, 'web-1:0', sessions[0]);
  await see(page.getByText('What you type goes to web-1:0. Not to web-2:0 (watching).'));
  await page.keyboard.type('x');
  await sessions[0].typed('x');
  assert.equal(sessions[1].input.length, 0);
  sessions[1].close(4007, 'idle');
  await see(page.getByText('Not to web-2:0 (not connected).'));
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

test('a console that is named twice, once by its id, stands there once', async () => {
  logIn(1);
  const [{ name, id }] = at.proxy.fleet;
  const page = await at.page(DESKTOP, at.proxy.url(`at=${name}/0&at=${id}/0&at=${id}/1`, '/consoles'));
  const sessions = await letIn(3);
  await see(page.getByText('2 consoles'));
  assert.equal(sessions.length, 1);
  assert.equal(await page.getByRole('region').count(), 2);
  await see(page.getByText(`${name}:0 is here already`));
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
