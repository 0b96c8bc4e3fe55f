// Finds what stands out in a stream of output: kernel panics and login prompts. Whatever the guest prints costs a
// bounded time and leaves a bounded number of marks.

export type Landmark = 'panic' | 'login';

/** Characters of a line that are looked at, and marks in one text. */
const LINE = 256;
const MOST = 8;

/** Escape sequences, and other control characters but line feeds. */
export const CONTROL = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|[\x00-\x09\x0b-\x1f\x7f]/g;

/** Of Linux and the BSDs. At its end, Linux says `end Kernel panic` once more. */
const PANIC = /(?:^|[^d] )Kernel panic - not syncing|^(?:\[[\d .]{1,20}\] )?panic: /;

/** `demo login: `, but not `Last login: Mon…`. */
const LOGIN = /^(?!last )(?:\S{1,64} )?login:/i;

/** One of them may be in a text. */
const HINT = /panic|login:/i;

/** A part of a text, and what is in the row that it ends in. */
export interface Part {
  text: string;
  found?: Landmark;
}

export class Landmarks {
  /** The beginning of the present line, without sequences, and whether something was found in it. */
  private line = '';
  private found = false;

  /** The same text, cut at the end of each line with a landmark. */
  split(text: string): Part[] {
    const parts: Part[] = [];
    const mayBe = HINT.test(this.line + text.replace(CONTROL, ''));
    let done = 0;
    // Without a hint, only the last line matters, since it may go on.
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

  /** The line breaks off here. */
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
