// The servers page: brings its parts together.

import '../base.css';
import './style.css';

import { ask } from '../ask';
import { element } from '../elements';
import { named } from '../names';
import { wayBack } from '../places';
import { Theme } from '../theme';
import { Api, Fault } from './api';
import type { Line, LoginState, Power, Server, Session } from './api';
import { Choice } from './chips';
import { keepFocus } from './dom';
import { Fleets } from './fleet';
import type { Fleet } from './fleet';
import { Login } from './login';
import { entriesOf } from './offers';
import { showPeople } from './people';
import { Picks } from './picks';
import { Poll } from './poll';
import { showMenu } from './row-menu';
import { countsOf, rowsOf, select } from './rows';
import type { Row } from './rows';
import { Seen } from './seen';
import { Table } from './table';
import * as words from './words';

/** Milliseconds that a short message stays. */
const TOAST = 8000;

/** Maximum bytes of a log. */
const LOG = 1 << 20;

const theme = new Theme();
const seen = new Seen();
const api = new Api();
const fleets = new Fleets();
const underWay = new Map<string, Power>();
const choice = new Choice(() => {
  render();
  say('said-count', element('count', HTMLElement).textContent ?? '');
});
const picks: Picks = new Picks(() => render());
const table = new Table({ open: (row) => look([row]), menu: openMenu, picks }, (column) => choice.sort(column));
const login = new Login(api, () => enter());
const poll = new Poll(refresh, (next) => say('next-try', `Next try at ${words.clock(next)}.`));

let who: LoginState | undefined;
/** Why a login link did not log in. */
let refusal = '';
let fleet: Fleet | undefined;
let rows: Row[] = [];
/** Grows with each login and logout, so that answers to earlier requests are dropped. */
let turn = 0;
/** Whether the API answered the last request. */
let current = true;

