// The terminal page: brings its parts together.

import '@xterm/xterm/css/xterm.css';
import './base.css';
import './style.css';

import { Actions } from './action';
import { actionsOf } from './actions';
import { keepAccess, takeAccess } from './address';
import type { Access } from './address';
import { ask } from './ask';
import type { Attachment } from './attachment';
import { Attention } from './attention';
import { Fault } from './calls';
import { Bell } from './bell';
import { Clipboard } from './clipboard';
import { urlCommand } from './commands';
import { element } from './elements';
import type { Offer } from './endings';
import { enter, freshToken, mayType } from './entry';
import { GuestSize } from './guest-size';
import { KeyBar } from './key-bar';
import { askBeforeLeaving } from './leaving';
import { Machine } from './machine';
import { penMessage } from './messages';
import type { ClientMessage, Size } from './messages';
import type { Output } from './output';
import { Past } from './past';
import { PasteBar } from './paste-bar';
import { PasteQueue } from './paste-queue';
import { Picked } from './picked';
import { named } from './names';
import { consolePlace } from './places';
import { Presence } from './presence';
import { Search } from './search';
import { Session } from './session';
import { hasServersPage } from './servers-page';
import { Settings } from './settings';
import { Site } from './site';
import { SoftKeyboard } from './soft-keyboard';
import { Status } from './status';
import { Strip } from './strip';
import { Screen } from './terminal';
import type { Typist } from './terminal';
import { openTextSheet } from './text-sheet';
import { goToLogin, goToServers, isTile, obeyAround, tellAround, watchAtFirst } from './tile';
import { Theme } from './theme';
import { Toolbar } from './toolbar';
import { Tools } from './tools';
import { Touch } from './touch';
import { Typing } from './typing';
import { UnsentHint } from './unsent';
import type { View } from './view';
import { describeSince } from './words';

declare global {
  interface Window {
    /** For tests and bug reports: the terminal's text, and the number of bytes of live output. */
    serialproxy?: { text(): string; output: Output['count'] };
  }
}

/** Milliseconds that a short message stays. */
const TOAST = 8000;

/** Minimum milliseconds between two fresh tokens that the page gets by itself. */
const AGAIN = 30_000;

const theme = new Theme();
const access = takeAccess();
const place = consolePlace(location.pathname);
if (access) openConsole(access);
else if (place) void enter(place).then((entered) => entered && openConsole(entered));
else explain();

function explain(): void {
  element('explanation', HTMLElement).hidden = false;
  element('hint', HTMLElement).hidden = true;
  void hasServersPage().then((has) => (element('by-servers-page', HTMLElement).hidden = !has));
}

