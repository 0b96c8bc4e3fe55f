// Names that are written from right to left, of libvirt's guests and Keystone's users: each is read rightly, and moves
// nothing around it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { see } from './browser.mjs';
import { CALLER, SESSION, fleetServer } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const DESKTOP = { viewport: { width: 1280, height: 800 } };
/** Ends with what has no direction of its own, which is where a name goes wrong. */
const NAME = 'שרת בדיקה (1)';
const USER = 'أحمد!';
const ALICE = 'a11ce000-0000-4000-8000-000000000000';

/** From where to where a text of the page reaches, in pixels. */
async function extent(page, text) {
  return page.evaluate((wanted) => {
    const root = document.querySelector('dialog') ?? document.body;
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = texts.nextNode(); node; node = texts.nextNode()) {
      const from = node.data.indexOf(wanted);
      if (from < 0 || !node.parentElement.checkVisibility()) continue;
      const range = document.createRange();
      range.setStart(node, from);
      range.setEnd(node, from + wanted.length);
      const { left, right } = range.getBoundingClientRect();
      if (right > left) return { left, right };
    }
    throw new Error(`${wanted} is not shown`);
  }, text);
}

/** Whether these texts stand from left to right. */
async function standInOrder(page, ...texts) {
  const places = [];
  for (const text of texts) places.push(await extent(page, text));
  for (const [at, { left }] of places.entries()) {
    if (at > 0) assert.ok(left >= places[at - 1].right - 1, `${texts[at]} after ${texts[at - 1]}`);
  }
}

/** The sign that ends a name from right to left is at its left. */
async function readsFromTheRight(page, first, last) {
  const [begin, end] = [await extent(page, first), await extent(page, last)];
  assert.ok(end.right <= begin.left + 1, `${last} ends what ${first} begins`);
}

function logIn() {
  at.proxy.caller = CALLER;
  at.proxy.fleet = [fleetServer(1, { name: NAME })];
}

test('in the header and the strip of a console', async () => {
  logIn();
  const page = await at.page(DESKTOP, at.proxy.url('', `/console/${encodeURIComponent(NAME)}/0`));
  const session = await at.proxy.attempt();
  session.hello({ server: at.proxy.fleet[0], mode: 'watch', can: ['write', 'force'] });
  session.pen('held', { holder: USER, session: ALICE });
  await see(page.getByText('is typing'));
  await standInOrder(page, NAME, 'port 0', 'connected');
  await readsFromTheRight(page, 'שרת', '(1)');
  await standInOrder(page, USER, 'is typing');
  await readsFromTheRight(page, 'أحمد', '!');
  assert.equal(await page.title(), `${NAME}:0 – console`);
});

test('in the list of consoles', async () => {
  logIn();
  const page = await at.page(DESKTOP, at.proxy.url('', `/console/${encodeURIComponent(NAME)}/0`));
  (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0] });
  await page.locator('#server-button').click();
  const list = page.getByRole('dialog', { name: 'Switch server' });
  await see(list.getByRole('link', { name: NAME }));
  const [name, state] = [await list.locator('bdi').boundingBox(), await list.locator('.state').boundingBox()];
  assert.ok(name.x + name.width <= state.x);
});

test('in questions about a user', async () => {
  const { page, session } = await at.attach({ mode: 'watch', can: ['write', 'force'] });
  session.pen('held', { holder: USER, session: ALICE });
  await page.getByRole('button', { name: 'Take over…' }).click();
  await see(page.getByRole('dialog'));
  await standInOrder(page, 'Take over from', USER);
  await readsFromTheRight(page, 'أحمد', '!');
  await standInOrder(page, '!', '?');
});

test('on the page with several consoles', async () => {
  logIn();
  const page = await at.page(DESKTOP, at.proxy.url(String(new URLSearchParams([['at', `${NAME}/0`]])), '/consoles'));
  const session = await at.proxy.attempt();
  session.hello({ server: at.proxy.fleet[0], mode: 'watch', session: SESSION });
  await see(page.getByText('connected · watching'));
  await standInOrder(page, 'שרת', 'connected');
});

test('no name turns the direction of what follows it', async () => {
  const { page, session } = await at.attach({ mode: 'watch', can: ['write', 'force'] });
  session.pen('held', { holder: '\u202eali\u2067ce', session: ALICE });
  await page.getByRole('button', { name: 'Take over…' }).click();
  await see(page.getByRole('dialog', { name: 'Take over from alice?', exact: true }));
  await standInOrder(page, 'Take over from', 'alice', '?');
});
