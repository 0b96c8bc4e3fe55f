// Ten tasks of a bad day, each with the keyboard alone and with a phone's touch alone. Each says how many keys or taps it
// takes and how long, and none may take more than it does now. Text that is typed counts as one.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';

import { see, seeInTerminal } from './browser.mjs';
import { PHONE, fingerOf } from './phone.mjs';
import { CALLER, SESSION, fleetServer } from './server.mjs';
import { stage } from './stage.mjs';

const at = stage();

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const CLIPBOARD = { permissions: ['clipboard-read', 'clipboard-write'] };
const CAN = ['write', 'force', 'power'];
const ALICE = 'a11ce000-0000-4000-8000-000000000000';
const LINES = Array.from({ length: 200 }, (_, at) => `line ${at}\n`).join('');
const TRACE = ['Call Trace:', ' dump_stack+0x41', ' panic+0xfd', ' mount_root+0x1'];

/** Keys until something has the focus, at most. */
const FAR = 30;

const named = (name) => (typeof name === 'string' ? { name, exact: true } : { name });
const copied = (page) => page.evaluate(() => navigator.clipboard.readText());
const says = (page, text) => page.getByRole('status').filter({ hasText: text });

/** Somebody at a page, whose keys or taps are counted. */
class Hand {
  inputs = 0;

  constructor(page) {
    this.page = page;
  }
}

/** Who works with the keyboard alone. */
class Keys extends Hand {
  static options = DESKTOP;

  async key(key) {
    this.inputs += 1;
    await this.page.keyboard.press(key);
  }

  async type(text) {
    this.inputs += 1;
    await this.page.keyboard.type(text);
  }

  /** Presses Tab until the focus is on what `locator` finds. */
  async reach(locator) {
    await see(locator);
    for (let left = FAR; left > 0; left -= 1) {
      if (await locator.first().evaluate((one) => one === document.activeElement)) return;
      await this.key('Tab');
    }
    throw new Error(`${FAR} times Tab do not reach ${locator}`);
  }

  async press(locator) {
    await this.reach(locator);
    await this.key('Enter');
  }

  /** Selects one of a list by the first letters of its words. */
  async select(locator, words) {
    await this.reach(locator);
    this.inputs += 1;
    // At once: a letter that comes a second later begins a new word.
    await Promise.all([...words].map((letter) => this.page.keyboard.type(letter)));
  }

  /** An action, by a part of its name. */
  async action(words) {
    await this.key('Control+Shift+P');
    await see(this.page.getByRole('dialog', { name: 'All actions' }));
    await this.type(words);
    await this.key('Enter');
  }
}

/** Who works with the fingers alone. */
class Touch extends Hand {
  static options = PHONE;

  async type(text) {
    this.inputs += 1;
    await this.page.keyboard.insertText(text);
  }

  async press(locator) {
    this.inputs += 1;
    await locator.first().tap();
  }

  /** The list of a phone is the system's: a tap opens it, and another one selects. */
  async select(locator, words) {
    this.inputs += 2;
    await locator.selectOption(words);
  }

  async menu(menu, item) {
    await this.press(this.page.getByRole('button', named(menu)));
    await this.press(this.page.getByRole('menuitem', named(item)));
  }
}

/** A page of somebody who is logged in, at the console of the first server. */
async function open(Kind, hello = {}, { before, path = '/console/web-1/0' } = {}) {
  at.proxy.caller = CALLER;
  at.proxy.fleet = [fleetServer(1), fleetServer(2), fleetServer(3)];
  at.proxy.ports.set(fleetServer(1).id, [0, 1]);
  before?.();
  const page = await at.page({ ...Kind.options, ...CLIPBOARD }, at.proxy.url('', path));
  const session = await at.proxy.attempt();
  session.hello({ server: at.proxy.fleet[0], can: CAN, resume: 'key', ...hello });
  await page.locator('#server-button').waitFor();
  return { page, session };
}

