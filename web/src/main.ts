// The terminal page: brings its parts together.

import '@xterm/xterm/css/xterm.css';
import './style.css';

import { takeAccess } from './address';
import type { Access } from './address';
import { Clipboard } from './clipboard';
import { confirm } from './confirm';
import { element } from './elements';
import { Search } from './search';
import { Session } from './session';
import type { View } from './session';
import { shortcutOf } from './shortcuts';
import { Status } from './status';
import { Screen } from './terminal';
import { Theme } from './theme';
import type { Offer } from './words';
import { describeSince } from './words';

declare global {
  interface Window {
    /** For tests and reports of faults: what the terminal shows, whichever way it is drawn. */
    serialproxy?: { text(): string };
  }
}

/** Milliseconds that a passing word stays. */
const TOAST = 8000;

const theme = new Theme();
const access = takeAccess();
if (access) openConsole(access);
else explain();

function explain(): void {
  element('explanation', HTMLElement).hidden = false;
  element('hint', HTMLElement).hidden = true;
}

function openConsole(access: Access): void {
  const tools = element('tools', HTMLElement);
  tools.hidden = false;
  element('terminal', HTMLElement).hidden = false;

  let view: View | undefined;
  const screen = new Screen(element('screen', HTMLElement), theme.colours, {
    onText: (text) => session.sendText(text),
    onBinary: (text) => session.sendBinary(text),
  });
  const search = new Search(screen.term, theme);
  const clipboard = new Clipboard(screen.term, say);
  const status = new Status((offer) => void accept(offer));
  const session = new Session(access, screen, show, say);
  theme.follow(() => {
    element('theme', HTMLButtonElement).textContent = `Theme: ${theme.choice}`;
    screen.term.options.theme = theme.colours;
  });

  function show(now: View): void {
    view = now;
    status.show(now);
    const writes = now.attachment?.writes ?? false;
    screen.allowTyping(writes);
    element('paste', HTMLButtonElement).disabled = !writes;
    element('write', HTMLButtonElement).hidden = !now.attachment?.mayAskToWrite;
  }

  async function accept(offer: Offer): Promise<void> {
    if (offer === 'force' && !(await confirmForce(view))) return;
    screen.term.focus();
    if (offer === 'watch') await session.attach({ mode: 'watch' });
    else await session.attach({ force: offer === 'force' });
  }

  function onClick(id: string, act: () => unknown): void {
    element(id, HTMLButtonElement).addEventListener('click', () => void act());
  }
  onClick('write', () => session.attach({ mode: 'write' }));
  onClick('copy', () => clipboard.copy());
  onClick('paste', () => clipboard.paste());
  onClick('theme', () => theme.next());
  onClick('reconnect', () => accept('reconnect'));

  document.addEventListener('keydown', (event) => {
    const shortcut = shortcutOf(event);
    // The browser itself pastes into the terminal, which needs no permission.
    if (!shortcut || shortcut === 'paste') return;
    event.preventDefault();
    if (shortcut === 'copy') void clipboard.copy();
    else if (shortcut === 'find') search.open();
    else if (screen.term.element?.contains(document.activeElement)) focusTools(tools);
    else screen.term.focus();
  });

  window.serialproxy = { text: () => screen.text() };
  screen.term.focus();
  void session.attach();
}

function focusTools(tools: HTMLElement): void {
  tools.querySelector<HTMLButtonElement>('button:not([hidden], :disabled)')?.focus();
}

function confirmForce(view: View | undefined): Promise<boolean> {
  const user = view?.holder?.user ?? 'the writer';
  const since = describeSince(view?.holder?.since, new Date());
  return confirm(
    `Take over from ${user}?`,
    `${user} has been typing here${since}. You write instead; they are told that it was you.`,
    'Take over',
  );
}

/** Says something that passes, below the terminal. */
function say(words: string): void {
  const toast = element('toast', HTMLElement);
  toast.textContent = words;
  setTimeout(() => {
    if (toast.textContent === words) toast.textContent = '';
  }, TOAST);
}
