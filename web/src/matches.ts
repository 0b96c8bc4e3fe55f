// Finds where a pattern matches: in the terminal, and in a line of text.

import type { IBuffer, Terminal } from '@xterm/xterm';

/** Maximum number of matches that are marked and counted. */
export const LIMIT = 1000;

/** Maximum number of wrapped rows that are searched together as one line. */
const ROWS = 100;

/** What is searched, and how. */
export interface Query {
  text: string;
  matchesCase: boolean;
  isRegex: boolean;
}

/** A match in the terminal: its first cell, and its number of cells, which may span several rows. */
export interface Match {
  row: number;
  column: number;
  cells: number;
  /** The text of its line, which may span several rows, and the line's first row. */
  line: string;
  start: number;
}

/** The pattern of a query. Throws a `SyntaxError` if it is not a regular expression. */
export function patternOf({ text, matchesCase, isRegex }: Query): RegExp {
  const source = isRegex ? text : text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
  return new RegExp(source, matchesCase ? 'gu' : 'giu');
}

/** The matches in a line, in order: the first index of each, and the index after its last. Skips empty matches. */
export function* matchesIn(line: string, pattern: RegExp): Generator<[from: number, to: number]> {
  for (const { index, 0: found } of line.matchAll(pattern)) {
    if (found) yield [index, index + found.length];
  }
}

/** The newest matches in the terminal, at most `LIMIT`, the newest first. */
export function newestMatches(term: Terminal, pattern: RegExp): Match[] {
  const { active: buffer } = term.buffer;
  const found: Match[] = [];
  for (let end = buffer.length; end > 0 && found.length < LIMIT; ) {
    let row = end - 1;
    while (row > 0 && end - row < ROWS && buffer.getLine(row)?.isWrapped) row -= 1;
    const line = textOf(buffer, row, end);
    for (const [from, to] of [...matchesIn(line, pattern)].reverse().slice(0, LIMIT - found.length)) {
      const [first] = cellsAt(buffer, term.cols, row, from);
      const [, last] = cellsAt(buffer, term.cols, row, to - 1);
      const [down, column] = [Math.floor(first / term.cols), first % term.cols];
      found.push({ row: row + down, column, cells: last - first + 1, line, start: row });
    }
    end = row;
  }
  return found;
}

/** The text of the rows from `row` to before `end`, which are one line. */
function textOf(buffer: IBuffer, row: number, end: number): string {
  let text = '';
  for (let at = row; at < end; at += 1) text += buffer.getLine(at)?.translateToString(at === end - 1) ?? '';
  return text;
}

/**
 * The first and the last cell of a character, counted from the start of its line: wide characters take two, combining
 * ones none.
 */
function cellsAt(buffer: IBuffer, cols: number, row: number, index: number): [first: number, last: number] {
  let left = index;
  for (let at = row; ; at += 1) {
    const line = buffer.getLine(at);
    for (let column = 0; column < cols; column += 1) {
      const cell = line?.getCell(column);
      const first = (at - row) * cols + column;
      if (!cell) return [first, first];
      if (cell.getWidth() === 0) continue;
      left -= cell.getChars().length || 1;
      if (left < 0) return [first, first + cell.getWidth() - 1];
    }
  }
}
