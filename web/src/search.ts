// The search bar: searches the terminal, the newest match first, and all output that the proxy keeps.

import type { IDecoration, Terminal } from '@xterm/xterm';

import { Archive, LONGEST } from './archive';
import type { Hit, Piece } from './archive';
import { showDialog } from './dialog';
import { element, make } from './elements';
import { LIMIT, newestMatches, patternOf } from './matches';
import type { Match, Query } from './matches';
import type { Theme } from './theme';
import { count } from './times';

/** Milliseconds for which new output waits until it is searched, too. */
const SOON = 500;

/** Maximum characters of a hit that are shown before its match, and in all. */
const BEFORE = 40;
const SHOWN = 300;

export class Search {
  private readonly bar = element('search', HTMLFormElement);
  private readonly input = element('term', HTMLInputElement);
  private readonly told = element('matches', HTMLElement);
  private readonly panel = element('hits', HTMLElement);
  private readonly list = element('hits-list', HTMLElement);
  private readonly hitsTold = element('hits-told', HTMLElement);
  private matches: Match[] = [];
  /** Index of the current match. */
  private at = 0;
  private marks: IDecoration[] = [];
  private archive: Archive | undefined;
  /** Counts downloads and closing, so that the result of an earlier download is dropped. */
  private downloads = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** `pieces` downloads the newest output that the proxy keeps; `onChange` runs when the bar opens or closes. */
  constructor(
    private readonly term: Terminal,
    private readonly theme: Theme,
    private readonly pieces: (newest: number) => AsyncGenerator<Piece>,
    private readonly onChange: () => void,
  ) {
    this.bar.addEventListener('submit', (event) => {
      event.preventDefault();
      this.step(1);
    });
    for (const part of [this.bar, this.panel]) part.addEventListener('keydown', (event) => this.handleKey(event));
    this.input.addEventListener('input', () => this.start());
    for (const id of ['match-case', 'match-regex']) {
      const toggle = element(id, HTMLButtonElement);
      this.onClick(id, () => {
        toggle.ariaPressed = String(toggle.ariaPressed !== 'true');
        this.start();
      });
    }
    this.onClick('newer', () => this.step(-1));
    this.onClick('search-kept', () => void this.searchKept());
    this.onClick('close-search', () => this.close());
    term.onWriteParsed(() => this.later());
    term.onResize(() => this.later());
  }

  get isOpen(): boolean {
    return !this.bar.hidden;
  }

  /** Opens the bar, or moves the focus to it. Its button also closes it. */
  toggle(): void {
    if (this.isOpen && document.activeElement?.id === 'find') this.close();
    else this.open();
  }

  private get query(): Query {
    const isOn = (id: string): boolean => element(id, HTMLButtonElement).ariaPressed === 'true';
    return { text: this.input.value, matchesCase: isOn('match-case'), isRegex: isOn('match-regex') };
  }

  private open(): void {
    this.bar.hidden = false;
    this.onChange();
    this.input.focus();
    this.input.select();
    this.start();
  }