function openConsole(access: Access): void {
  element('terminal', HTMLElement).hidden = false;

  let reopenedAt = -Infinity;
  let wantsToType = false;
  watchAtFirst(access);
  const attention = new Attention((title) => tellAround({ tile: 'title', title }));
  const unsent = new UnsentHint(say);
  const settings = new Settings();
  const typist: Typist = {
    onText: (text, typed) => (typed ? press(text) : typing.answer(text)),
    onBinary: (text) => typing.binary(text),
    isShortcut: (event) => actions.pressed(event) !== undefined,
    onUnsent: () => {
      if (isTile) takeTyping();
      unsent.typed(session.view);
      strip.shake();
    },
    onNews: () => attention.call(),
    onPrinted: (text) => bell.printed(text),
    onGrid: (rows, cols) => {
      session.resize(rows, cols);
      guestSize.resize({ rows, cols });
    },
  };
  const screen = new Screen(element('screen', HTMLElement), theme.terminal, typist, settings);
  new Touch(screen, element('screen', HTMLElement), () => picked.show());
  const status = new Status((offer) => void accept(offer));
  const session: Session = new Session(access, screen, {
    onChange: show,
    onNotice: say,
    onInputTaken: () => queue.pump(),
    onBoot: () => typing.forgetPaste('Paste stopped because the guest started again'),
    onBoots: (boots) => past.timeline.know(boots),
    onTimes: (times) => past.arrivals.show(times),
    onLatency: (milliseconds) => status.showLatency(milliseconds),
    onLink: (url) => void clipboard.copyLink(url),
    mayReopen: () => site.mayReopen,
  });
  const pasteBar = new PasteBar(() => {
    typing.cancelPaste('Paste canceled');
    screen.focus();
  });
  const queue = new PasteQueue(session, (progress) => pasteBar.show(progress));
  const keyBar = new KeyBar({
    get applicationCursor() {
      return screen.term.modes.applicationCursorKeysMode;
    },
    press,
    flush: () => softKeyboard.flush(),
    toggleKeyboard: () => softKeyboard.toggle(),
  });
  const softKeyboard = new SoftKeyboard(screen.field, {
    get holds() {
      return keyBar.holds;
    },
    press,
  });
  const typing: Typing = new Typing(session, queue, keyBar, settings, say, tellAround);
  askBeforeLeaving(() => session.view.takesInput && typing.used);
  const clipboard = new Clipboard(screen, say, (text) =>
    typing.paste(text, () => screen.bracketedPaste),
  );
  const picked = new Picked(screen.term, {
    copy: () => clipboard.copy(),
    more: () => openTextSheet(screen, (text) => void clipboard.copy(text)),
  });
  const search = new Search(
    screen.term,
    theme,
    (newest) => session.historyPieces(newest),
    () => actions.refresh(),
  );
  const past = new Past(screen, session, theme, say, () => actions.refresh());
  const machine = new Machine(tell, (action) => {
    session.power(action);
    screen.focus();
  });
  const site = new Site(place, say, () => actions.refresh());
  const presence = new Presence();
  const strip = new Strip({
    type: () => void request(),
    take: () => tell({ type: 'pen', do: 'take' }),
    takeOver: () => void takeOver(),
    answer: (action) => tell({ type: 'pen', do: action }),
  });
  const tools = new Tools(screen, session, typing, say);
  const bell = new Bell(attention, say, () => actions.refresh());
  const guestSize: GuestSize = new GuestSize(settings, () => fit(), () => actions.refresh());
  const page = { bell, clipboard, fit, guestSize, keyBar, machine, past, press, screen, search, session, settings, site, theme, tools };
  const actions: Actions = new Actions(
    actionsOf(page, () => actions),
    () => session.view,
    say,
  );
  new Toolbar(actions);
  theme.follow(() => {
    screen.applyLook(theme.terminal);
    past.timeline.paint();
    actions.refresh();
  });

  /** Tells the guest the window's size. */
  function fit(): void {
    tools.fitGuest();
    guestSize.fitted(screen.term);
  }

  /** Sends input, and tells the user if it does not reach the guest. */
  function press(text: string): void {
    typing.text(text);
    unsent.typed(session.view);
  }

  /** Sends a message to the proxy, and gives the focus back to the terminal. */
  function tell(message: ClientMessage): void {
    session.request(message);
    // A user who starts to type needs the on-screen keyboard, too.
    if (message.type === 'pen') screen.term.focus();
    else screen.focus();
  }

  function show(now: View, before: View): void {
    const { attachment, ending, hello, takesInput } = now;
    const expires = ending?.isExpired === true && ending !== before.ending;
    if (hello && hello !== before.hello) {
      void site.show(hello);
      past.timeline.epoch = hello.epoch;
      settings.follow(hello.terminal);
      screen.applySettings();
      tellAround({ tile: 'opened', server: hello.server.id });
    }
    if (expires) void reopen(false);
    const over = !attachment && ending?.retry === false && !now.connecting;
    if (hello) attention.rename(`${over ? '✕ ' : ''}${hello.server.name}:${hello.port} – console`);
    element('terminal', HTMLElement).toggleAttribute('data-over', over);
    theme.dim(over);
    status.show(now);
    const types = attachment?.writes === true;
    const watches = attachment && !types ? ' · watching' : '';
    const { tone, words } = status.summary;
    tellAround({ tile: 'state', tone, words: words + watches, attached: attachment !== undefined, types });
    machine.show(now);
    presence.show(attachment);
    bell.hear(attachment !== undefined);
    strip.show(attachment);
    guestSize.show(now);
    screen.allowTyping(takesInput);
    screen.watch(attachment !== undefined && !attachment.writes);
    // Without a connection the screen stays as it is.
    if (attachment) screen.follow(theirGrid(attachment));
    keyBar.show(takesInput);
    if (session.noPaste !== undefined) typing.cancelPaste('Paste stopped');
    actions.refresh();
    comeToType();
  }

  /** The user wants to type in this tile. */
  function takeTyping(): void {
    wantsToType = true;
    comeToType();
  }

  /** Asks to type as soon as it is known that nobody else does. */
  function comeToType(): void {
    const { attachment } = session.view;
    if (!wantsToType || attachment?.writer === undefined) return;
    wantsToType = false;
    if (attachment.mayType && attachment.writer === null) session.request(penMessage('request'));
  }

  async function accept(offer: Offer): Promise<void> {
    if (offer === 'force' || offer === 'ask') return comeIn(offer);
    const { hello } = session.view;
    if (offer === 'servers') return goToServers(hello?.server.name);
    if (offer === 'reopen' || offer === 'wait') return reopen(true);
    if (offer === 'command') return hello && clipboard.copyWords(urlCommand(hello));
    screen.focus();
    if (offer === 'back') await session.attach('watch', { pen: 'request' });
    else if (offer === 'watch') await session.attach('watch');
    else if (offer === 'dismiss') session.dismiss();
    else session.reconnect();
  }

  /**
   * Gets a fresh token with the browser's login, and attaches with it. Unless the user `asked`, at most once in
   * `AGAIN`.
   */
  async function reopen(asked: boolean): Promise<void> {
    const { hello } = session.view;
    const console = hello ? { server: hello.server.id, port: hello.port } : place;
    if (!console || !site.mayReopen || (!asked && Date.now() - reopenedAt < AGAIN)) return;
    reopenedAt = Date.now();
    try {
      const types = hello?.can.includes('write') ?? (await mayType(console.server));
      access.token = await freshToken(console.server, console.port, !types);
      keepAccess(access);
      screen.focus();
      session.reconnect();
    } catch (error) {
      // The login replaces the whole page with all tiles, so a tile goes there only if the user asked.
      if (error instanceof Fault && error.status === 401 && (asked || !isTile)) return goToLogin();
      say(error instanceof Error ? error.message : String(error));
    }
  }

  /** Attaches to a console where somebody else types, to ask them or to take over. */
  async function comeIn(offer: 'force' | 'ask'): Promise<void> {
    const answer = await (offer === 'force' ? askForce(session.view) : askToAsk(session.view));
    if (!answer) return;
    screen.focus();
    const { reason } = answer;
    await session.attach('watch', { pen: offer === 'force' ? 'force' : 'request', reason });
  }

  async function request(): Promise<void> {
    const answer = session.view.attachment?.writer ? await askToAsk(session.view) : { reason: '' };
    if (answer) tell(penMessage('request', answer.reason));
  }

  async function takeOver(): Promise<void> {
    const answer = await askForce(session.view);
    if (answer) tell(penMessage('force', answer.reason));
  }

  document.addEventListener('keydown', (event) => {
    const action = actions.pressed(event);
    if (!action || action.native) return;
    event.preventDefault();
    // An open dialog takes precedence.
    if (!document.querySelector('dialog[open]')) actions.run(action);
  });

  window.serialproxy = { text: () => screen.text(), output: session.output.count };
  obeyAround((message) => {
    if (message.tile === 'type') typing.again(message.text);
    else if (message.tile === 'paste') typing.pasteAgain(message.text, screen.bracketedPaste);
    else if (message.tile === 'stop') typing.cancelPaste('Paste stopped');
    else if (message.tile === 'leave') void session.leave();
    else if (message.tile === 'broadcast') typing.isBroadcast = message.on;
    else takeTyping();
    if (message.tile === 'focus') screen.term.focus();
  });
  if (isTile) {
    element('screen', HTMLElement).addEventListener('pointerdown', takeTyping);
    addEventListener('blur', () => (wantsToType = false));
  }
  // Before the user presses anything, this shows no on-screen keyboard.
  if (!isTile) screen.term.focus();
  session.reconnect();
}

