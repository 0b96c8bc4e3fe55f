// The states of the pages that people meet, each by a name: for what has to hold in all of them, and for pictures.

import { blank, choose, paste, see, seeInTerminal } from './browser.mjs';
import { CALLER, SESSION, fleetServer, startProxy } from './server.mjs';
import { PASSWORD, TOKEN, id, line, server, session, startApi } from './servers.mjs';

/** The windows in which every state has to be right. */
export const WINDOWS = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
};

export const SCHEMES = ['light', 'dark'];

const ALICE = 'a11ce000-0000-4000-8000-000000000000';
const BOB = 'b0b00000-0000-4000-8000-000000000000';
const ALL = { can: ['write', 'force', 'power'] };

const BOOT = [
  '[    0.000000] Linux version 6.1.0-28-amd64 (gcc-12 (Debian 12.2.0-14) 12.2.0)',
  '[    0.412018] pci 0000:00:01.0: [1b36:000c] type 01 class 0x060400',
  '[    1.120433] EXT4-fs (vda1): mounted filesystem with ordered data mode.',
  '[\x1b[32m  OK  \x1b[0m] Started \x1b[1mOpenSSH server daemon\x1b[0m.',
  '[\x1b[31mFAILED\x1b[0m] Failed to start \x1b[1mnetworking - Raise network interfaces\x1b[0m.',
  '',
  'Debian GNU/Linux 12 web-1 ttyS0',
  '',
  'web-1 login: ',
].join('\r\n');

const button = (page, name) => page.getByRole('button', { name, exact: true });
const alert = (page) => page.getByRole('alert').filter({ hasText: /./ });
const says = (page, text) => page.getByRole('status').filter({ hasText: text });
const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();

/** A console page, and its session let in, on which a guest has booted. */
async function attached({ proxy, open }, hello = {}, query) {
  const page = await open(proxy.url(query));
  const its = await proxy.admit({ ...ALL, ...hello });
  its.print(BOOT);
  await seeInTerminal(page, 'web-1 login:');
  return { page, its };
}

/** One that alice types on. */
async function watched(at) {
  const { page, its } = await attached(at, { mode: 'watch' });
  its.pen('held', { holder: 'alice', session: ALICE, since: ago(12) });
  await see(says(page, 'alice is typing'));
  return { page, its };
}

/** One that ended. */
const ended = (code, reason) => async (at) => {
  const { page, its } = await attached(at);
  its.close(code, reason);
  await see(alert(page));
};

/** A page of somebody who is logged in. */
async function atAddress({ proxy, open }, path = '/console/web-1/0') {
  proxy.caller = CALLER;
  proxy.fleet = [fleetServer(1), fleetServer(2), fleetServer(3, { status: 'SHUTOFF' })];
  proxy.ports.set(proxy.fleet[0].id, [0, 1]);
  return open(proxy.url('', path));
}

/** Presses a button as the window allows. */
async function press(page, name) {
  await button(page, name).click();
}

/** Four consoles side by side, on one of which alice types. */
async function sideBySide(at) {
  const page = await atAddress(at, '/consoles?at=web-1/0&at=web-1/1&at=web-2/0&at=web-3/0');
  const sessions = [];
  for (let left = 4; left > 0; left -= 1) {
    const its = await at.proxy.attempt();
    const [, , name, port] = its.path.split('/');
    its.hello({ ...ALL, mode: 'watch', server: at.proxy.fleet.find((one) => one.name === name), port: Number(port) });
    its.pen('free');
    its.print(BOOT);
    sessions.push(its);
  }
  sessions.sort((a, b) => (a.path < b.path ? -1 : 1));
  sessions[1].pen('held', { holder: 'alice', session: ALICE, since: ago(12) });
  await see(page.frameLocator('iframe >> nth=1').getByText('alice is typing'));
  return { page, sessions };
}