  private close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const match = this.matches[this.at];
    this.clear();
    this.archive = undefined;
    this.downloads += 1;
    this.bar.hidden = true;
    this.panel.hidden = true;
    this.onChange();
    this.term.focus();
    // After the terminal has been resized into the place of the bar, which clears a selection.
    const select = (): void => match && this.term.select(match.column, match.row, match.cells);
    requestAnimationFrame(() => requestAnimationFrame(select));
  }

  private handleKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') this.close();
    else if (event.key === 'Enter' && event.shiftKey && event.target === this.input) this.step(-1);
    else return;
    event.preventDefault();
  }

  /** Searches again, and goes to the newest match. */
  private start(): void {
    this.at = 0;
    this.find();
    this.reveal();
    if (this.archive) void this.showHits(this.archive);
  }

  /** Searches again soon: new output moves the matches. */
  private later(): void {
    if (!this.isOpen || !this.input.value) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const was = this.marks.at(-1)?.marker.line;
      const column = this.matches[this.at]?.column;
      this.find();
      const same = this.matches.findIndex((match) => match.row === was && match.column === column);
      this.at = Math.max(0, same);
      this.mark();
    }, SOON);
  }

  private find(): void {
    this.matches = [];
    const pattern = this.pattern();
    if (pattern) this.matches = newestMatches(this.term, pattern);
    this.mark();
  }

  /** The pattern. Undefined if there is none, or if it is invalid, which the bar then says. */
  private pattern(): RegExp | undefined {
    this.told.textContent = '';
    if (!this.input.value) return undefined;
    try {
      return patternOf(this.query);
    } catch {
      this.told.textContent = 'not a regular expression';
      return undefined;
    }
  }

  private step(by: number): void {
    const { length } = this.matches;
    if (length > 0) this.at = (this.at + by + length) % length;
    this.mark();
    this.reveal();
  }

  private clear(): void {
    for (const mark of this.marks.splice(0)) {
      mark.marker.dispose();
      mark.dispose();
    }
  }

  /** Marks all matches, the current one last, so that it lies on top. */
  private mark(): void {
    this.clear();
    const { matches, at } = this;
    if (matches.length > 0) {
      const more = matches.length === LIMIT ? ' or more' : '';
      this.told.textContent = `${at + 1} of ${matches.length}${more}`;
    } else if (this.input.value && !this.told.textContent) {
      this.told.textContent = 'no match';
    }
    for (const match of matches) if (match !== matches[at]) this.draw(match, false);
    const active = matches[at];
    if (active) this.draw(active, true);
  }

  /** Marks a match in each of its rows, the first row last: `later` finds the current match by the last mark. */
  private draw({ row, column, cells }: Match, isActive: boolean): void {
    const { term, theme } = this;
    const { baseY, cursorY } = term.buffer.active;
    const [match, active] = theme.marks;
    const rows = Math.ceil((column + cells) / term.cols);
    for (let nth = rows - 1; nth >= 0; nth -= 1) {
      const x = nth === 0 ? column : 0;
      const width = Math.min(term.cols, column + cells - nth * term.cols) - x;
      const marker = term.registerMarker(row + nth - baseY - cursorY);
      const mark = term.registerDecoration({
        marker,
        x,
        width,
        backgroundColor: isActive ? active : match,
        ...(isActive && { foregroundColor: '#000000', layer: 'top' as const }),
        overviewRulerOptions: { color: isActive ? active : match, position: 'center' },
      });
      if (!mark) continue;
      if (isActive) mark.onRender((shown) => shown.classList.add('found'));
      this.marks.push(mark);
    }
  }

  /** Scrolls to the current match, unless it is in view. */
  private reveal(): void {
    const match = this.matches[this.at];
    const { viewportY } = this.term.buffer.active;
    if (!match || (match.row >= viewportY && match.row < viewportY + this.term.rows)) return;
    this.term.scrollToLine(Math.max(0, match.row - Math.floor(this.term.rows / 2)));
  }

  /** Downloads the output that the proxy keeps now, and searches it. */
  private async searchKept(): Promise<void> {
    this.panel.hidden = false;
    this.list.replaceChildren();
    this.hitsTold.textContent = 'Loading all output that the server keeps…';
    this.downloads += 1;
    const { downloads } = this;
    try {
      const archive = await Archive.download(this.pieces);
      if (downloads !== this.downloads) return;
      this.archive = archive;
      await this.showHits(archive);
    } catch (error) {
      if (downloads !== this.downloads) return;
      this.hitsTold.textContent = `It could not be loaded: ${error instanceof Error ? error.message : error}`;
    }
  }

  private async showHits(archive: Archive): Promise<void> {
    const pattern = this.pattern();
    if (!pattern) {
      this.list.replaceChildren();
      this.hitsTold.textContent = 'Type what to search for.';
      return;
    }
    const hits = await archive.search(pattern);
    // Another search may have begun meanwhile.
    if (this.archive !== archive || this.pattern()?.source !== pattern.source) return;
    this.mark();
    const part = hits.count > hits.newest.length ? `; these are the newest ${hits.newest.length}` : '';
    const cut = archive.isCut ? ' Of the output that the server keeps, only the newest 32 MiB are searched.' : '';
    this.hitsTold.textContent =
      hits.count === 0
        ? `Not found in the output that the server keeps.${cut}`
        : `Found in ${count(hits.count, 'line')} of the output that the server keeps${part}.${cut}`;
    this.list.replaceChildren(...hits.newest.map((hit) => this.itemOf(archive, hit)));
  }

  private itemOf(archive: Archive, hit: Hit): HTMLElement {
    const go = make('button', '', ...marked(hit, BEFORE, SHOWN));
    go.type = 'button';
    go.addEventListener('click', () => this.show(archive, hit));
    return make('li', '', go);
  }

  /** Goes to the hit if the terminal still has it; otherwise shows the lines around it. */
  private show(archive: Archive, hit: Hit): void {
    const same = this.matches.filter(({ line }) => line.trimEnd() === hit.line);
    const start = [...new Set(same.map((match) => match.start))][hit.rank];
    const match = same.find((one) => one.start === start);
    if (match) {
      this.at = this.matches.indexOf(match);
      this.mark();
      return this.reveal();
    }
    const [before, after] = archive.around(hit);
    const text = make('pre', 'around', before.map((line) => `${line}\n`).join(''));
    const found = make('span', '', ...marked(hit, LONGEST / 2, LONGEST), '\n');
    text.append(found, after.join('\n'));
    text.tabIndex = 0;
    text.ariaLabel = 'Output';
    showDialog('No longer in the terminal', text);
    found.scrollIntoView({ block: 'center' });
  }

  private onClick(id: string, act: () => void): void {
    element(id, HTMLButtonElement).addEventListener('click', act);
  }
}

/** A hit's line, with its match marked. At most `most` characters are shown, `before` of them before the match. */
function marked({ line, from, to }: Hit, before: number, most: number): (Node | string)[] {
  const start = Math.max(0, from - before);
  const end = Math.min(line.length, start + most);
  const until = Math.min(to, end);
  const [earlier, later] = [start > 0 ? '…' : '', end < line.length ? '…' : ''];
  return [earlier + line.slice(start, from), make('mark', '', line.slice(from, until)), line.slice(until, end) + later];
}