/** The grid of another user who types. */
function theirGrid({ writes, writer, size }: Attachment): Size | undefined {
  return writes || !writer ? undefined : size;
}

function askForce(view: View): ReturnType<typeof ask> {
  const user = writerOf(view);
  const since = describeSince(view.attachment?.since ?? view.holder?.since, new Date());
  return ask({
    title: `Take over from ${user}?`,
    text:
      `${user} has been typing here${since}. You type instead, and ${user} can only watch. ` +
      'They are told that you took over.',
    yes: 'Take over',
    danger: true,
    reason: 'Reason (they see it)',
  });
}

function askToAsk(view: View): ReturnType<typeof ask> {
  const user = writerOf(view);
  return ask({
    title: `Ask ${user} to let you type?`,
    text: 'They can let you type or refuse. Without an answer, you can type after a few seconds.',
    yes: 'Ask',
    reason: 'Reason (they see it)',
  });
}

function writerOf(view: View): string {
  const writer = view.attachment?.writer ?? view.holder?.user;
  return writer ? named(writer) : 'the user who types';
}

/** Shows a short message for a while. */
function say(words: string): void {
  const toast = element('toast', HTMLElement);
  toast.textContent = words;
  setTimeout(() => {
    if (toast.textContent === words) toast.textContent = '';
  }, TOAST);
}
