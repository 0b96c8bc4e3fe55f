// Fingers on the terminal, which xterm.js does not follow (xtermjs/xterm.js#5489): a swipe scrolls, a long
// press selects a word, and moving on from there selects more. A tap stays a click.

import type { Terminal } from '@xterm/xterm';

/** Milliseconds that a finger rests before it selects. */
const LONG_PRESS = 500;

/** Pixels that a resting finger may move. */
const SLOP = 8;

/** What is left of a swipe's speed after 16 ms, and pixels in 16 ms under which it ends. */
const FRICTION = 0.95;
const SLOW = 0.5;

/** Characters of a word: of a path or an address too. */
const WORD = /[^\s()[\]{}'",;<>|]/;

/** A place in the terminal's buffer. */
interface Cell {
  row: number;
  column: number;
}

type Doing = 'nothing' | 'resting' | 'scrolling' | 'selecting';

export class Touch {
  private doing: Doing = 'nothing';
  private at = { x: 0, y: 0 };
  /** Pixels that were swiped and are no whole row yet, and pixels of the last move. */
  private rest = 0;
  private speed = 0;
  private anchor: { from: Cell; to: Cell } | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly term: Terminal,
    private readonly place: HTMLElement,
    private readonly onSelected: () => void,
  ) {
    const active = { passive: false };
    place.addEventListener('touchstart', (event) => this.start(event), active);
    place.addEventListener('touchmove', (event) => this.move(event), active);
    place.addEventListener('touchend', (event) => this.end(event), active);
    place.addEventListener('touchcancel', () => this.stop());
    // The browser's own menu of a long press would take the selection's place.
    place.addEventListener('contextmenu', (event) => {
      if (this.doing === 'selecting') event.preventDefault();
    });
  }

  private start(event: TouchEvent): void {
    this.stop();
    const [finger, another] = event.touches;
    if (!finger || another) return;
    this.doing = 'resting';
    this.at = { x: finger.clientX, y: finger.clientY };
    this.rest = this.speed = 0;
    this.timer = setTimeout(() => this.select(), LONG_PRESS);
  }

  private move(event: TouchEvent): void {
    const [finger, another] = event.touches;
    if (!finger || another) return this.stop();
    const { clientX: x, clientY: y } = finger;
    if (this.doing === 'resting') {
      if (Math.hypot(x - this.at.x, y - this.at.y) < SLOP) return;
      clearTimeout(this.timer);
      this.doing = 'scrolling';
    }
    if (this.doing === 'nothing') return;
    event.preventDefault();
    const { x: wasX, y: wasY } = this.at;
    this.at = { x, y };
    if (this.doing === 'selecting') return this.extend();
    // Where another's grid is larger than the window, the window moves over it first.
    this.place.scrollLeft += wasX - x;
    this.speed = wasY - y;
    this.scroll(this.speed);
  }

  private end(event: TouchEvent): void {
    const { doing } = this;
    this.stop();
    // Else a click follows, which would take the selection away.
    if (doing === 'selecting') {
      event.preventDefault();
      this.onSelected();
    }
    if (doing === 'scrolling') this.roll();
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.doing = 'nothing';
  }

  /** The swipe goes on for a while by itself. */
  private roll(): void {
    this.speed *= FRICTION;
    if (Math.abs(this.speed) < SLOW) return;
    this.scroll(this.speed);
    this.timer = setTimeout(() => this.roll(), 16);
  }

  private scroll(pixels: number): void {
    const before = this.place.scrollTop;
    this.place.scrollTop += pixels;
    this.rest += pixels - (this.place.scrollTop - before);
    const rows = Math.trunc(this.rest / this.cell().height);
    if (rows === 0) return;
    this.rest -= rows * this.cell().height;
    const { term } = this;
    if (term.buffer.active.type === 'normal' && term.modes.mouseTrackingMode === 'none') {
      return term.scrollLines(rows);
    }
    // A program that draws the whole screen gets what a wheel would send it.
    const wheel = { deltaY: rows, deltaMode: WheelEvent.DOM_DELTA_LINE, bubbles: true, cancelable: true };
    const where = { clientX: this.at.x, clientY: this.at.y };
    term.element?.querySelector('.xterm-screen')?.dispatchEvent(new WheelEvent('wheel', { ...wheel, ...where }));
  }

  private select(): void {
    this.doing = 'selecting';
    const cell = this.under();
    this.anchor = this.word(cell);
    navigator.vibrate?.(10);
    this.extend();
  }

  /** Selects from the word of the long press to that under the finger. */
  private extend(): void {
    const { anchor, term } = this;
    if (!anchor) return;
    const here = this.word(this.under());
    const first = before(here.from, anchor.from) ? here.from : anchor.from;
    const last = before(here.to, anchor.to) ? anchor.to : here.to;
    const cells = (last.row - first.row) * term.cols + last.column - first.column + 1;
    term.select(first.column, first.row, cells);
  }

  private word({ row, column }: Cell): { from: Cell; to: Cell } {
    const text = this.term.buffer.active.getLine(row)?.translateToString() ?? '';
    const isWord = (at: number): boolean => WORD.test(text.charAt(at));
    let [from, to] = [column, column];
    if (isWord(column)) {
      while (from > 0 && isWord(from - 1)) from -= 1;
      while (to + 1 < text.length && isWord(to + 1)) to += 1;
    }
    return { from: { row, column: from }, to: { row, column: to } };
  }

  private under(): Cell {
    const { term, at } = this;
    const { left, top } = this.screen();
    const { width, height } = this.cell();
    const clamp = (cell: number, end: number): number => Math.max(0, Math.min(end - 1, cell));
    const row = clamp(Math.floor((at.y - top) / height), term.rows);
    const column = clamp(Math.floor((at.x - left) / width), term.cols);
    return { row: term.buffer.active.viewportY + row, column };
  }

  private cell(): { width: number; height: number } {
    const { width, height } = this.screen();
    return { width: width / this.term.cols || 1, height: height / this.term.rows || 1 };
  }

  private screen(): DOMRect {
    const screen = this.term.element?.querySelector('.xterm-screen') ?? this.place;
    return screen.getBoundingClientRect();
  }
}

function before(one: Cell, other: Cell): boolean {
  return one.row < other.row || (one.row === other.row && one.column < other.column);
}
