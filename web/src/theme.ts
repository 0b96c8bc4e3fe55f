// The user's choice of light or dark and of a set of colors, which this browser keeps, and the terminal's colors. The
// rest of the page takes its colors from base.css by the same `data-theme` and `data-colors`.

import type { ITheme } from '@xterm/xterm';

import { keep, kept } from './preferences';

/** `auto` follows the system. */
export const LIGHTS = { auto: 'As the system', light: 'Light', dark: 'Dark' } as const;

export const COLORS = { own: 'Standard', solarized: 'Solarized', contrast: 'High contrast' } as const;

export type Light = keyof typeof LIGHTS;
export type Colors = keyof typeof COLORS;

/** Minimum contrast of the terminal's text: by set of colors, and for a console that is over, which is dimmed. */
const CONTRAST: Record<Colors, number> = { own: 4.5, solarized: 4.5, contrast: 7 };
const DIMMED = 7;

/** Colors of the marks in the scroll bar. */
export interface Ticks {
  boot: string;
  panic: string;
  login: string;
}

export class Theme {
  private readonly isSystemDark = matchMedia('(prefers-color-scheme: dark)');
  private onChange: () => void = () => undefined;
  light: Light = keptKey('theme', LIGHTS, 'auto');
  colors: Colors = keptKey('colors', COLORS, 'own');
  private dims = false;

  constructor() {
    this.apply();
  }

  /** Runs `onChange` now and whenever a choice or its colors change. */
  follow(onChange: () => void): void {
    this.onChange = onChange;
    this.isSystemDark.addEventListener('change', onChange);
    onChange();
  }

  /** The terminal's current colors, and the minimum contrast of its text. */
  get terminal(): { theme: ITheme; minimumContrastRatio: number } {
    const [light, dark] = TERMINAL[this.colors];
    const minimumContrastRatio = this.dims ? DIMMED : CONTRAST[this.colors];
    return { theme: this.isDark ? dark : light, minimumContrastRatio };
  }

  /** Sets whether the terminal is dimmed: then its text gets as much more contrast as dimming takes away. */
  dim(dims: boolean): void {
    if (dims === this.dims) return;
    this.dims = dims;
    this.onChange();
  }

  /** The colors behind the matches of a search, and behind the current one, whose text is black. */
  get marks(): [match: string, active: string] {
    return this.isDark ? ['#5c4a17', '#ffb000'] : ['#ffe9a3', '#ff9d2e'];
  }

  /** The colors of marks in the scroll bar. */
  get ticks(): Ticks {
    const { green: boot, red: panic, blue: login } = this.terminal.theme;
    return { boot, panic, login } as Ticks;
  }

  /** Goes to the next of light, dark and the system's. */
  next(): void {
    const all = Object.keys(LIGHTS) as Light[];
    this.setLight(all[(all.indexOf(this.light) + 1) % all.length] ?? 'auto');
  }

  setLight(light: Light): void {
    keep('theme', (this.light = light));
    this.apply();
  }

  setColors(colors: Colors): void {
    keep('colors', (this.colors = colors));
    this.apply();
  }

  private get isDark(): boolean {
    return this.light === 'auto' ? this.isSystemDark.matches : this.light === 'dark';
  }

  private apply(): void {
    const { dataset } = document.documentElement;
    dataset['theme'] = this.light;
    dataset['colors'] = this.colors;
    this.onChange();
  }
}

function keptKey<T extends string>(name: string, known: Record<T, string>, usual: T): T {
  const value = kept(name);
  return (Object.keys(known) as T[]).find((key) => key === value) ?? usual;
}

/** Reads colors in hexadecimal: background, foreground, cursor and selection, and then the 16 of ANSI. */
function colors(words: string): ITheme {
  const [background, foreground, cursor, selectionBackground, ...ansi] = words.split(' ').map((hex) => `#${hex}`);
  const [cursorAccent, overviewRulerBorder] = [background, background];
  const theme = { background, foreground, cursor, cursorAccent, selectionBackground, overviewRulerBorder };
  return { ...theme, ...Object.fromEntries(ANSI.map((name, at) => [name, ansi[at]])) } as ITheme;
}

const NAMES = ['Black', 'Red', 'Green', 'Yellow', 'Blue', 'Magenta', 'Cyan', 'White'];
const ANSI = [...NAMES.map((name) => name.toLowerCase()), ...NAMES.map((name) => `bright${name}`)];

/** Solarized by Ethan Schoonover; its bright colors are those of its palette that have a hue, so that none is gray. */
const SOLARIZED =
  '073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5 586e75 cb4b16 859900 b58900 268bd2 6c71c4 2aa198 fdf6e3';

const TERMINAL: Record<Colors, [light: ITheme, dark: ITheme]> = {
  own: [
    colors(
      'fdfdfb 232a30 0d7563 bfe3da 232a30 b3312a 2f7a35 8a6100 1f5fbf 8a3fa0 0b7285 d3d7d9 ' +
        '69737c c8443b 3c8f42 9c7411 3573d0 9c52b2 17869a ffffff',
    ),
    colors(
      '10151a d5dce3 7fd1bf 2f5d5a 1d252c e5786d 8fbf7f d9b36c 78a9e0 c295d8 6fc0b8 c9d1d9 ' +
        '7b8996 f2938a a9d69b ecca8b 99c2f0 d6b0e8 8dd6ce f3f6f9',
    ),
  ],
  solarized: [
    colors(`fdf6e3 4d626a 586e75 d9d2bd ${SOLARIZED}`),
    colors(`002b36 9eacac 93a1a1 1b5563 ${SOLARIZED}`),
  ],
  contrast: [
    colors(
      'ffffff 000000 0000c0 a8d1ff 000000 a00000 005a00 5c4400 0000c0 800080 005466 d0d0d0 ' +
        '404040 b00000 006600 664c00 0000e0 900090 006070 ffffff',
    ),
    colors(
      '000000 ffffff ffff00 0050a0 202020 ff7a7a 5cff5c ffff00 8cc2ff ff9cff 00ffff e8e8e8 ' +
        'b0b0b0 ffa0a0 a0ffa0 ffff90 b8d8ff ffc0ff a0ffff ffffff',
    ),
  ],
};
