// Light and dark: the terminal's colors for each, and the user's choice, which this browser keeps.
// The rest of the page takes its colors from base.css by the same `data-theme`.

import type { ISearchDecorationOptions } from '@xterm/addon-search';
import type { ITheme } from '@xterm/xterm';

import { keep, kept } from './preferences';

const STORE = 'theme';
const CHOICES = ['auto', 'light', 'dark'] as const;

/** `auto` follows the system. */
export type Choice = (typeof CHOICES)[number];

export class Theme {
  private readonly dark = matchMedia('(prefers-color-scheme: dark)');
  private onChange: () => void = () => undefined;
  choice: Choice = keptChoice();

  constructor() {
    this.apply();
  }

  /** Runs `onChange` now and whenever the choice or its colors change. */
  follow(onChange: () => void): void {
    this.onChange = onChange;
    this.dark.addEventListener('change', onChange);
    onChange();
  }

  /** The terminal's colors of now. */
  get colors(): ITheme {
    return this.isDark ? DARK : LIGHT;
  }

  /** The colors of what a search found. */
  get marks(): ISearchDecorationOptions {
    return this.isDark ? DARK_MARKS : LIGHT_MARKS;
  }

  /** Goes to the next choice and keeps it. */
  next(): void {
    const at = CHOICES.indexOf(this.choice);
    this.choice = CHOICES[(at + 1) % CHOICES.length] ?? 'auto';
    keep(STORE, this.choice);
    this.apply();
  }

  private get isDark(): boolean {
    return this.choice === 'auto' ? this.dark.matches : this.choice === 'dark';
  }

  private apply(): void {
    document.documentElement.dataset['theme'] = this.choice;
    this.onChange();
  }
}

function keptChoice(): Choice {
  const choice = kept(STORE);
  return CHOICES.find((one) => one === choice) ?? 'auto';
}

const DARK: ITheme = {
  background: '#10151a',
  foreground: '#d5dce3',
  cursor: '#7fd1bf',
  cursorAccent: '#10151a',
  selectionBackground: '#2f5d5a',
  black: '#1d252c',
  red: '#e5786d',
  green: '#8fbf7f',
  yellow: '#d9b36c',
  blue: '#78a9e0',
  magenta: '#c295d8',
  cyan: '#6fc0b8',
  white: '#c9d1d9',
  brightBlack: '#6b7885',
  brightRed: '#f2938a',
  brightGreen: '#a9d69b',
  brightYellow: '#ecca8b',
  brightBlue: '#99c2f0',
  brightMagenta: '#d6b0e8',
  brightCyan: '#8dd6ce',
  brightWhite: '#f3f6f9',
};

const LIGHT: ITheme = {
  background: '#fdfdfb',
  foreground: '#232a30',
  cursor: '#0d7563',
  cursorAccent: '#fdfdfb',
  selectionBackground: '#bfe3da',
  black: '#232a30',
  red: '#b3312a',
  green: '#2f7a35',
  yellow: '#8a6100',
  blue: '#1f5fbf',
  magenta: '#8a3fa0',
  cyan: '#0b7285',
  white: '#d3d7d9',
  brightBlack: '#69737c',
  brightRed: '#c8443b',
  brightGreen: '#3c8f42',
  brightYellow: '#9c7411',
  brightBlue: '#3573d0',
  brightMagenta: '#9c52b2',
  brightCyan: '#17869a',
  brightWhite: '#ffffff',
};

const DARK_MARKS = marks('#5c4a17', '#96491a');
const LIGHT_MARKS = marks('#ffe9a3', '#ffbf69');

function marks(match: string, active: string): ISearchDecorationOptions {
  return {
    matchBackground: match,
    matchOverviewRuler: match,
    activeMatchBackground: active,
    activeMatchColorOverviewRuler: active,
  };
}
