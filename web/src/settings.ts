// What this browser's user set up for the keyboard and for line feeds, for all consoles: older switches,
// routers and firmware want other bytes than Linux.

import { keep, kept } from './preferences';

/** One of a few values, kept by this browser; the first is the usual one. */
class Choice<T extends string> {
  value: T;

  constructor(
    private readonly name: string,
    private readonly values: readonly [T, ...T[]],
  ) {
    this.value = values.find((value) => value === kept(name)) ?? values[0];
  }

  /** Goes to the next value, and keeps it. */
  next(): void {
    const at = this.values.indexOf(this.value);
    this.value = this.values[(at + 1) % this.values.length] ?? this.values[0];
    keep(this.name, this.value);
  }
}

const ENTER = { CR: '\r', LF: '\n', 'CR LF': '\r\n' };

export class Settings {
  readonly backspace = new Choice('backspace', ['^?', '^H']);
  readonly enter = new Choice('enter', ['CR', 'LF', 'CR LF']);
  readonly newline = new Choice('newline', ['goes down', 'begins a line']);

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

  /** Whether a line feed begins a line, as some devices mean it that send no carriage return. */
  get beginsLine(): boolean {
    return this.newline.value === 'begins a line';
  }
}
