// All output of a line that the proxy keeps, as lines of text: more than the terminal holds.

import { matchesIn } from './matches';

/** Maximum bytes of the newest output that are searched, or loaded into the terminal. The terminal holds less. */
export const MOST = 32 * 1024 * 1024;

/** Lines that are searched before the search yields to the event loop. */
const AT_ONCE = 20_000;

/** Maximum number of hits that are listed, and of lines that are shown before and after one. */
const KEPT = 200;
const AROUND = 30;

/** Maximum characters of a line that are shown: a guest may print megabytes without a line feed. */
export const LONGEST = 2000;

/** Escape sequences, and control characters other than tab and line feed. */
const CONTROL =
  /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]/g;

/** A line that matches. */
export interface Hit {
  /** Index of the line in the archive. */
  at: number;
  line: string;
  /** The match: its first index in the line, and the index after its last. */
  from: number;
  to: number;
  /** Number of newer hits whose line has the same text. */
  rank: number;
}

/** The newest hits, the newest first, and the number of all lines that match. */
export interface Hits {
  newest: Hit[];
  count: number;
}

/** A piece of the history, the offset of its first byte, and where the output ended when the download began. */
export interface Piece {
  bytes: ArrayBuffer;
  offset: number;
  end: number;
}

export class Archive {
  private readonly lines: string[];
  /** Whether the proxy keeps output that is older than this archive. */
  readonly isCut: boolean;

  private constructor(lines: string[], isCut: boolean) {
    this.lines = lines;
    this.isCut = isCut;
  }

  /**
   * Downloads the archive. `pieces` yields the newest bytes that the proxy keeps, at most as many as it is asked for.
   */
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

  /** The lines to show before and after a hit, each cut to `LONGEST` characters. */
  around({ at }: Hit): [before: string[], after: string[]] {
    const shown = (from: number, to: number): string[] =>
      this.lines.slice(from, to).map((line) => (line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line));
    return [shown(Math.max(0, at - AROUND), at), shown(at + 1, at + 1 + AROUND)];
  }
}

/** The text of a line as a terminal would show it if nothing moved the cursor. */
function plainLine(bytes: string): string {
  return bytes.replace(CONTROL, '').trimEnd();
}
