// The menu of keys: sends those that the browser keeps, and sets what Backspace and Enter send.

import { element } from './elements';
import type { KeyBar } from './key-bar';
import { Menu } from './menu';
import type { Settings } from './settings';

/** Keys that the browser or this page keeps, and what the guest gets for them. */
const KEPT: [id: string, text: string][] = [
  ['ctrl-w', '\x17'],
  ['ctrl-t', '\x14'],
  ['ctrl-n', '\x0e'],
  ['ctrl-q', '\x11'],
  ['shift-f6', '\x1b[17;2~'],
];

/** Receives keys and changed settings. */
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

  /** The keys can be sent only while input is taken. */
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
