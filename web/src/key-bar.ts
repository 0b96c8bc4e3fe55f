// Keys that a touch keyboard lacks, and those that browsers keep for themselves. Ctrl and Alt stay down until the
// next key, of this bar or of any keyboard.

import { button, element } from './elements';
import { keep, kept } from './preferences';

/** Receives the keys, and knows which arrow sequences the guest wants. */
export interface Keys {
  readonly applicationCursor: boolean;
  press(text: string): void;
  /** Sends the text that the on-screen keyboard composes, because it precedes the next key. */
  flush(): void;
  /** Shows the on-screen keyboard, or hides it. */
  toggleKeyboard(): void;
}

/** Arrows, with their names for screen readers and the last characters of their sequences. */
const ARROWS: [label: string, name: string, final: string][] = [
  ['←', 'Left', 'D'],
  ['↓', 'Down', 'B'],
  ['↑', 'Up', 'A'],
  ['→', 'Right', 'C'],
];

const SIGNS = ['|', '/', '-', '~'];

/** What a VT220 and xterm send for F1 to F12, without the ESC. */
const FUNCTION_KEYS = [
  ...['OP', 'OQ', 'OR', 'OS'],
  ...[15, 17, 18, 19, 20, 21, 23, 24].map((number) => `[${number}~`),
];

/** Shown beside the function keys: keys that browsers handle themselves, and rarely used ones. */
const OTHERS: [label: string, text: string][] = [
  ['Ctrl+W', '\x17'],
  ['Ctrl+T', '\x14'],
  ['Ctrl+N', '\x0e'],
  ['Home', '\x1b[1~'],
  ['End', '\x1b[4~'],
  ['Delete', '\x1b[3~'],
  ['Insert', '\x1b[2~'],
];

const TOUCH = matchMedia('(pointer: coarse)');

/** xterm sends the sum of these, plus 1, as a key's modifier parameter. */
const ALT = 2;
const CTRL = 4;

export class KeyBar {
  private readonly bar = element('keys', HTMLElement);
  private readonly more = row();
  private readonly ctrl = toggle('Ctrl');
  private readonly alt = toggle('Alt');
  private readonly fn = toggle('Fn', (isDown) => (this.more.hidden = !isDown));
  private writes = false;

  constructor(keys: Keys) {
    const press = (label: string, text: () => string): HTMLButtonElement =>
      button(label, () => keys.press(text()));
    const arrows = ARROWS.map(([label, name, final]) => {
      const arrow = press(label, () => (keys.applicationCursor ? '\x1bO' : '\x1b[') + final);
      arrow.ariaLabel = name;
      return arrow;
    });
    const [esc, tab] = [press('Esc', () => '\x1b'), press('Tab', () => '\t')];
    const signs = SIGNS.map((sign) => press(sign, () => sign));
    const [up, down] = [press('PgUp', () => '\x1b[5~'), press('PgDn', () => '\x1b[6~')];
    const functions = FUNCTION_KEYS.map((text, index) => press(`F${index + 1}`, () => `\x1b${text}`));
    const keyboard = button('⌨', () => keys.toggleKeyboard());
    keyboard.id = 'keyboard-key';
    keyboard.ariaLabel = 'On-screen keyboard';
    this.more.hidden = true;
    this.more.append(...functions, ...OTHERS.map(([label, text]) => press(label, () => text)));
    const main = row(esc, tab, this.ctrl, this.alt, ...arrows, ...signs, up, down, this.fn, keyboard);
    this.bar.append(this.more, main);
    this.bar.addEventListener('click', () => keys.flush(), { capture: true });
    // A press must not take the focus, and with it the touch keyboard, from the terminal.
    this.bar.addEventListener('pointerdown', (event) => event.preventDefault());
    this.bar.addEventListener('mousedown', (event) => event.preventDefault());
    TOUCH.addEventListener('change', () => this.show(this.writes));
  }

  /** Whether the user wants the bar; by default on touch screens, whose keyboards lack keys. */
  get wanted(): boolean {
    const choice = kept('key-bar');
    return choice === undefined ? TOUCH.matches : choice === 'on';
  }

  /** Shows or hides the bar, and keeps the choice. */
  toggle(): void {
    keep('key-bar', this.wanted ? 'off' : 'on');
    this.show(this.writes);
  }

  /** The bar shows only while input is taken. */
  show(writes: boolean): void {
    this.writes = writes;
    this.bar.hidden = !writes || !this.wanted;
    if (this.bar.hidden) this.release();
  }

  /** Whether Ctrl or Alt is down and will change the next key. */
  get holds(): boolean {
    return isDown(this.ctrl) || isDown(this.alt);
  }

  /**
   * Applies Ctrl and Alt to `text`, and releases them. Leaves a text unchanged that is neither one character nor a
   * known key.
   */
  modify(text: string): string {
    const number = (isDown(this.alt) ? ALT : 0) + (isDown(this.ctrl) ? CTRL : 0);
    if (number === 0) return text;
    const named = /^\x1b(?:[[O]([A-D])|\[(\d+)(~)|O([P-S]))$/.exec(text);
    if (!named && [...text].length !== 1) return text;
    this.release();
    if (!named) return (number & ALT ? '\x1b' : '') + (number & CTRL ? control(text) : text);
    const [, arrow, code, tilde, early] = named;
    return `\x1b[${code ?? 1};${number + 1}${arrow ?? tilde ?? early}`;
  }

  private release(): void {
    this.ctrl.ariaPressed = this.alt.ariaPressed = 'false';
  }
}

/** The character that Ctrl makes of this one, or the same character if there is none. */
function control(text: string): string {
  const code = text.toUpperCase().charCodeAt(0);
  if (text === '?') return '\x7f';
  if (text === ' ') return '\0';
  return code >= 0x40 && code < 0x60 ? String.fromCharCode(code & 0x1f) : text;
}

function toggle(label: string, onFlip: (isDown: boolean) => void = () => undefined): HTMLButtonElement {
  const made = button(label, () => {
    made.ariaPressed = String(!isDown(made));
    onFlip(isDown(made));
  });
  made.ariaPressed = 'false';
  return made;
}

function isDown(key: HTMLButtonElement): boolean {
  return key.ariaPressed === 'true';
}

function row(...buttons: HTMLButtonElement[]): HTMLElement {
  const made = document.createElement('div');
  made.className = 'row';
  made.append(...buttons);
  return made;
}
