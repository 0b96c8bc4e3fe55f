// Keys that a touch keyboard lacks. Ctrl stays down until the next character.

import { button, element } from './elements';

/** Who hears the keys; the screen knows which arrows the guest wants. */
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

const TOUCH = matchMedia('(pointer: coarse)');

export class KeyBar {
  private readonly bar = element('keys', HTMLElement);
  private readonly more = document.createElement('div');
  private readonly ctrl = button('Ctrl', () => this.toggle(this.ctrl));
  private readonly fn = button('Fn', () => {
    this.toggle(this.fn);
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
    this.more.append(...functions);
    this.bar.append(this.more, row(esc, tab, this.ctrl, ...arrows, this.fn));
    for (const toggle of [this.ctrl, this.fn]) toggle.ariaPressed = 'false';
    // A press must not take the focus, and with it the touch keyboard, from the terminal.
    this.bar.addEventListener('pointerdown', (event) => event.preventDefault());
    this.bar.addEventListener('mousedown', (event) => event.preventDefault());
    TOUCH.addEventListener('change', () => this.show(this.writes));
  }

  /** Only who writes has keys, and only a touch screen lacks them. */
  show(writes: boolean): void {
    this.writes = writes;
    this.bar.hidden = !writes || !TOUCH.matches;
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

  private toggle(key: HTMLButtonElement): void {
    key.ariaPressed = String(!isDown(key));
  }
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