const code = hash(/^#login=([0-9a-f]{1,128})$/);
// A terminal page that leads here names its server.
const name = code === undefined ? hash(/^#(.+)$/) : undefined;
if (name !== undefined) choice.find(name);
theme.follow(() => say('theme', `Theme: ${theme.light}`));
on('theme', () => theme.next());
on('log-out', () => void logOut());
on('try-now', () => poll.now());
on('dismiss', () => notice(undefined));
on('all-seen', () => look(rows));
setInterval(() => {
  if (!document.hidden) table.tick();
}, 1000);
show('loading', true);
if (code === undefined) poll.now();
else void logIn(code);

/**
 * What `form` finds in the address after `#`. It leaves the address bar and the history at once, as a login code must.
 */
function hash(form: RegExp): string | undefined {
  const found = form.exec(location.hash)?.[1];
  if (found !== undefined) history.replaceState(null, '', location.pathname + location.search);
  try {
    return found === undefined ? undefined : decodeURIComponent(found);
  } catch {
    return undefined;
  }
}

async function logIn(code: string): Promise<void> {
  let wrong = '';
  try {
    await api.logIn({ code });
  } catch (error) {
    wrong = String(error instanceof Error ? error.message : error);
  }
  enter(wrong);
}

/** Starts again after a login. `wrong` says why a login link failed; it is shown if nobody is logged in. */
function enter(wrong = ''): void {
  turn += 1;
  who = undefined;
  refusal = wrong;
  poll.now();
}

async function logOut(): Promise<void> {
  await attempt(async () => {
    await api.logOut();
    forgetTab();
    who = who && { ...who, caller: null };
    askToLogIn('');
  });
}

/** Forgets what this tab kept of servers and consoles, since others may use it next. */
function forgetTab(): void {
  try {
    sessionStorage.clear();
  } catch {
    // Storage is switched off, so nothing was kept.
  }
}

/** Forgets all servers, and asks to log in. */
function askToLogIn(wrong: string): void {
  turn += 1;
  poll.stop();
  fleet = undefined;
  picks.clear();
  fleets.renew();
  seen.forget();
  notice(undefined);
  showWho();
  render();
  for (const id of ['trouble', 'loading', 'choices', 'filter']) show(id, false);
  login.show(who ?? { caller: null, methods: ['token'], keystone: false }, wrong);
}

/** Asks the API for the current state. Returns whether that succeeded. */
async function refresh(): Promise<boolean> {
  const now = turn;
  // Both requests at once, so that the first rows come soon.
  const [state, next] = await Promise.allSettled([who ?? api.loginState(), fleets.next(api, fleet)]);
  if (now !== turn) return true;
  if (state.status === 'fulfilled') {
    who = state.value;
    showWho();
  }
  const nobody = who && !who.caller && who.methods.length > 0;
  const failure = [state, next].find(({ status }) => status === 'rejected');
  if (nobody) askToLogIn(refusal);
  else if (next.status === 'fulfilled' && !failure) accepted(next.value);
  else failed(failure?.status === 'rejected' ? failure.reason : undefined);
  return !failure || Boolean(nobody);
}

function accepted(next: Fleet): void {
  // A user who came from a console to log in goes back there.
  const way = wayBack(location.search);
  if (way !== undefined) {
    poll.stop();
    location.replace(way);
    return;
  }
  fleet = next;
  current = true;
  seen.take([...next.ports.values()].map(({ line }) => line));
  if (login.isShown) {
    login.hide();
    element('main', HTMLElement).focus();
  }
  show('loading', false);
  keepFocus(() => show('trouble', false));
  say('trouble-text', '');
  say('next-try', '');
  render();
}

function failed(error: unknown): void {
  const fault = error instanceof Fault ? error : new Fault(0, String(error));
  if (fault.status === 401 && who) {
    who = { ...who, caller: null };
    askToLogIn('Your login has ended. Log in again.');
    return;
  }
  show('loading', false);
  show('trouble', true);
  current = false;
  const as = fleet ? ` The list is as of ${words.clock(fleet.at)}.` : '';
  say('trouble-text', fault.message + as);
  render();
}

function showWho(): void {
  const caller = who?.caller;
  show('who', caller !== undefined && caller !== null);
  show('log-out', Boolean(caller && who && who.methods.length > 0));
  say('user-name', caller?.user ?? '');
  say('role', caller?.role ?? '');
  say('project-name', caller ? caller.project_name || caller.project : '');
}

function render(): void {
  rows = fleet ? rowsOf(fleet, seen, underWay) : [];
  picks.keep(rows);
  const shown = select(rows, choice.view);
  const isOld = !current || fleet?.serversAt !== undefined;
  table.update(shown, choice.view, isOld);
  choice.update(countsOf(rows));
  for (const id of ['choices', 'filter']) show(id, rows.length > 0);
  show('empty', fleet !== undefined && rows.length === 0);
  show('all-seen', choice.view.chip === 'new' && shown.length > 0);
  say('no-match', rows.length > 0 && shown.length === 0 ? 'No port fits. Choose All, and empty the filter.' : '');
  const at = fleet && isOld ? `, as of ${words.clock(fleet.serversAt ?? fleet.at)}, not current` : '';
  say('count', fleet ? words.countPorts(shown.length, rows.length) + at : '');
  const missing = [words.describeStale(fleet?.serversAt), words.describeSilent(fleet?.unreachable ?? [])];
  say('missing', missing.filter(Boolean).join('\n'));
}

function look(of: readonly Row[]): void {
  seen.look(...of.flatMap(({ line }) => line ?? []));
  render();
}

function openMenu(row: Row, opener: HTMLButtonElement): void {
  const others = linesOf(row.server);
  const entries = entriesOf(row, others, {
    look: () => look([row]),
    explain: notice,
    log: (line) => void attempt(() => saveLog(line)),
    people: (line) => void attempt(() => people(line, row.server)),
    power: (power) => void changePower(row.server, power),
  });
  showMenu(opener, opener.ariaLabel ?? '', entries);
}

function linesOf(server: Server): Line[] {
  return rows.flatMap(({ line }) => (line?.server.id === server.id ? line : []));
}

async function saveLog(line: Line): Promise<void> {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await api.output(line, LOG));
  link.download = `${line.server.name.replace(/[^\w.-]+/g, '_')}-${line.port}.log`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function people(line: Line, { can }: Server): Promise<void> {
  return showPeople(line, {
    sessions: (of) => api.sessions(of),
    disconnect: can.includes('force') ? disconnect : undefined,
  });
}

async function changePower(server: Server, power: Power): Promise<void> {
  const question = words.askPower(server, power, linesOf(server));
  if (question && !(await ask({ ...question, danger: true }))) return;
  underWay.set(server.id, power);
  render();
  await attempt(async () => {
    await api.power(server, power);
    mention(words.describeDone(server, power));
  });
  underWay.delete(server.id);
  render();
}

async function disconnect(session: Session): Promise<boolean> {
  const question = words.askDisconnect(session, new Date());
  const answer = await ask({ ...question, danger: true, reason: 'Reason (they see it)' });
  if (!answer) return false;
  await attempt(async () => {
    await api.disconnect(session, answer.reason);
    mention(`${named(session.user)} was disconnected from port ${session.port} of ${named(session.server.name)}.`);
  });
  return true;
}

/** Does something, says why if it fails, and then shows the current state. */
async function attempt(action: () => Promise<void>): Promise<void> {
  const now = turn;
  notice(undefined);
  try {
    await action();
  } catch (error) {
    if (now !== turn) return;
    notice(error instanceof Error ? error.message : String(error));
  }
  if (now !== turn) return;
  fleets.renew();
  poll.now();
}

function notice(text: string | undefined): void {
  keepFocus(() => show('notice', text !== undefined));
  say('notice-text', text ?? '');
}

/** Shows a short message for a while. */
function mention(text: string): void {
  say('said', text);
  setTimeout(() => {
    if (element('said', HTMLElement).textContent === text) say('said', '');
  }, TOAST);
}

function on(id: string, act: () => void): void {
  element(id, HTMLElement).addEventListener('click', act);
}

function say(id: string, text: string): void {
  const place = element(id, HTMLElement);
  if (place.textContent !== text) place.textContent = text;
}

function show(id: string, shown: boolean): void {
  element(id, HTMLElement).hidden = !shown;
}