export const CONSOLE = {
  'side by side': async (at) => void (await sideBySide(at)),
  'asking before a broadcast': async (at) => {
    const { page } = await sideBySide(at);
    await press(page, 'Broadcast…');
    await see(page.getByRole('dialog'));
  },
  broadcast: async (at) => {
    const { page, sessions } = await sideBySide(at);
    await press(page, 'Broadcast…');
    await page.getByRole('dialog').getByRole('button', { name: 'Broadcast' }).click();
    for (const its of [sessions[0], sessions[2], sessions[3]]) {
      await its.hears('pen');
      its.pen('held', { holder: 'carol', session: SESSION, by: 'carol' });
    }
    await see(says(page, 'Not to web-1:1 (watching)'));
  },
  'no token': async ({ proxy, open }) => {
    await see((await open(proxy.url(''))).getByText('This page needs a console URL'));
  },
  connecting: async ({ proxy, open }) => {
    await see(says(await open(proxy.url()), 'connecting'));
  },
  typing: async (at) => void (await attached(at)),
  'busy, watching': async (at) => void (await watched(at)),
  'own other window': async (at) => {
    const { page, its } = await attached(at, { mode: 'watch' });
    its.pen('held', { holder: 'carol', session: BOB, since: ago(3), own: true, cause: 'detached', free_in: 48, seen_ago: 12 });
    await see(button(page, 'Use it here'));
  },
  'typist lost': async (at) => {
    const { page, its } = await watched(at);
    its.pen('held', { holder: 'alice', session: ALICE, since: ago(12), cause: 'detached', free_in: 34, seen_ago: 26 });
    await see(says(page, 'alice lost the connection'));
  },
  'nobody types': async (at) => {
    const { page, its } = await attached(at, { mode: 'watch' });
    its.pen('free');
    await see(button(page, 'Type'));
  },
  'asked for typing': async (at) => {
    const { page, its } = await attached(at);
    its.pen('requested', { session: BOB, by: 'bob', holder: 'carol', reason: 'the disk is full' });
    await see(button(page, 'Let them type'));
  },
  'asking before taking over': async (at) => {
    const { page } = await watched(at);
    await press(page, 'Take over…');
    await see(page.getByRole('dialog'));
  },
  'taken over': async (at) => {
    const { page, its } = await attached(at);
    its.pen('lost', { by: 'bob', holder: 'bob', session: BOB, reason: 'disk is full' });
    await see(alert(page));
  },
  'connection lost': async (at) => {
    const { page, its } = await attached(at, { resume: 'key' });
    at.proxy.http.close();
    its.drop();
    await see(page.getByText(/Trying again in/));
  },
  'guest off': async (at) => {
    const { page, its } = await attached(at);
    its.say({ type: 'state', state: 'waiting', cause: 'stopped', reason: 'the server is SHUTOFF' });
    await see(says(page, 'waiting for the guest'));
  },
  'guest paused': async (at) => {
    const { page, its } = await attached(at);
    its.say({ type: 'state', state: 'connected', reason: 'connected; the guest is paused', cause: 'paused' });
    await see(button(page, 'Resume'));
  },
  'port failed': async (at) => {
    const { page, its } = await attached(at);
    its.say({ type: 'state', state: 'failed', reason: 'connection refused' });
    await see(says(page, 'failed: connection refused'));
  },
  'second boot': async (at) => {
    const { page, its } = await attached(at);
    its.say({ type: 'epoch', epoch: 2, offset: Buffer.byteLength(BOOT) });
    its.print(BOOT);
    await seeInTerminal(page, 'boot 2');
  },
  'output missing': async (at) => {
    const { page, its } = await attached(at);
    const offset = Buffer.byteLength(BOOT);
    its.say({ type: 'gap', from: offset, to: offset + 12_000 });
    its.print('root@web-1:~# ');
    await seeInTerminal(page, 'root@web-1');
  },
  'thrown off': ended(4006, 'disconnected by bob: maintenance'),
  'url expired': ended(4001, 'token missing, unknown or expired: ask for a new console URL'),
  'idle for too long': ended(4007, ''),
  'unreachable port': ended(4013, 'unreachable: connection refused'),
  'websockets blocked': async ({ proxy, open }) => {
    proxy.http.removeAllListeners('upgrade');
    await see(alert(await open(proxy.url())));
  },
  'no such server': async (at) => {
    await see((await atAddress(at, '/console/web-9/0')).getByText('There is no server called'));
  },
  'by its address': async (at) => {
    const page = await atAddress(at);
    const its = await at.proxy.admit({ ...ALL, server: at.proxy.fleet[0] });
    its.print(BOOT);
    await see(page.getByRole('tab', { name: 'Port 1' }));
    await seeInTerminal(page, 'web-1 login:');
    return page;
  },
  'switching servers': async (at) => {
    const page = await CONSOLE['by its address'](at);
    await page.keyboard.press('Control+Shift+O');
    await see(page.getByText('4 of 4 ports'));
  },
  'asking before a paste': async (at) => {
    const { page } = await attached(at);
    await paste(page, 'systemctl stop nginx\nrm -r /var/cache/nginx\nsystemctl start nginx\n');
    await see(page.getByRole('dialog', { name: 'Paste 3 lines?' }));
  },
  pasting: async (at) => {
    const { page, its } = await attached(at);
    its.acknowledges = false;
    await paste(page, 'a long line of text '.repeat(4000));
    await page.getByRole('dialog').getByRole('button', { name: 'Paste' }).click();
    await see(page.getByRole('region', { name: 'Paste' }));
  },
  searching: async (at) => {
    const { page } = await attached(at);
    await page.keyboard.press('Control+Shift+F');
    await page.keyboard.type('web');
    await page.keyboard.press('Enter');
    await see(says(page, /\d+ of \d+/));
  },
  'machine menu': async (at) => {
    const { page } = await attached(at);
    await press(page, 'Machine');
    await see(page.getByRole('menu', { name: 'Machine' }));
  },
  'asking before a reboot': async (at) => {
    const { page } = await attached(at);
    await choose(page, 'Machine', 'Reboot…');
    await see(page.getByRole('dialog'));
  },
  boots: async (at) => {
    at.proxy.boots = {
      first: 0,
      boots: [
        { epoch: 2, offset: 0, time: '2026-11-28T23:10:00.000Z', reason: 'started' },
        { epoch: 3, offset: 5000, time: new Date().toISOString(), reason: 'rebooted', kernel: '6.1.0-37-amd64' },
      ],
    };
    const page = await at.open(at.proxy.url());
    const its = await at.proxy.admit({ ...ALL, epoch: 3, epoch_offset: 5000, offset: 9000 });
    const [second, third] = [`${BOOT}\r\n`.repeat(6), `\x1b[31mKernel panic - not syncing\x1b[0m\r\n${BOOT}`];
    const bytes = Buffer.byteLength(second + third);
    const boots = [2, 3].map((epoch, at) => ({ epoch, at: at * Buffer.byteLength(second) }));
    its.say({ type: 'replay', kind: 'screen', bytes, offset: 9000, from: 0, boots });
    its.print(second + third);
    await see(page.getByText(/Boot 3 · today/));
    return { page, its };
  },
  'scrolled up': async (at) => {
    const { page, its } = await CONSOLE.boots(at);
    await page.evaluate(() => document.activeElement.blur());
    await press(page, 'Previous boot');
    await see(page.getByText(/^Boot 2/));
    its.print(BOOT.repeat(3));
    await see(page.getByRole('button', { name: /new lines?$/ }));
  },
  'view menu': async (at) => {
    const { page } = await attached(at);
    await press(page, 'View');
    await see(page.getByRole('menu', { name: 'View' }));
  },
  'all actions': async (at) => {
    const { page } = await attached(at);
    await page.keyboard.press('Control+Shift+P');
    await see(page.getByRole('dialog', { name: 'All actions' }));
  },
  'help on keys': async (at) => {
    const { page } = await attached(at);
    await page.keyboard.press('Shift+F6');
    await page.keyboard.press('?');
    await see(page.getByRole('dialog', { name: 'Keys of this page' }));
  },
  sharing: async (at) => {
    const times = { created: ago(20), expires: ago(-40) };
    const links = [
      { id: 'l-1', mode: 'watch', user: 'carol', sessions: 0, ...times },
      { id: 'l-2', mode: 'write', user: 'alice', sessions: 2, ...times },
    ];
    at.proxy.instead.set(`GET /v1/lines/${fleetServer(1).id}/0/links`, [200, { links, longest: 86_400 }]);
    const page = await CONSOLE['by its address'](at);
    await choose(page, 'Share', 'Share…');
    await see(page.getByRole('dialog', { name: 'Share' }));
    await see(page.getByRole('listitem').filter({ hasText: 'Typing' }));
  },
  notifications: async (at) => {
    const { page } = await attached(at);
    await page.keyboard.press('Control+Shift+P');
    await page.keyboard.type('notify');
    await page.keyboard.press('Enter');
    await see(page.getByRole('dialog', { name: 'Notify me' }));
  },
  rebooting: async (at) => {
    const { page } = await attached(at);
    await choose(page, 'Machine', 'Reboot…');
    await page.getByRole('dialog').getByRole('button', { name: 'Reboot' }).click();
    await see(page.getByText(/Rebooting…/));
  },
};

