// The servers page: brings its parts together.

import '../base.css';
import './style.css';

import { element } from '../elements';
import { Theme } from '../theme';
import { Api, Fault } from './api';
import type { Line, Power, Server, Session, Snapshot } from './api';
import { ask, askForReason } from './ask';
import { keepFocus } from './dom';
import { serverList } from './list';
import type { PortView, ServerView } from './list';
import { openConsole } from './open';
import { Poll } from './poll';
import { Seen, key } from './seen';
import { forgetAll, isSendable, keepToken, keptToken } from './token';
import * as words from './words';

/** Milliseconds that a short message stays. */
const TOAST = 8000;

const UNKNOWN_TOKEN = 'This token is wrong or has expired. Copy the whole token again, without spaces.';

const login = element('login', HTMLFormElement);
const tokenField = element('token', HTMLInputElement);
const filter = element('filter', HTMLInputElement);
const trouble = element('trouble', HTMLElement);

const theme = new Theme();
const seen = new Seen();
const underWay = new Map<string, Power>();
/** Console tabs that this page opened: while one is open, its port's output counts as seen. */
const tabs = new Map<string, Window>();
const list = serverList(element('servers', HTMLElement), {
  open: (line, watch) => void open(line, watch),
  look: (line) => {
    seen.look(line);
    render();
  },
  power: (server, power) => void changePower(server, power),
  disconnect: (session) => void disconnect(session),
});

let token = keptToken();
let api = new Api(token);
let snapshot: Snapshot | undefined;
/** Whether the API answered the last time that it was asked. */
let current = true;
const poll = new Poll(refresh, (next) => say('next-try', `Next try at ${words.clock(next)}.`));

const code = loginCode();
// A terminal page whose URL has expired names its server.
filter.value = code === undefined ? named() : '';
theme.follow(() => say('theme', `Theme: ${theme.choice}`));
element('theme', HTMLElement).addEventListener('click', () => theme.next());
element('forget', HTMLElement).addEventListener('click', () => askForToken(''));
element('try-now', HTMLElement).addEventListener('click', () => poll.now());
element('dismiss', HTMLElement).addEventListener('click', () => notice(undefined));
filter.addEventListener('input', render);
login.addEventListener('submit', (event) => {
  event.preventDefault();
  enter(tokenField.value.trim());
});
show('loading', true);
if (code === undefined) poll.now();
else void logIn(code);

/** The code of a login link (`#login=CODE`), which leaves the address bar and the history at once. */
function loginCode(): string | undefined {
  const code = /^#login=([0-9a-f]{1,128})$/.exec(location.hash)?.[1];
  if (code !== undefined) history.replaceState(null, '', location.pathname + location.search);
  return code;
}

async function logIn(code: string): Promise<void> {
  try {
    await Api.logIn(code);
    token = undefined;
    api = new Api(token);
    poll.now();
  } catch (error) {
    // A token of this tab may do as well.
    if (token) poll.now();
    else askForToken(error instanceof Error ? error.message : String(error));
  }
}

function named(): string {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
}

function enter(text: string): void {
  say('token-wrong', '');
  if (!isSendable(text)) {
    say('token-wrong', text ? UNKNOWN_TOKEN : 'Paste your API token here.');
    tokenField.focus();
    return;
  }
  token = text;
  api = new Api(token);
  poll.now();
}

/** Forgets the token, and asks for one; `wrong` says what was wrong with the last. */
function askForToken(wrong: string): void {
  poll.stop();
  forgetAll();
  seen.forget();
  token = undefined;
  api = new Api(undefined);
  snapshot = undefined;
  notice(undefined);
  render();
  for (const id of ['trouble', 'loading', 'forget', 'filter']) show(id, false);
  login.hidden = false;
  tokenField.value = '';
  say('token-wrong', wrong);
  tokenField.focus();
}

/** Asks the API how things stand. Says whether it went well. */
async function refresh(): Promise<boolean> {
  const asked = api;
  try {
    const answer = await asked.snapshot();
    if (asked !== api) return true;
    snapshot = answer;
    accepted();
    return true;
  } catch (error) {
    if (asked !== api) return true;
    failed(error);
    return false;
  }
}

function accepted(): void {
  current = true;
  if (token) keepToken(token);
  seen.take(snapshot?.lines ?? []);
  if (!login.hidden) {
    login.hidden = true;
    tokenField.value = '';
    element('main', HTMLElement).focus();
  }
  show('loading', false);
  show('forget', token !== undefined);
  show('filter', true);
  keepFocus(() => show('trouble', false));
  say('trouble-text', '');
  say('next-try', '');
  render();
}

