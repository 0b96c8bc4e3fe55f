// Arrival times beside the rows. The proxy knows when it read each byte of the line; this part knows with which byte
// each row begins. The rows of a painted screen have no offsets: to show their times, the page loads the history again.

import type { IDisposable, IMarker, Terminal } from '@xterm/xterm';

import { element, make } from './elements';
import type { Times } from './messages';
import type { Origin } from './output';
import { keep, kept } from './preferences';

/** Maximum number of rows whose offsets are kept: more than a terminal holds. */
const MOST = 60_000;

/** Minimum milliseconds between two requests for times. */
const PAUSE = 200;

const SETTING = 'arrival-times';

export class Arrivals {
  private readonly gutter = element('gutter', HTMLElement);
  /** The offset of the first byte of each row, by its number since the terminal was filled. */
  private readonly offsets = new Map<number, number>();
  /** The offsets after each line feed of the text that is being parsed, the last one first. */
  private feeds: number[] = [];
  /** A marker in the row with the number `anchored`: the terminal may drop rows above it. */
  private anchor: IMarker | undefined;
  private anchored = 0;
  private times: Times = { type: 'times', from: 0, to: 0, times: [] };
  /** The range that was requested since the last output. */
  private asked = '';
  private listening: IDisposable[] = [];
  private pausing: ReturnType<typeof setTimeout> | undefined;

  /** `ask` requests the times of the bytes from the first offset up to, but not including, the second. */
  constructor(
    private readonly term: Terminal,
    private readonly ask: (from: number, to: number) => void,
  ) {
    this.on = kept(SETTING) === 'on';
  }

  get on(): boolean {
    return !this.gutter.hidden;
  }

  set on(on: boolean) {
    keep(SETTING, on ? 'on' : 'off');
    this.gutter.hidden = !on;
    for (const listener of this.listening.splice(0)) listener.dispose();
    this.forget();
    if (!on) return;
    const { term } = this;
    this.listening = [term.onLineFeed(() => this.feed()), term.onRender(() => this.draw())];
  }

  /** The terminal was emptied. */
  forget(): void {
    this.anchor?.dispose();
    this.anchor = undefined;
    this.anchored = 0;
    this.offsets.clear();
    this.gutter.replaceChildren();
  }

  /** The terminal now parses these bytes. */
  begin({ offset, bytes }: Origin): void {
    this.feeds = [];
    bytes.forEach((byte, index) => {
      // LF, VT, FF: what xterm.js takes for a line feed.
      if (byte >= 0x0a && byte <= 0x0c) this.feeds.push(offset + index + 1);
    });
    this.feeds.reverse();
    this.asked = '';
    const row = this.row();
    this.anchor?.dispose();
    this.anchor = this.term.registerMarker(0);
    this.anchored = row;
    if (!this.offsets.has(row)) this.note(row, offset);
  }

  /** It has parsed them. */
  end(): void {
    this.feeds = [];
  }

  /** Takes the proxy's answer. */
  show(times: Times): void {
    this.times = times;
    this.draw();
  }

  private feed(): void {
    const offset = this.feeds.pop();
    if (offset !== undefined) this.note(this.row(), offset);
  }

  private note(row: number, offset: number): void {
    if (this.term.buffer.active.type === 'alternate') return;
    this.offsets.set(row, offset);
    if (this.offsets.size <= MOST) return;
    for (const oldest of this.offsets.keys()) {
      this.offsets.delete(oldest);
      break;
    }
  }

  /** The number of the cursor's row. */
  private row(): number {
    const { baseY, cursorY } = this.term.buffer.active;
    const { anchor } = this;
    if (anchor && anchor.line >= 0) return this.anchored - anchor.line + baseY + cursorY;
    // There is no anchor, or the terminal dropped its row: the numbers continue beyond all that are in use.
    this.anchored = anchor ? this.anchored + MOST : baseY + cursorY;
    this.anchor = this.term.registerMarker(0);
    return this.anchored;
  }

  private draw(): void {
    const { term, gutter } = this;
    const { viewportY, type } = term.buffer.active;
    const first = viewportY + (this.anchor && this.anchor.line >= 0 ? this.anchored - this.anchor.line : 0);
    const rows = Array.from({ length: term.rows }, (_, row) =>
      type === 'normal' ? this.offsets.get(first + row) : undefined,
    );
    while (gutter.childElementCount > term.rows) gutter.lastChild?.remove();
    while (gutter.childElementCount < term.rows) gutter.append(make('li', ''));
    rows.forEach((offset, row) => {
      const time = offset === undefined ? undefined : this.timeOf(offset);
      const item = gutter.children[row];
      if (item && item.textContent !== clock(time)) item.textContent = clock(time);
    });
    const height = term.element?.querySelector<HTMLElement>('.xterm-screen')?.offsetHeight ?? 0;
    gutter.style.setProperty('--row', `${height / term.rows}px`);
    const known = rows.filter((offset) => offset !== undefined);
    if (known.length > 0) this.require(Math.min(...known), Math.max(...known) + 1);
  }

  private require(from: number, to: number): void {
    const asked = `${from} ${to}`;
    if (this.pausing || asked === this.asked || (this.times.from <= from && this.times.to >= to)) return;
    this.asked = asked;
    this.ask(from, to);
    this.pausing = setTimeout(() => {
      this.pausing = undefined;
      this.draw();
    }, PAUSE);
  }

  private timeOf(offset: number): string | undefined {
    if (offset < this.times.from || offset >= this.times.to) return undefined;
    return this.times.times.filter((arrival) => arrival.offset <= offset).at(-1)?.time;
  }
}

/** `04:58:12.34`, in the reader's time zone; empty for an unknown time. */
function clock(time: string | undefined): string {
  const at = new Date(time ?? '');
  if (Number.isNaN(at.getTime())) return '';
  const two = (part: number): string => String(Math.floor(part)).padStart(2, '0');
  const seconds = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':');
  return `${seconds}.${two(at.getMilliseconds() / 10)}`;
}