/** A fleet in which something of everything goes on. */
function fleet(api) {
  const states = ['ACTIVE', 'ACTIVE', 'SHUTOFF', 'ACTIVE', 'ERROR', 'ACTIVE'];
  api.servers = states.map((status, at) => server(at + 1, { status }));
  api.lines = api.servers.map((one) => line(one));
  api.servers[5].name = 'שרת־מסד';
  const [first, second, off, failed, lost, other] = api.lines;
  first.writer = { session: id(50), user: 'alice', since: ago(12) };
  first.watchers = 2;
  second.last_line = '[  812.401] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b';
  second.idle = 4;
  Object.assign(off, { state: 'waiting', cause: 'stopped', reason: 'the server is SHUTOFF' });
  Object.assign(failed, { state: 'failed', reason: 'connection refused' });
  Object.assign(lost, { state: 'waiting', reason: 'the server is in an error state' });
  other.server.name = 'שרת־מסד';
  api.sessions = [session(first, { id: id(50) })];
}

/** The page of somebody who logs in. */
async function entered({ api, open }) {
  const page = await open(api.url);
  await page.getByLabel('API token').fill(TOKEN);
  await page.keyboard.press('Enter');
  return page;
}

async function listed(at) {
  fleet(at.api);
  const page = await entered(at);
  await see(page.getByText('6 ports'));
  return page;
}

