// Touch on the terminal, which xterm.js does not support (xtermjs/xterm.js#5489): a swipe scrolls and continues with
// momentum, two fingers change the font size, a long press selects a word, and moving on from there selects more. A tap
// stays a click.

import type { Terminal } from '@xterm/xterm';

import type { Screen } from './terminal';

/** Milliseconds that a finger rests before it selects. */
const LONG_PRESS = 500;

/** Pixels that a resting finger may move. */
const SLOP = 8;

/**
 * Milliseconds at the end of a swipe that determine its speed, and the time constant with which its momentum decays.
 */
const RECENT = 100;
const ROLL = 325;

/** Pixels per millisecond below which momentum ends. */
const SLOW = 0.03;

/** Pixels at the upper and lower edge where a selection scrolls, and milliseconds for each row. */
const EDGE = 24;
const EDGE_PACE = 60;

/** Milliseconds after a gesture in which the browser may still report it as a click. */
const LATE_CLICK = 400;

/** A character of a word, which may be a path or an address. */
const WORD = /[^\s()[\]{}'",;<>|]/;

const STILL = matchMedia('(prefers-reduced-motion: reduce)');

/** A place on the page, or in the terminal's buffer. */
interface Point {
  x: number;
  y: number;
}
interface Cell {
  row: number;
  column: number;
}

type Doing = 'nothing' | 'resting' | 'scrolling' | 'selecting' | 'pinching';

export class Touch {
  private doing: Doing = 'nothing';
  private readonly down = new Map<number, Point>();
  private at: Point = { x: 0, y: 0 };
  /** Whether the finger has not moved yet. */
  private rests = false;
  /** Pixels that were swiped and do not fill a whole row yet. */
  private rest = 0;
  private moves: { y: number; time: number }[] = [];
  private pinch = { apart: 1, font: 1 };
  private anchor: { from: Cell; to: Cell } | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private rolling: number | undefined;
  /** Until when clicks are suppressed, as `performance.now()` counts. */
  private noClickUntil = 0;

  private readonly term: Terminal;

  constructor(
    private readonly terminal: Screen,
    private readonly place: HTMLElement,
    private readonly onSelected: () => void,
  ) {
    this.term = terminal.term;
    const on = (type: 'down' | 'move' | 'up' | 'cancel', act: (event: PointerEvent) => void): void =>
      place.addEventListener(`pointer${type}`, (event) => event.pointerType === 'mouse' || act(event));
    on('down', (event) => this.start(event));
    on('move', (event) => this.move(event));
    on('up', (event) => this.end(event));
    on('cancel', (event) => this.end(event));
    // A click would clear the selection or show the keyboard, as would the browser's own menu of a long press.
    for (const type of ['mousedown', 'mouseup', 'click', 'contextmenu'] as const) {
      place.addEventListener(type, (event) => this.isNoClick(type) && swallow(event), { capture: true });
    }
  }

  private isNoClick(type: string): boolean {
    return performance.now() < this.noClickUntil || (type === 'contextmenu' && this.down.size > 0);
  }

  private start(event: PointerEvent): void {
    // The row under the finger may be drawn again, and its element would then get no more events.
    this.place.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, pointOf(event));
    const rolled = this.rolling !== undefined;
    this.stop();
    const [one, other, ...more] = [...this.down.values()];
    if (one && other && more.length === 0) return this.startPinch(one, other);
    if (!one || other) return;
    // A tap while the terminal still scrolls only stops it.
    if (rolled) this.noClickUntil = Infinity;
    this.doing = 'resting';
    this.rests = true;
    this.at = one;
    this.rest = 0;
    this.moves = [{ y: one.y, time: event.timeStamp }];
    this.timer = setTimeout(() => this.select(), LONG_PRESS);
  }

  private move(event: PointerEvent): void {
    if (!this.down.has(event.pointerId)) return;
    const now = pointOf(event);
    this.down.set(event.pointerId, now);
    const was = this.at;
    if (this.doing === 'pinching') return this.pinchTo();
    if (this.doing === 'nothing') return;
    if (this.rests && Math.hypot(now.x - was.x, now.y - was.y) < SLOP) return;
    this.rests = false;
    clearTimeout(this.timer);
    this.at = now;
    if (this.doing === 'selecting') return this.extend();
    this.doing = 'scrolling';
    // If another user's grid is larger than the window, the window moves over it first.
    this.place.scrollLeft += was.x - now.x;
    this.moves = this.moves.filter(({ time }) => event.timeStamp - time < RECENT);
    this.moves.push({ y: now.y, time: event.timeStamp });
    this.scroll(was.y - now.y);
  }

  private end(event: PointerEvent): void {
    const { doing } = this;
    this.down.delete(event.pointerId);
    this.stop();
    if (this.noClickUntil === Infinity) this.noClickUntil = performance.now() + LATE_CLICK;
    if (doing === 'selecting') this.onSelected();
    if (doing === 'scrolling' && event.type === 'pointerup' && !STILL.matches) this.roll(event.timeStamp);
  }

  private stop(): void {
    clearTimeout(this.timer);
    if (this.rolling !== undefined) cancelAnimationFrame(this.rolling);
    this.rolling = undefined;
    this.doing = 'nothing';
  }

  private startPinch(one: Point, other: Point): void {
    this.doing = 'pinching';
    this.pinch = { apart: apart(one, other), font: this.terminal.fontSize };
  }

  private pinchTo(): void {
    const [one, other] = [...this.down.values()];
    if (!one || !other) return;
    const { apart: before, font } = this.pinch;
    const wanted = Math.round((font * apart(one, other)) / before);
    if (wanted !== this.terminal.fontSize) this.terminal.fontSize = wanted;
  }

  /** Continues the swipe with momentum. */
  private roll(ended: number): void {
    const [first] = this.moves.filter(({ time }) => ended - time < RECENT);
    if (!first || first.time === ended) return;
    let speed = (first.y - this.at.y) / (ended - first.time);
    let last = performance.now();
    const step = (): void => {
      const now = performance.now();
      const passed = now - last;
      last = now;
      this.scroll(speed * passed);
      speed *= Math.exp(-passed / ROLL);
      this.rolling = Math.abs(speed) < SLOW ? undefined : requestAnimationFrame(step);
    };
    this.rolling = requestAnimationFrame(step);
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
    // A program that draws the whole screen or uses the mouse gets what a wheel would send it.
    const wheel = { deltaY: rows, deltaMode: WheelEvent.DOM_DELTA_LINE, bubbles: true, cancelable: true };
    const where = { clientX: this.at.x, clientY: this.at.y };
    term.element?.querySelector('.xterm-screen')?.dispatchEvent(new WheelEvent('wheel', { ...wheel, ...where }));
  }

  private select(): void {
    this.doing = 'selecting';
    this.noClickUntil = Infinity;
    this.anchor = this.word(this.under());
    navigator.vibrate?.(10);
    this.extend();
  }

  /** Selects from the word of the long press to the one under the finger. At an edge, scrolls and selects further. */
  private extend(): void {
    const { anchor, term } = this;
    if (!anchor) return;
    const here = this.word(this.under());
    const first = before(here.from, anchor.from) ? here.from : anchor.from;
    const last = before(here.to, anchor.to) ? anchor.to : here.to;
    const cells = (last.row - first.row) * term.cols + last.column - first.column + 1;
    term.select(first.column, first.row, cells);
    const { top, bottom } = this.place.getBoundingClientRect();
    const beyond = this.at.y < top + EDGE ? -1 : this.at.y > bottom - EDGE ? 1 : 0;
    if (this.rests || beyond === 0) return;
    this.timer = setTimeout(() => {
      term.scrollLines(beyond);
      this.extend();
    }, EDGE_PACE);
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

function pointOf({ clientX: x, clientY: y }: PointerEvent): Point {
  return { x, y };
}

function apart(one: Point, other: Point): number {
  return Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
}

function swallow(event: Event): void {
  event.preventDefault();
  event.stopPropagation();
}

function before(one: Cell, other: Cell): boolean {
  return one.row < other.row || (one.row === other.row && one.column < other.column);
}
