// What of each line's output this tab's user has seen, so that ports that printed since stand out.

import type { Line } from './api';

const STORE = 'serialproxy.seen';

interface Mark {
  /** Offsets of another line id say nothing about this one. */
  line: string;
  offset: number;
}

export class Seen {
  private marks: Record<string, Mark> = kept();

  /** Takes the lines that there are. One that is new has nothing unseen. */
  take(lines: readonly Line[]): void {
    const marks = lines.map((line) => [key(line), this.marks[key(line)] ?? mark(line)] as const);
    this.marks = Object.fromEntries(marks);
    keep(this.marks);
  }

  /** Bytes that the line printed since it was looked at. */
  unseen(line: Line): number {
    const seen = this.marks[key(line)];
    if (!seen) return 0;
    return seen.line === line.line ? Math.max(0, line.offset - seen.offset) : line.offset;
  }

  /** The output of these lines up to now has been looked at. */
  look(...lines: Line[]): void {
    for (const line of lines) this.marks[key(line)] = mark(line);
    keep(this.marks);
  }

  forget(): void {
    this.marks = {};
  }
}

export function key(line: { server: { id: string }; port: number }): string {
  return `${line.server.id}/${line.port}`;
}

function mark({ line, offset }: Line): Mark {
  return { line, offset };
}

function kept(): Record<string, Mark> {
  try {
    return (JSON.parse(sessionStorage.getItem(STORE) ?? 'null') as Record<string, Mark>) ?? {};
  } catch {
    return {};
  }
}

function keep(marks: Record<string, Mark>): void {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(marks));
  } catch {
    // Storage can be full or switched off; then the marks last as long as the page.
  }
}
