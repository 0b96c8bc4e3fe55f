// Keys that a touch keyboard lacks, and those that browsers keep for themselves. Ctrl stays down until the
// next character.

import { button, element } from './elements';
import { keep, kept } from './preferences';

/** Receives the keys, and knows which arrow sequences the guest wants. */
export interface Keys {
  readonly applicationCursor: boolean;
  press(text: string): void;
}

const ARROWS: [label: string, name: string, final: string][] = [
  ['←', 'Left', 'D'],
  ['↓', 'Down', 'B'],
  ['↑', 'Up', 'A'],
  ['→', 'Right', 'C'],
];

/** What a VT220 and xterm send for F1 to F12. */
const FUNCTION_KEYS = [
  ...['OP', 'OQ', 'OR', 'OS'],
  ...[15, 17, 18, 19, 20, 21, 23, 24].map((number) => `[${number}~`),
];

/** Beside the function keys: what browsers keep, and what touch keyboards lack. */
const OTHERS: [label: string, text: string][] = [
  ['Ctrl+W', '\x17'],
  ['Ctrl+T', '\x14'],
  ['Ctrl+N', '\x0e'],
  ['Home', '\x1b[1~'],
  ['End', '\x1b[4~'],
  ['Delete', '\x1b[3~'],
  ['Insert', '\x1b[2~'],
  ['PgUp', '\x1b[5~'],
  ['PgDn', '\x1b[6~'],
];

const TOUCH = matchMedia('(pointer: coarse)');

export class KeyBar {
  private readonly bar = element('keys', HTMLElement);
  private readonly more = document.createElement('div');
  private readonly ctrl = button('Ctrl', () => flip(this.ctrl));
  private readonly fn = button('Fn', () => {
    flip(this.fn);
    this.more.hidden = !isDown(this.fn);
  });
  private writes = false;

  constructor(keys: Keys) {
    const press = (label: string, text: () => string): HTMLButtonElement =>
      button(label, () => keys.press(text()));
    const arrows = ARROWS.map(([label, name, final]) => {
      const arrow = press(label, () => (keys.applicationCursor ? '\x1bO' : '\x1b[') + final);
      arrow.ariaLabel = name;
      return arrow;
    });
    const esc = press('Esc', () => '\x1b');
    const tab = press('Tab', () => '\t');
    const functions = FUNCTION_KEYS.map((text, index) =>
      press(`F${index + 1}`, () => `\x1b${text}`),
    );
    this.more.className = 'row';
    this.more.hidden = true;
    this.more.append(...functions, ...OTHERS.map(([label, text]) => press(label, () => text)));
    this.bar.append(this.more, row(esc, tab, this.ctrl, ...arrows, this.fn));
    for (const toggle of [this.ctrl, this.fn]) toggle.ariaPressed = 'false';
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

  /** Shows or hides it from now on. */
  toggle(): void {
    keep('key-bar', this.wanted ? 'off' : 'on');
    this.show(this.writes);
  }

  /** The bar shows only while input is taken. */
  show(writes: boolean): void {
    this.writes = writes;
    this.bar.hidden = !writes || !this.wanted;
    if (this.bar.hidden) this.ctrl.ariaPressed = 'false';
  }

  /** What `text` means while Ctrl is down. */
  modify(text: string): string {
    if (!isDown(this.ctrl) || text.length !== 1) return text;
    this.ctrl.ariaPressed = 'false';
    const code = text.toUpperCase().charCodeAt(0);
    if (text === '?') return '\x7f';
    if (text === ' ') return '\0';
    return code >= 0x40 && code < 0x60 ? String.fromCharCode(code & 0x1f) : text;
  }
}

function flip(key: HTMLButtonElement): void {
  key.ariaPressed = String(!isDown(key));
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
