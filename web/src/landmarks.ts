// Finds landmarks in a stream of output: kernel panics and login prompts. The time that it takes and the number of
// landmarks are bounded, whatever the guest prints.

export type Landmark = 'panic' | 'login';

/** Maximum characters of a line that are examined, and maximum landmarks in one text. */
const LINE = 256;
const MOST = 8;

/** Escape sequences, and control characters other than line feed. */
export const CONTROL = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|[\x00-\x09\x0b-\x1f\x7f]/g;

/** Kernel panics of Linux and the BSDs. Not the line `end Kernel panic` with which Linux ends a panic. */
const PANIC = /(?:^|[^d] )Kernel panic - not syncing|^(?:\[[\d .]{1,20}\] )?panic: /;

/** `demo login: `, but not `Last login: Mon…`. */
const LOGIN = /^(?!last )(?:\S{1,64} )?login:/i;

/** Matches every text that may contain a landmark. */
const HINT = /panic|login:/i;

/** A part of a text, and the landmark in the row in which it ends. */
export interface Part {
  text: string;
  found?: Landmark;
}

export class Landmarks {
  /** The beginning of the current line, without escape sequences, and whether a landmark was found in it. */
  private line = '';
  private found = false;

  /** Cuts a text at the end of each line with a landmark. */
  split(text: string): Part[] {
    const parts: Part[] = [];
    const mayBe = HINT.test(this.line + text.replace(CONTROL, ''));
    let done = 0;
    // Without a hint, only the last line matters, since later text may continue it.
    let from = mayBe ? 0 : text.lastIndexOf('\n') + 1;
    if (from > 0) this.begin();
    while (from < text.length) {
      const newline = text.indexOf('\n', from);
      const to = newline < 0 ? text.length : newline;
      this.append(text.slice(from, to));
      const found = parts.length < MOST ? this.find() : undefined;
      if (found) {
        parts.push({ text: text.slice(done, to), found });
        done = to;
      }
      if (newline >= 0) this.begin();
      from = to + 1;
    }
    if (done < text.length || parts.length === 0) parts.push({ text: text.slice(done) });
    return parts;
  }

  /** Forgets the current line: a new one begins. */
  begin(): void {
    this.line = '';
    this.found = false;
  }

  private find(): Landmark | undefined {
    if (this.found) return undefined;
    const found = PANIC.test(this.line) ? 'panic' : LOGIN.test(this.line) ? 'login' : undefined;
    this.found = found !== undefined;
    return found;
  }

  private append(text: string): void {
    const room = LINE - this.line.length;
    if (room > 0) this.line += text.slice(0, 8 * LINE).replace(CONTROL, '').slice(0, room);
  }
}
