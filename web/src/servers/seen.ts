// Up to where this tab's user has seen the output of each line, so that ports with new output stand out.

import type { Line } from './api';

const STORE = 'serialproxy.seen';

interface Mark {
  /** The line's id: offsets under another id cannot be compared. */
  line: string;
  offset: number;
}

export class Seen {
  private marks: Record<string, Mark> = kept();

  /** Takes the current lines. A new one has no unseen output. */
  take(lines: readonly Line[]): void {
    const marks = lines.map((line) => [key(line), this.marks[key(line)] ?? mark(line)] as const);
    this.marks = Object.fromEntries(marks);
    keep(this.marks);
  }

  /** Number of bytes that the line printed since the user looked at it. */
  unseen(line: Line): number {
    const seen = this.marks[key(line)];
    if (!seen) return 0;
    return seen.line === line.line ? Math.max(0, line.offset - seen.offset) : line.offset;
  }

  /** The user has looked at the output of these lines. */
  look(...lines: Line[]): void {
    for (const line of lines) this.marks[key(line)] = mark(line);
    keep(this.marks);
  }

  forget(): void {
    this.marks = {};
  }
}

/** The key of a port: its server's id and its number. */
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
