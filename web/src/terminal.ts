// The terminal itself: xterm.js with its add-ons, fitted to its place on the page. It shows output and passes on input,
// and does not know whether input may be sent.

import { FitAddon } from '@xterm/addon-fit';
import { Unicode11Addon } from '@xterm/addon-unicode11';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';

import { fontFamily } from './fonts';
import { Landmarks } from './landmarks';
import type { Landmark } from './landmarks';
import type { Size } from './messages';
import type { Origin, Sink } from './output';
import { keep, kept } from './preferences';
import { RESET, Resets, clear } from './reset';
import type { Settings } from './settings';
import type { Theme } from './theme';
import { isTile } from './tile';
import { isInput } from './unsent';

/**
 * Rows kept above the screen: usually, which takes about 10 MB at 80 columns, and once all output that the proxy keeps
 * is shown.
 */
const SCROLLBACK = 10_000;
const SCROLLBACK_ALL = 50_000;

/** On a phone, a smaller font leaves more columns. */
const NARROW = matchMedia('(max-width: 480px)');

const TOUCH = matchMedia('(pointer: coarse)');

/** Font sizes in pixels: the range for the user's choice, and the minimum to which another user's grid is fitted. */
const FONT_MIN = 8;
const FONT_MAX = 32;
const FONT_TINY = 6;

/** Width in pixels of the scroll bar, which lies over the right edge. */
const SCROLL_BAR = 14;

/** Milliseconds without a further resize after which the new grid is told. */
const RESIZE_REST = 100;

/** Receives what is found in the output. During each call, the cursor is in the row that it concerns. */
export interface Observer {
  onBoot(epoch: number): void;
  onFound(landmark: Landmark): void;
  /** The terminal parses these bytes, until `onParsed`. */
  onParse(origin: Origin): void;
  onParsed(): void;
  /** A painted screen is shown. */
  onPainted(): void;
  /** The terminal was emptied. The window was `below` rows above the end. */
  onEmpty(below: number): void;
}

/** Receives the user's input, and the terminal's answers to the guest. */
export interface Typist {
  /** `typed`: whether a key or the mouse caused it. Otherwise, it is an answer of the terminal. */
  onText(text: string, typed: boolean): void;
  /** Input as bytes: each character stands for one. */
  onBinary(text: string): void;
  /** Whether a key belongs to the page instead of the guest. */
  isShortcut(event: KeyboardEvent): boolean;
  /** An input key was pressed while no input is taken. */
  onUnsent(): void;
  /** Live output, or a bell. */
  onNews(): void;
  /** Live output. */
  onPrinted(text: string): void;
  /** The grid that fits the window, whenever it may have changed. */
  onGrid(rows: number, cols: number): void;
}