function failed(error: unknown): void {
  const fault = error instanceof Fault ? error : new Fault(0, String(error));
  if (fault.status === 401) {
    askForToken(token ? UNKNOWN_TOKEN : '');
    return;
  }
  show('loading', false);
  trouble.hidden = false;
  current = false;
  const as = snapshot ? ` The list is as of ${words.clock(snapshot.at)}.` : '';
  say('trouble-text', fault.message + as);
  render();
}

function render(): void {
  const now = new Date();
  keepFocus(() => list.update(views(now)));
  const servers = snapshot?.servers.length ?? 0;
  show('empty', snapshot !== undefined && servers === 0);
  const none = servers > 0 && element('servers', HTMLElement).childElementCount === 0;
  say('no-match', none ? `No server's name contains “${filter.value.trim()}”.` : '');
  const count = `${servers} server${servers === 1 ? '' : 's'}`;
  const old = current && !snapshot?.serversAt ? '' : ', not current';
  const at = snapshot && words.clock(snapshot.serversAt ?? snapshot.at);
  say('freshness', at === undefined ? '' : `${count}, as of ${at}${old}`);
  const missing = [words.describeStale(snapshot?.serversAt), words.describeSilent(snapshot?.unreachable ?? [])];
  say('missing', missing.filter(Boolean).join('\n'));
}

function views(now: Date): ServerView[] {
  if (!snapshot) return [];
  const ports = grouped(snapshot.lines, ({ server }) => server.id);
  const sessions = grouped(snapshot.sessions, key);
  const wanted = filter.value.trim().toLowerCase();
  return snapshot.servers
    .filter(({ name }) => name.toLowerCase().includes(wanted))
    .map((server) => ({
      server,
      ports: (ports.get(server.id) ?? []).map((line) =>
        portView(line, sessions.get(key(line)) ?? [], server.can, now),
      ),
      underWay: underWay.get(server.id),
      asOf: asOf() ?? (snapshot?.serversAt && words.clock(snapshot.serversAt)),
      silent: isSilent(server),
      now,
    }));
}

function isSilent({ host, status }: Server): boolean {
  return status === 'HOST_LOST' || (host !== undefined && (snapshot?.unreachable.includes(host) ?? false));
}

function grouped<T>(values: T[], keyOf: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const group = groups.get(keyOf(value));
    if (group) group.push(value);
    else groups.set(keyOf(value), [value]);
  }
  return groups;
}

function portView(line: Line, sessions: Session[], can: Server['can'], now: Date): PortView {
  if (tabs.get(key(line))?.closed === false) seen.look(line);
  return { line, sessions, unseen: seen.unseen(line), can, asOf: asOf(), now };
}

/** The time of the list, where the API does not answer now. */
function asOf(): string | undefined {
  return current || !snapshot ? undefined : words.clock(snapshot.at);
}

async function open(line: Line, watch: boolean): Promise<void> {
  await attempt(async () => {
    const opened = await openConsole(api, line, watch);
    seen.look(line);
    if ('tab' in opened) tabs.set(key(line), opened.tab);
    else notice('Your browser did not open a new tab. Use this link:', opened.url);
  });
}

async function changePower(server: Server, power: Power): Promise<void> {
  const lines = snapshot?.lines.filter((line) => line.server.id === server.id) ?? [];
  const question = words.askPower(server, power, lines);
  if (question && !(await ask(question))) return;
  underWay.set(server.id, power);
  render();
  await attempt(async () => {
    await api.power(server, power);
    mention(words.describeDone(server, power));
  });
  underWay.delete(server.id);
  render();
}

async function disconnect(session: Session): Promise<void> {
  const reason = await askForReason(words.askDisconnect(session, new Date()));
  if (reason === undefined) return;
  await attempt(async () => {
    await api.disconnect(session, reason);
    mention(`${session.user} was disconnected from port ${session.port} of ${session.server.name}.`);
  });
}

/** Does something, says why it could not be done, and shows how things stand then. */
async function attempt(action: () => Promise<void>): Promise<void> {
  const asked = api;
  notice(undefined);
  try {
    await action();
  } catch (error) {
    if (asked !== api) return;
    notice(error instanceof Error ? error.message : String(error));
  }
  if (asked === api) poll.now();
}

function notice(text: string | undefined, url?: string): void {
  const link = element('notice-link', HTMLAnchorElement);
  link.hidden = url === undefined;
  if (url) link.href = url;
  else link.removeAttribute('href');
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

function say(id: string, text: string): void {
  const place = element(id, HTMLElement);
  if (place.textContent !== text) place.textContent = text;
}

function show(id: string, shown: boolean): void {
  element(id, HTMLElement).hidden = !shown;
}