/** Each task: what stands before it, and how it is done with keys and with touch. */
const TASKS = {
  "open a server's second port": {
    most: [5, 1],
    start: open,
    keys: async (hand, { page }) => {
      await hand.key('Control+Shift+O');
      await see(page.getByRole('link', { name: 'web-1 port 1' }));
      await hand.type('web-1');
      await hand.key('ArrowDown');
      await hand.key('ArrowDown');
      await hand.key('Enter');
    },
    touch: (hand, { page }) => hand.press(page.getByRole('tab', named('Port 1'))),
    end: async (page) => {
      await page.waitForURL(at.proxy.url('', `/console/${fleetServer(1).id}/1`));
      (await at.proxy.attempt()).hello({ server: at.proxy.fleet[0], port: 1 });
      await see(page.getByRole('tab', { name: 'Port 1', selected: true }));
    },
  },
  'find the panic of the last boot': {
    most: [3, 2],
    start: async (Kind) => {
      const its = await open(Kind, { epoch: 2 });
      const rows = Array.from({ length: 200 }, (_, row) => `row ${row}`);
      its.session.print([...rows, 'Kernel panic - not syncing: VFS', ...rows, 'web-1 login: '].join('\r\n'));
      await seeInTerminal(its.page, 'web-1 login:');
      return its;
    },
    keys: (hand) => hand.action('panic'),
    touch: (hand) => hand.menu('More', 'Last kernel panic'),
    end: (page) => page.waitForFunction(() => document.querySelector('.xterm-rows').textContent.includes('Kernel panic')),
  },
  'take over from someone politely': { most: [4, 2], ...takeOver('Ask to type', 'Ask', 'request') },
  'take over from someone by force': { most: [6, 2], ...takeOver('Take over…', 'Take over', 'force') },
  'paste 200 lines safely': {
    most: [3, 2],
    start: async (Kind) => {
      const its = await open(Kind);
      await its.page.evaluate((text) => navigator.clipboard.writeText(text), LINES);
      return its;
    },
    keys: async (hand, { page }) => {
      await hand.key('Control+Shift+V');
      await hand.press(page.getByRole('dialog', { name: 'Paste 200 lines?' }).getByRole('button', named('Paste')));
    },
    touch: async (hand, { page }) => {
      await hand.press(page.getByRole('button', named('Paste')));
      await hand.press(page.getByRole('dialog', { name: 'Paste 200 lines?' }).getByRole('button', named('Paste')));
    },
    end: (_, { session }) => session.typed(LINES.replaceAll('\n', '\r')),
  },
  'copy a stack trace': {
    most: [3, 2],
    start: async (Kind) => {
      const its = await open(Kind);
      its.session.print(TRACE.join('\r\n'));
      await seeInTerminal(its.page, 'mount_root');
      return its;
    },
    keys: (hand) => hand.action('copy screen'),
    touch: async (hand, { page }) => {
      const finger = await fingerOf(page);
      const rows = await page.locator('.xterm-rows > div').all();
      const [first, last] = await Promise.all([rows[0].boundingBox(), rows[TRACE.length - 1].boundingBox()]);
      hand.inputs += 1;
      await finger.press(first.x + 3, first.y + first.height / 2);
      await finger.move(first.x + 100, last.y + last.height / 2);
      await finger.up();
      await hand.press(page.getByRole('toolbar', { name: 'Selection' }).getByRole('button', named('Copy')));
    },
    end: async (page) => {
      await see(says(page, 'Copied.'));
      assert.ok((await copied(page)).trimEnd().startsWith(TRACE.slice(0, -1).join('\n')));
    },
  },
  'share a watch link for an hour and revoke it': {
    most: [9, 6],
    start: (Kind) => open(Kind, {}, { before: () => links([]) }),
    keys: async (hand, { page }) => {
      await hand.action('share');
      await revoke(hand, page);
    },
    touch: async (hand, { page }) => {
      await hand.menu('Share', 'Share…');
      await revoke(hand, page);
    },
    end: async (page) => {
      await see(says(page, 'Revoked.'));
      assert.deepEqual(at.proxy.bodies, [{ mode: 'watch', seconds: 3600 }]);
    },
  },
  'reboot and catch the boot loader': {
    most: [6, 4],
    start: open,
    keys: async (hand, its) => {
      await hand.action('reboot');
      await hand.press(its.page.getByRole('dialog').getByRole('button', named('Reboot')));
      await boots(its);
      await hand.key('Escape');
    },
    touch: async (hand, its) => {
      await hand.menu('Machine', 'Reboot…');
      await hand.press(its.page.getByRole('dialog').getByRole('button', named('Reboot')));
      await boots(its);
      await hand.press(its.page.getByRole('toolbar', named('Keys')).getByRole('button', named('Esc')));
    },
    end: (_, { session }) => session.typed('\x1b'),
  },
  'watch three consoles at once': {
    most: [9, 5],
    start: open,
    keys: async (hand, { page }) => {
      await hand.action('beside');
      await choose(hand, page, 'web-2');
      await page.waitForURL((url) => url.pathname === '/consoles');
      await hand.press(page.getByRole('button', named('Add…')));
      await choose(hand, page, 'web-3');
    },
    touch: async (hand, { page }) => {
      await hand.menu('Menu', 'Show another beside it…');
      await hand.press(page.getByRole('dialog').getByRole('link', { name: 'web-2' }));
      await page.waitForURL((url) => url.pathname === '/consoles');
      await hand.press(page.getByRole('button', named('Add…')));
      await hand.press(page.getByRole('dialog').getByRole('link', { name: 'web-3' }));
    },
    end: async (page) => {
      for (let left = 3; left > 0; left -= 1) {
        const session = await at.proxy.attempt();
        session.hello({ server: at.proxy.fleet.find(({ id }) => session.path.includes(id)), can: CAN, mode: 'watch' });
      }
      for (const number of [1, 2, 3]) await see(page.getByRole('heading', named(`web-${number}:0`)));
    },
  },
  'search all that the server keeps for a word that has scrolled away': {
    most: [11, 4],
    start: (Kind) => open(Kind, {}, { before: () => keep('early: out of memory\r\nlater\r\n') }),
    keys: async (hand, { page }) => {
      await hand.key('Control+Shift+F');
      await search(hand, page);
    },
    touch: async (hand, { page }) => {
      await hand.press(page.getByRole('button', named('Search')));
      await search(hand, page);
    },
    end: (page) => see(page.getByRole('dialog').getByLabel('Output').getByText('out of memory')),
  },
  'come back after the laptop slept': {
    most: [1, 1],
    start: async (Kind) => {
      const its = await open(Kind);
      its.session.drop();
      const back = await at.proxy.attempt();
      assert.equal(back.query.get('resume'), 'key');
      back.hello({ server: at.proxy.fleet[0], can: CAN, session: SESSION });
      await see(says(its.page, 'you are typing'));
      return { ...its, session: back };
    },
    keys: (hand) => hand.type('u'),
    touch: (hand, { page }) => hand.press(page.getByRole('toolbar', named('Keys')).getByRole('button', named('Esc'))),
    end: (_, { session }) => session.until(() => session.input.length === 1, 'key'),
  },
};

