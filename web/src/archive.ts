// All output that the server keeps of a line, as lines of text: more than the terminal holds.

import { matchesIn } from './matches';

/** Bytes of the newest output that are searched, or loaded into the terminal: more than fits there. */
export const MOST = 32 * 1024 * 1024;

/** Lines that are searched at a time, before the page may do something else. */
const AT_ONCE = 20_000;

/** Hits that are kept, and the lines around one that are shown. */
const KEPT = 200;
const AROUND = 30;

/** Characters of a line that are shown at most: a guest may print megabytes without a line feed. */
export const LONGEST = 2000;

/** Escape sequences, and other control characters but tabs. */
const CONTROL =
  /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]/g;

/** A line that matches. */
export interface Hit {
  /** Its place among all lines. */
  at: number;
  line: string;
  from: number;
  to: number;
  /** How many newer hits have the same line. */
  rank: number;
}

/** Newer hits first, and how many there are in all. */
export interface Hits {
  newest: Hit[];
  count: number;
}

/** A piece of the history, and where the kept output began and ended when it was read. */
export interface Piece {
  bytes: ArrayBuffer;
  offset: number;
  end: number;
}

export class Archive {
  private readonly lines: string[];
  /** Whether output is kept that is older than this. */
  readonly isCut: boolean;

  private constructor(lines: string[], isCut: boolean) {
    this.lines = lines;
    this.isCut = isCut;
  }

  /** Downloads it. `pieces` gives what is kept from an offset on, in order. */
  static async download(pieces: (newest: number) => AsyncGenerator<Piece>): Promise<Archive> {
    const decoder = new TextDecoder();
    const lines: string[] = [];
    let [rest, first, isCut] = ['', true, false];
    for await (const { bytes, offset, end } of pieces(MOST)) {
      if (first) isCut = end - offset >= MOST;
      first = false;
      const parts = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) lines.push(plainLine(part));
    }
    lines.push(plainLine(rest));
    return new Archive(lines, isCut);
  }

  async search(pattern: RegExp): Promise<Hits> {
    const hits: Hits = { newest: [], count: 0 };
    const ranks = new Map<string, number>();
    for (let at = this.lines.length - 1; at >= 0; at -= 1) {
      if (at % AT_ONCE === 0) await new Promise((resolve) => setTimeout(resolve));
      const line = this.lines[at] ?? '';
      const [match] = matchesIn(line, pattern);
      if (!match) continue;
      hits.count += 1;
      if (hits.newest.length >= KEPT) continue;
      const rank = ranks.get(line) ?? 0;
      ranks.set(line, rank + 1);
      hits.newest.push({ at, line, from: match[0], to: match[1], rank });
    }
    return hits;
  }

  /** The lines before a hit, and those after it, as far as they are shown. */
  around({ at }: Hit): [before: string[], after: string[]] {
    const shown = (from: number, to: number): string[] =>
      this.lines.slice(from, to).map((line) => (line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line));
    return [shown(Math.max(0, at - AROUND), at), shown(at + 1, at + 1 + AROUND)];
  }
}

/** What a terminal would show of a line, if nothing moved its cursor. */
function plainLine(bytes: string): string {
  return bytes.replace(CONTROL, '').trimEnd();
}