async function loggingIn({ api, open }) {
  api.knowsCookie = false;
  api.keystone = true;
  const page = await open(api.url);
  await see(page.getByRole('heading', { name: 'Log in' }));
  return page;
}

export const SERVERS = {
  'log in': async (at) => void (await loggingIn(at)),
  'wrong password': async (at) => {
    const page = await loggingIn(at);
    await page.getByRole('textbox', { name: 'User' }).fill('alice');
    await page.getByLabel('Password').fill(`not ${PASSWORD}`);
    await page.keyboard.press('Enter');
    await see(alert(page));
  },
  'no servers': async (at) => {
    await see((await entered(at)).getByText('No servers yet'));
  },
  servers: async (at) => void (await listed(at)),
  'servers that run': async (at) => {
    const page = await listed(at);
    await page.getByRole('button', { name: /^Running/ }).click();
    await see(page.getByText('3 of 6 ports').first());
  },
  'servers that are chosen': async (at) => {
    const page = await listed(at);
    for (const name of ['web-1', 'web-2']) await page.getByRole('checkbox', { name: `Choose ${name}, port 0` }).check();
    await see(says(page, '2 chosen'));
  },
  'menu of a row': async (at) => {
    await press(await listed(at), 'More for web-2, port 0');
  },
  'asking before a stop': async (at) => {
    const page = await listed(at);
    await press(page, 'More for web-2, port 0');
    await page.getByRole('menuitem', { name: 'Stop…' }).click();
    await see(page.getByRole('dialog'));
  },
  'api away': async (at) => {
    const page = await listed(at);
    at.api.instead.set('GET /v1/lines', [502, { computeFault: { code: 502, message: 'the API cannot be reached' } }]);
    await see(page.getByRole('region', { name: 'Trouble' }));
  },
  'a host away': async (at) => {
    at.api.unreachable = ['host-7'];
    const page = await listed(at);
    await see(page.getByText(/host-7/));
  },
};

/**
 * Shows a state in a window of its own; gives its page, and what closes it. Refused calls, which Chromium reports, are
 * no faults: some states are about them.
 */
export async function show(browser, state, options) {
  const proxy = await startProxy();
  const api = await startApi();
  let page;
  const open = async (url) => {
    page = await blank(browser, options);
    await page.goto(url);
    return page;
  };
  const close = async () => {
    await page?.context().close();
    await Promise.all([proxy.stop().catch(() => undefined), api.stop()]);
  };
  try {
    await { ...CONSOLE, ...SERVERS }[state]({ proxy, api, open });
  } catch (error) {
    await close();
    throw error;
  }
  return { page, close };
}