export class Screen implements Sink {
  readonly term: Terminal;
  private readonly fit = new FitAddon();
  private readonly resets = new Resets();
  private readonly landmarks = new Landmarks();
  observer: Observer | undefined;
  /** Whether the terminal parses replay. */
  private muted = false;
  private watches = false;
  /** Number of announced boots whose output has not come yet. */
  private boots = 0;
  /** The grid of a painted screen that is not shown yet. */
  private held: { rows: number; cols: number } | undefined;
  /** Whether what the terminal says next comes from a key or the mouse. */
  private typed = false;
  /** The grid of another user who types. */
  private followed: Size | undefined;
  /** The font size for another user's grid, if the user made it larger than what fits. */
  private enlarged: number | undefined;
  private chosenFont = Number(kept('font-size')) || undefined;
  private resting: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly place: HTMLElement,
    colors: Theme['terminal'],
    private readonly typist: Typist,
    private readonly settings: Settings,
  ) {
    this.term = new Terminal({
      convertEol: settings.beginsLine,
      allowProposedApi: true, // For the marks of the search, and for Unicode 11.
      disableStdin: true,
      fontFamily: fontFamily(settings.font),
      fontSize: this.font,
      lineHeight: Number(settings.lineHeight.value),
      linkHandler: {
        activate: (_, link) => openLink(link),
        hover: this.showLink,
        leave: this.hideLink,
      },
      macOptionIsMeta: true,
      overviewRuler: { width: SCROLL_BAR },
      screenReaderMode: kept('screen-reader') === 'on',
      scrollback: SCROLLBACK,
      ...colors,
    });
    this.term.loadAddon(this.fit);
    // The columns of a character as glibc and musl count them: an emoji has two.
    this.term.loadAddon(new Unicode11Addon());
    this.term.unicode.activeVersion = '11';
    this.term.loadAddon(
      new WebLinksAddon((_, link) => openLink(link), {
        hover: this.showLink,
        leave: this.hideLink,
      }),
    );
    this.term.attachCustomKeyEventHandler((event) => this.belongsToGuest(event));
    onUserInput(this.term, () => (this.typed = true));
    this.term.onData((text) => this.hear(text));
    this.term.onBinary((text) => this.muted || this.boots > 0 || typist.onBinary(text));
    this.term.onBell(() => typist.onNews());
    this.open();
  }

  write(text: string, shown: () => void, origin: Origin): void {
    this.typist.onNews();
    this.typist.onPrinted(text);
    this.parse(text, shown, origin);
  }

  /** Mutes the terminal while it parses the text, since that is when it answers queries. */
  replay(text: string, shown: () => void, origin?: Origin): void {
    this.term.write('', () => (this.muted = true));
    const heard = (): void => {
      this.muted = false;
      shown();
    };
    this.parse(text, heard, origin);
  }

  empty(): void {
    this.cut();
    this.term.options.scrollback = SCROLLBACK_ALL;
    const { term } = this;
    let below = 0;
    term.write('', () => (below = term.buffer.active.baseY - term.buffer.active.viewportY));
    term.write('\x18\x1bc', () => {
      this.applySettings();
      this.observer?.onEmpty(below);
    });
  }

  /** Whether the terminal dropped rows that it could hold with more scrollback. */
  get isFull(): boolean {
    const { length } = this.term.buffer.normal;
    return this.term.options.scrollback === SCROLLBACK && length >= SCROLLBACK + this.term.rows;
  }

  /** CAN ends an unfinished escape sequence, and SGR 0 keeps the guest's colors out of the note. */
  note(text: string, shown?: () => void): void {
    this.cut();
    this.term.write(`\x18\x1b[0m\r\n${rule(text)}`, shown);
  }

  holdGrid(grid: { rows: number; cols: number }): void {
    this.held = grid;
    this.lay();
  }

  painted(): void {
    this.freeGrid();
    this.observer?.onPainted();
  }

  freeGrid(): void {
    if (!this.held) return;
    this.held = undefined;
    this.lay();
  }

  expectBoot(): void {
    this.boots += 1;
  }

  boot(text: string, epoch?: number): void {
    this.cut();
    this.reset();
    if (epoch !== undefined) this.term.write('', () => this.observer?.onBoot(epoch));
    this.term.write(rule(text), () => void (this.boots -= 1));
  }

  /** Whether the program in the guest enabled bracketed paste. */
  get bracketedPaste(): boolean {
    return this.boots === 0 && this.term.modes.bracketedPasteMode;
  }

  /** Sets whether keys are input. If not, Tab moves the focus, and other keys have no effect. */
  allowTyping(allowed: boolean): void {
    this.term.options.disableStdin = !allowed;
  }

  /** Sets whether the user watches: then the cursor is hollow, even if the terminal has the focus. */
  watch(watches: boolean): void {
    if (watches === this.watches) return;
    this.watches = watches;
    this.place.parentElement?.toggleAttribute('data-watching', watches);
    const { cursorY } = this.term.buffer.active;
    this.term.refresh(cursorY, cursorY);
  }

  get grid(): { rows: number; cols: number } | undefined {
    const grid = this.fit.proposeDimensions();
    return grid && grid.rows > 0 && grid.cols > 0 ? grid : undefined;
  }

  /** Shows the grid of the session that types, in a font that fits; without `size`, the grid that fits the window. */
  follow(size: Size | undefined): void {
    if (size?.rows === this.followed?.rows && size?.cols === this.followed?.cols) return;
    this.followed = size;
    if (!size) this.enlarged = undefined;
    this.lay();
  }

  /** The font size in pixels. A new size is kept; while another user's grid is shown, it only applies to that. */
  get fontSize(): number {
    return this.term.options.fontSize ?? this.font;
  }

  set fontSize(pixels: number) {
    const size = (least: number): number => Math.min(FONT_MAX, Math.max(least, Math.round(pixels)));
    if (this.followed) this.enlarged = size(FONT_TINY);
    else {
      this.chosenFont = size(FONT_MIN);
      keep('font-size', String(this.chosenFont));
    }
    this.lay();
  }

  /** Returns whether the mode for screen readers is on. `toggle` switches it first, and keeps the choice. */
  readOut(toggle = false): boolean {
    const { options } = this.term;
    if (toggle) {
      options.screenReaderMode = options.screenReaderMode !== true;
      keep('screen-reader', options.screenReaderMode ? 'on' : 'off');
    }
    return options.screenReaderMode === true;
  }

  /** The text of the rows from `from` to before `to`, by default of all rows. Wrapped lines are joined. */
  text(from = 0, to = Infinity): string {
    const buffer = this.term.buffer.active;
    let text = '';
    for (let at = from; at < Math.min(to, buffer.length); at += 1) {
      const line = buffer.getLine(at);
      text += (at > from && !line?.isWrapped ? '\n' : '') + (line?.translateToString(true) ?? '');
    }
    return text.trimEnd();
  }

  /** The rows that are shown: from `from` to before `to`. */
  get shown(): { from: number; to: number } {
    const from = this.term.buffer.active.viewportY;
    return { from, to: from + this.term.rows };
  }

  /** The element that has the focus while the user types. Throws an `Error` before the terminal is open. */
  get field(): HTMLTextAreaElement {
    const { textarea } = this.term;
    if (!textarea) throw new Error('the terminal is not open');
    return textarea;
  }

  /**
   * Focuses the terminal, unless that would show an on-screen keyboard for which nobody asked, or take the focus from
   * another tile.
   */
  focus(): void {
    if (!TOUCH.matches && (!isTile || document.hasFocus())) this.term.focus();
  }

  /** Shows text. Replaces each RIS of the guest by `reset`, which keeps the scrollback. */
  private parse(text: string, shown: () => void, origin?: Origin): void {
    if (origin) this.term.write('', () => this.observer?.onParse(origin));
    this.resets.split(text).forEach((part, index) => {
      if (index > 0) this.reset();
      for (const { text: piece, found } of this.landmarks.split(part)) {
        this.term.write(piece, found && (() => this.observer?.onFound(found)));
      }
    });
    this.term.write('', () => {
      this.observer?.onParsed();
      shown();
    });
  }

  /** The stream of text is interrupted here: forgets unfinished lines and sequences. */
  private cut(): void {
    this.resets.cut();
    this.landmarks.begin();
  }

  /** Resets the terminal, except for the output, which moves into the scrollback. */
  private reset(): void {
    const { term } = this;
    const scroll = (on: boolean) => () => void (term.options.scrollOnEraseInDisplay = on);
    term.write(RESET, scroll(true));
    term.write(clear(term.cols), scroll(false));
    // The guest can change this (LNM).
    term.write('', () => this.applySettings());
  }

  /** Applies font, line height and colors. */
  applyLook(colors: Theme['terminal']): void {
    const { font, lineHeight } = this.settings;
    Object.assign(this.term.options, { ...colors, fontFamily: fontFamily(font), lineHeight: Number(lineHeight.value) });
    this.lay();
  }

  /** Applies what line feeds do. */
  applySettings(): void {
    this.term.options.convertEol = this.settings.beginsLine;
  }

  /**
   * Passes on input. During replay, and until an announced boot has begun, only keys pass: answers and mouse reports
   * belong to earlier output.
   */
  private hear(text: string): void {
    const { typed } = this;
    this.typed = false;
    if ((this.muted || this.boots > 0) && (!typed || text.startsWith('\x1b[<'))) return;
    this.typist.onText(text, typed);
  }

  private open(): void {
    this.term.open(this.place);
    looksUnfocused(this.term, () => this.watches);
    this.term.textarea?.setAttribute('aria-describedby', 'hint');
    new ResizeObserver(() => this.lay()).observe(this.place);
    NARROW.addEventListener('change', () => this.lay());
    this.lay();
  }

  /** The font size in pixels while no other user's grid is shown. */
  private get font(): number {
    return this.chosenFont ?? (NARROW.matches ? 12 : 14);
  }

  private lay(): void {
    this.term.options.fontSize = this.enlarged ?? this.font;
    this.place.dataset['grid'] = this.followed ? 'theirs' : 'own';
    if (this.followed) return this.shrink(this.followed);
    if (this.held) return this.term.resize(this.held.cols, this.held.rows);
    this.fit.fit();
    clearTimeout(this.resting);
    const { rows, cols } = this.term;
    this.resting = setTimeout(() => this.typist.onGrid(rows, cols), RESIZE_REST);
  }

  private shrink({ rows, cols }: Size): void {
    this.term.resize(cols, rows);
    const screen = this.term.element?.querySelector<HTMLElement>('.xterm-screen');
    const { clientWidth, clientHeight } = this.place;
    if (!screen || clientWidth === 0 || this.enlarged !== undefined) return;
    const ratio = (): number =>
      Math.min(
        (clientWidth - SCROLL_BAR) / screen.offsetWidth,
        clientHeight / screen.offsetHeight,
      );
    let font = this.font;
    // The size of a cell is rounded, so the first guess may be too large.
    for (let fits = ratio(); fits < 1 && font > FONT_TINY; fits = ratio()) {
      font = Math.max(FONT_TINY, Math.min(font - 0.5, Math.floor(font * fits * 2) / 2));
      this.term.options.fontSize = font;
    }
  }

  private belongsToGuest(event: KeyboardEvent): boolean {
    const deaf = this.term.options.disableStdin === true;
    const belongs = !this.typist.isShortcut(event) && !(deaf && event.key === 'Tab');
    if (deaf && belongs && isInput(event)) this.typist.onUnsent();
    return belongs;
  }

  /** Shows where a link leads, since its text may say something else. */
  private readonly showLink = (_: MouseEvent, link: string): void => {
    this.place.title = link;
  };

  private readonly hideLink = (): void => {
    this.place.removeAttribute('title');
  };
}

/** A line of this page, without control characters. */
function rule(text: string): string {
  return `\x1b[90m${text.replace(/\p{Cc}/gu, '')}\x1b[0m\r\n`;
}

/** Calls `listener` right before the terminal emits input of the user. xterm.js has no public API for this. */
function onUserInput(term: Terminal, listener: () => void): void {
  const { _core: core } = term as unknown as {
    _core: { coreService: { onUserInput(listener: () => void): void } };
  };
  core.coreService.onUserInput(listener);
}

/** Draws the cursor and the selection as without the focus while `isSo`. xterm.js has no public API for this. */
function looksUnfocused(term: Terminal, isSo: () => boolean): void {
  const { _core: core } = term as unknown as { _core: { _coreBrowserService: object } };
  const service = core._coreBrowserService;
  const focused = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(service), 'isFocused');
  Object.defineProperty(service, 'isFocused', {
    get: () => !isSo() && focused?.get?.call(service) === true,
  });
}

function openLink(link: string): void {
  if (/^https?:/i.test(link)) window.open(link, '_blank', 'noopener,noreferrer');
}
