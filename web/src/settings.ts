// What the user set for all consoles, kept by this browser: what keys send and what line feeds do, since older
// switches, routers and firmware need other bytes than Linux, and how the page looks. For keys and line feeds, an
// operator can set the defaults of a line.

import type { TerminalSettings } from './messages';
import { keep, kept } from './preferences';

/** A setting with a few values, kept by this browser. */
class Choice<T extends string> {
  readonly values: T[];
  private own: T | undefined;
  private wanted: T | undefined;

  /** `words`: the values as an operator writes them, and as this page shows them. `usual`: the default. */
  constructor(
    private readonly name: string,
    private readonly words: [string, T][],
    private readonly usual: T,
  ) {
    this.values = words.map(([, value]) => value);
    this.own = this.values.find((value) => value === kept(name));
  }

  get value(): T {
    return this.own ?? this.wanted ?? this.usual;
  }

  /** Sets the line's default, as an operator writes it. */
  want(word: string | undefined): void {
    this.wanted = this.words.find(([known]) => known === word)?.[1];
  }

  /** Goes to the next value, and keeps it. */
  next(): void {
    const at = this.values.indexOf(this.value);
    this.set(this.values[(at + 1) % this.values.length]);
  }

  set(value: string | undefined): void {
    this.own = this.values.find((known) => known === value) ?? this.usual;
    keep(this.name, this.own);
  }
}

const ENTER = { CR: '\r', LF: '\n', 'CR LF': '\r\n' };

export class Settings {
  readonly backspace = new Choice<'^?' | '^H'>(
    'backspace',
    [
      ['del', '^?'],
      ['ctrl-h', '^H'],
    ],
    '^?',
  );
  readonly enter = new Choice<keyof typeof ENTER>(
    'enter',
    [
      ['cr', 'CR'],
      ['lf', 'LF'],
      ['crlf', 'CR LF'],
    ],
    'CR',
  );
  readonly newline = new Choice<'moves down' | 'starts a new line'>(
    'newline',
    [
      ['down', 'moves down'],
      ['new-line', 'starts a new line'],
    ],
    'moves down',
  );

  /** Height of a row, in heights of a character. With 1, rows hide the underscores of fonts that draw them low. */
  readonly lineHeight = choice('line-height', ['1.1', '1.25', '1.5', '1']);
  /** Whether the footer shows the guest's size. */
  readonly sizes = choice('sizes', ['shown', 'hidden']);
  /** The key of the palette. Each browser reserves other keys. */
  readonly paletteKey = choice('palette-key', ['Ctrl+Shift+P', 'Ctrl+Shift+Y', 'Ctrl+Alt+P', 'Alt+P', 'F1', 'F12']);

  /** The chosen font; undefined for the default. */
  get font(): string | undefined {
    return kept('font') || undefined;
  }

  set font(name: string | undefined) {
    keep('font', name ?? '');
  }

  /** Sets the defaults of the line. */
  follow(line: TerminalSettings = {}): void {
    this.backspace.want(line.backspace);
    this.enter.want(line.newline);
    this.newline.want(line.line_feed);
  }

  /** What a key sends. Ctrl+Backspace sends what Backspace does not. */
  key(text: string): string {
    if (text === '\r') return this.lines(text);
    if (this.backspace.value === '^?' || !/^\x1b?[\x08\x7f]+$/.test(text)) return text;
    return text.replace(/[\x08\x7f]/g, (key) => (key === '\x7f' ? '\x08' : '\x7f'));
  }

  /** The text, with what Enter sends at the end of each line. */
  lines(text: string): string {
    return text.replaceAll('\r', ENTER[this.enter.value]);
  }

  /** Whether a line feed starts a new line, for devices that send no carriage return. */
  get beginsLine(): boolean {
    return this.newline.value === 'starts a new line';
  }
}

/** A choice that operators cannot set. The first value is the default. */
function choice<T extends string>(name: string, values: [T, ...T[]]): Choice<T> {
  return new Choice(name, values.map((value) => [value, value]), values[0]);
}
