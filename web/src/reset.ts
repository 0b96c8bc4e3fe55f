// Sequences that reset a terminal before another boot prints: everything that a guest can set. They erase no output, if
// the terminal scrolls when its screen is cleared.

/** `ESC c` (RIS), which firmware prints first. On it, xterm.js would empty the scrollback, too. */
const RIS = '\x1bc';

/** Columns between two tab stops. */
const TAB = 8;

/** Resets what a guest can set. Afterwards, `clear` is needed. */
export const RESET = [
  '\x18', // CAN: the end of a sequence that was cut off.
  '\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\', // Colors.
  '\x1b]8;;\x1b\\', // No link.
  '\x1b[?1047l', // The normal screen, whose rows scroll back.
  '\x1b[!p', // DECSTR: margins, charsets, attributes, modes of keyboard, paste, focus and cursor.
  '\x1b[?1000;1005;1006;1012;1015;1016l', // Mouse.
  '\x1b[?12;2026l\x1b[20l', // Blinking cursor, synchronized output, LNM.
].join('');

/** Clears the screen and puts a tab stop at every eighth column. */
export function clear(columns: number): string {
  let stops = '\x1b[3g';
  for (let column = TAB; column < columns; column += TAB) stops += `\x1b[${column + 1}G\x1bH`;
  return `\x1b[2J${stops}\x1b[H`;
}

/** Finds each RIS in a stream of text. */
export class Resets {
  private held = '';

  /** The parts of a text before, between and after each RIS. */
  split(text: string): string[] {
    const whole = this.held + text;
    // An ESC at the end may be the beginning of one.
    this.held = whole.endsWith('\x1b') ? '\x1b' : '';
    return (this.held ? whole.slice(0, -1) : whole).split(RIS);
  }

  /** The stream is interrupted here: forgets an ESC at its end. */
  cut(): void {
    this.held = '';
  }
}
