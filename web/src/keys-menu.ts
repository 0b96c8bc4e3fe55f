// The menu of keys: those that browsers keep for themselves, and what this browser's keys send.

import { element } from './elements';
import type { KeyBar } from './key-bar';
import { Menu } from './menu';
import type { Settings } from './settings';

/** Keys that close or change the tab or window instead, or that this page keeps, and what they send. */
const KEPT: [id: string, text: string][] = [
  ['ctrl-w', '\x17'],
  ['ctrl-t', '\x14'],
  ['ctrl-n', '\x0e'],
  ['ctrl-q', '\x11'],
  ['shift-f6', '\x1b[17;2~'],
];

/** Who hears of it. */
export interface Listener {
  press(text: string): void;
  /** A setting changed. */
  onSettings(): void;
}

export class KeysMenu {
  constructor(
    private readonly settings: Settings,
    private readonly bar: KeyBar,
    listener: Listener,
  ) {
    new Menu('keyboard', () => this.refresh());
    for (const [id, text] of KEPT) onClick(id, () => listener.press(text));
    onClick('key-bar', () => {
      bar.toggle();
      this.refresh();
    });
    for (const name of ['backspace', 'enter', 'newline'] as const) {
      onClick(name, () => {
        settings[name].next();
        this.refresh();
        listener.onSettings();
      });
    }
    this.refresh();
  }

  /** Only who types has keys to send. */
  show(takesInput: boolean): void {
    for (const [id] of KEPT) element(id, HTMLButtonElement).disabled = !takesInput;
  }

  private refresh(): void {
    const { backspace, enter, newline } = this.settings;
    element('backspace', HTMLElement).textContent = `Backspace sends ${backspace.value}`;
    element('enter', HTMLElement).textContent = `Enter sends ${enter.value}`;
    element('newline', HTMLElement).textContent = `Line feed ${newline.value}`;
    element('key-bar', HTMLElement).ariaChecked = String(this.bar.wanted);
  }
}

function onClick(id: string, act: () => void): void {
  element(id, HTMLButtonElement).addEventListener('click', act);
}
