// What this browser's user set up for all consoles: the keyboard and line feeds, since older switches, routers and
// firmware want other bytes than Linux, and how the page looks. What keys send, an operator sets for a line too; a
// user's own goes before.

import type { TerminalSettings } from './messages';
import { keep, kept } from './preferences';

/** One of a few values, kept by this browser; the first is the usual one. */
class Choice<T extends string> {
  readonly values: T[];
  private own: T | undefined;
  private wanted: T | undefined;

  /** `words` are the values as an operator writes them, and as this page shows them. */
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

  /** What the line wants, as an operator writes it. */
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

  /** Of a row, in heights of a character: with 1, fonts whose underscore is low lose it between rows. */
  readonly lineHeight = choice('line-height', ['1.1', '1.25', '1.5', '1']);
  /** Whether the footer says which size the guest has. */
  readonly sizes = choice('sizes', ['shown', 'hidden']);
  /** The key of the palette. Each browser keeps others for itself. */
  readonly paletteKey = choice('palette-key', ['Ctrl+Shift+P', 'Ctrl+Shift+Y', 'Ctrl+Alt+P', 'Alt+P', 'F1', 'F12']);

  /** The font that was chosen; none for the usual one. */
  get font(): string | undefined {
    return kept('font') || undefined;
  }

  set font(name: string | undefined) {
    keep('font', name ?? '');
  }

  /** What the line wants where this browser's user set nothing. */
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

  /** A text whose lines end as Enter ends them. */
  lines(text: string): string {
    return text.replaceAll('\r', ENTER[this.enter.value]);
  }

  /** Whether a line feed starts a new line, which devices want that send no carriage return. */
  get beginsLine(): boolean {
    return this.newline.value === 'starts a new line';
  }
}

/** A choice of which operators know nothing; the first value is the usual one. */
function choice<T extends string>(name: string, values: [T, ...T[]]): Choice<T> {
  return new Choice(name, values.map((value) => [value, value]), values[0]);
}