function takeOver(offer, yes, action) {
  const press = async (hand, { page }) => {
    const strip = page.getByRole('region', named('Typing'));
    if (hand instanceof Keys) await hand.key('Shift+F6');
    if (hand instanceof Keys) await hand.key('Shift+F6');
    await hand.press(strip.getByRole('button', named(offer)));
    const dialog = page.getByRole('dialog');
    await see(dialog);
    // Who only asks may say why, and Enter is enough there.
    if (hand instanceof Keys && action === 'request') await hand.key('Enter');
    else await hand.press(dialog.getByRole('button', named(yes)));
  };
  return {
    start: async (Kind) => {
      const its = await open(Kind, { mode: 'watch' });
      its.session.pen('held', { holder: 'alice', session: ALICE });
      await see(its.page.getByText('alice is typing'));
      return its;
    },
    keys: press,
    touch: press,
    end: async (page, { session }) => {
      assert.deepEqual(await session.hears('pen'), [{ type: 'pen', do: action }]);
      session.pen('held', { holder: 'carol', session: SESSION, by: 'carol' });
      await see(says(page, 'you are typing'));
    },
  };
}

/** Chooses a server in the list that is open. */
async function choose(hand, page, name) {
  await see(page.getByRole('dialog').getByRole('link', { name }));
  await hand.type(name);
  await hand.key('Enter');
}

async function search(hand, page) {
  await hand.type('memory');
  await hand.press(page.getByRole('button', named('All that is kept')));
  await hand.press(page.getByRole('region', { name: 'All that the server keeps' }).getByRole('button'));
}

/** The guest starts again, and its boot loader waits for a key. */
async function boots({ page, session }) {
  assert.deepEqual(await session.hears('power'), [{ type: 'power', do: 'reboot' }]);
  session.say({ type: 'epoch', epoch: 2, offset: 0 });
  session.print('Press Esc for the boot menu');
  await seeInTerminal(page, 'Press Esc');
}

function links(all) {
  at.proxy.instead.set(`GET /v1/lines/${fleetServer(1).id}/0/links`, [200, { links: all, longest: 86_400 }]);
}

async function revoke(hand, page) {
  const dialog = page.getByRole('dialog', { name: 'Share' });
  const path = `/v1/lines/${fleetServer(1).id}/0/links`;
  const times = { created: '2026-11-30T09:04:00Z', expires: '2026-11-30T10:04:00Z' };
  const link = { id: 'l-1', mode: 'watch', user: 'carol', sessions: 0, ...times };
  // The page asks for the list again at once.
  at.proxy.instead.set(`POST ${path}`, () => {
    links([link]);
    return [201, { link, url: 'http://127.0.0.1/?token=x' }];
  });
  at.proxy.instead.set(`DELETE ${path}/l-1`, () => {
    links([]);
    return [204];
  });
  await see(dialog.getByText('None.'));
  await hand.select(dialog.getByLabel('For'), '1 hour');
  await hand.press(dialog.getByRole('button', named('Copy new link')));
  await see(says(dialog, 'Copied.'));
  await hand.press(dialog.getByRole('button', { name: /^Revoke/ }));
}

/** What the server keeps of the line. */
function keep(text) {
  const bytes = Buffer.from(text);
  at.proxy.history = (from) => ({ offset: from, bytes: bytes.subarray(Math.max(0, from)), end: bytes.length });
}

for (const [name, { most, start, keys, touch, end }] of Object.entries(TASKS)) {
  for (const [kind, Kind, act, limit] of [
    ['the keyboard', Keys, keys, most[0]],
    ['touch', Touch, touch, most[1]],
  ]) {
    test(`by ${kind} alone: ${name}`, async (t) => {
      const its = await start(Kind);
      const hand = new Kind(its.page);
      const began = performance.now();
      await act(hand, its);
      await end(its.page, its);
      t.diagnostic(`${hand.inputs} ${Kind === Keys ? 'keys' : 'taps'}, ${Math.round(performance.now() - began)} ms`);
      assert.ok(hand.inputs <= limit, `${hand.inputs} instead of ${limit}`);
    });
  }
}
