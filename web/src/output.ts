// Passes the bytes of the line to the terminal, over any number of connections: tracks the line's offset, tells the
// proxy how much has been shown, separates replay from live output, and skips old output while the user types.

import type { Piece } from './archive';
import type { Gap, Hello, Replay } from './messages';

const NOT_KEPT = 'it is no longer kept';

const ANOTHER_LINE = '── reconnected: some output may be missing ──';

/**
 * Bytes shown between two acks. The proxy pauses when 512 KiB are not acknowledged, so this leaves room for several.
 */
const ACK_EVERY = 100_000;

/**
 * Maximum bytes that wait in the terminal to be parsed, which takes some hundredths of a second. They cannot be taken
 * back, so further output waits here, where it can be skipped.
 */
const AHEAD = 64 * 1024;

/** Milliseconds after input in which old output is skipped, so that the user sees the answer soon. */
const HURRY = 1000;

/** Bytes of the newest output that are kept when older output is skipped: about one screen. */
const NEWEST = 32 * 1024;

/**
 * Milliseconds without output after which the newest is shown, and the longest that it waits for that. Chromium
 * delivers at most two frames between two turns of the terminal, so the terminal gets nothing to do while much is to be
 * skipped.
 */
const PAUSE = 16;
const HELD = 100;

const NEWLINE = 0x0a;

/** The bytes of a text, and their offset in the line. */
export interface Origin {
  offset: number;
  bytes: Uint8Array;
}

/** A boot, and the words that are shown for it. */
export interface BootNote {
  epoch: number;
  words: string;
}

/** The terminal, which shows the output. */
export interface Sink {
  /** The rows and columns that fit the window; undefined before it is laid out. */
  readonly grid: { rows: number; cols: number } | undefined;
  /** Shows live output, and calls `shown` when the terminal has parsed it. */
  write(text: string, shown: () => void, origin: Origin): void;
  /** Shows old output, whose queries must stay unanswered. That of a painted screen has no origin. */
  replay(text: string, shown: () => void, origin?: Origin): void;
  /** Shows a line of this page, set apart from the guest's output. */
  note(text: string, shown?: () => void): void;
  /** Keeps this grid, for which the screen that follows was painted, until that is shown or `freeGrid` is called. */
  holdGrid(grid: { rows: number; cols: number }): void;
  freeGrid(): void;
  /** A painted screen is shown. */
  painted(): void;
  /**
   * A boot's output follows soon. Until then, answers of the terminal are dropped, since they are not for this boot.
   */
  expectBoot(): void;
  /** Resets the terminal below a line of this page. `epoch` is the boot whose output follows, if it is known. */
  boot(text: string, epoch?: number): void;
  /** Empties the terminal, and lets it hold more rows than before. */
  empty(): void;
}

/** A place in the output: a line's id, and an offset. */
export interface Place {
  line: string;
  offset: number;
}

/** Live output that waits to be shown: bytes, or a boot; without either, a gap. */
interface Stretch {
  from: number;
  to: number;
  bytes?: Uint8Array;
  boot?: BootNote;
}

/** A boot whose offset has not been reached yet. */
interface Boot extends BootNote {
  offset: number;
}

export class Output {
  /** Bytes of live output that were shown, and bytes that the terminal reports as skipped. */
  readonly count = { shown: 0, skipped: 0 };
  // Streaming, so a character may be split over any number of frames. xterm.js 6.0.0 takes bytes
  // too, but loses a character that is split after a byte 0x80, as in most typographic signs.
  private decoder = newDecoder();
  private replaying: Replay | undefined;
  private live = false;
  private line: string | undefined;
  /** Offset of the next byte. */
  private position = 0;
  /** Offset at which the live bytes begin, according to the last hello or replay. */
  private goesOn = 0;
  private acked = 0;
  private waiting: Stretch[] = [];
  private boots: Boot[] = [];
  /** The boots in a painted screen that are not shown yet, and how many of its bytes follow each. */
  private painted: { left: number; epoch: number }[] = [];
  /** Offset of the oldest byte that the terminal was given, if that is known. */
  private oldest: number | undefined;
  /** Whether the terminal is being filled again. New output waits meanwhile. */
  private rebuilding = false;
  /** Counts the connections, so that pieces of an earlier one are dropped. */
  private connections = 0;
  /** Bytes that the terminal has not parsed yet. */
  private ahead = 0;
  /** Until when old output is skipped, as `performance.now()` counts. */
  private hurriesUntil = 0;
  /** Set while the terminal gets no output. */
  private holding: ReturnType<typeof setTimeout> | undefined;
  private heldSince = 0;

  constructor(
    private readonly sink: Sink,
    private readonly ack: (offset: number) => void,
    private readonly bootWords: (epoch: number) => string,
  ) {}

  /** Whether `offset` is before the oldest byte that the terminal was given. */
  isOlder(offset: number): boolean {
    return this.oldest !== undefined && offset < this.oldest;
  }

  /**
   * Fills the terminal again with these pieces, up to what was shown, and then continues: older output cannot be added
   * above. Returns whether it did; it does not if the connection ends meanwhile, or before a replay is complete.
   */
  async rebuild(pieces: AsyncGenerator<Piece>, boots: { epoch: number; offset: number }[]): Promise<boolean> {
    if (!this.live && (this.replaying?.bytes ?? 0) > 0) return false;
    const { connections } = this;
    this.rebuilding = true;
    try {
      const upTo = this.waiting[0]?.from ?? this.position;
      const all: Piece[] = [];
      for await (const piece of pieces) {
        if (connections !== this.connections) return false;
        if (piece.offset < upTo) all.push(piece);
      }
      if (connections !== this.connections) return false;
      this.refill(all, upTo, boots);
      return true;
    } finally {
      this.rebuilding = false;
      this.feed();
    }
  }

  private refill(pieces: Piece[], upTo: number, boots: { epoch: number; offset: number }[]): void {
    this.sink.empty();
    this.decoder = newDecoder();
    const later = new Set([...this.boots, ...this.waiting.flatMap(({ boot }) => boot ?? [])].map(({ epoch }) => epoch));
    const left = boots.filter(({ offset, epoch }) => offset <= upTo && !later.has(epoch));
    let at = 0;
    this.oldest = pieces[0]?.offset ?? upTo;
    for (const { bytes, offset } of pieces) {
      if (offset > at) this.tell({ from: at, to: offset }, NOT_KEPT);
      for (at = offset; at < offset + bytes.byteLength && at < upTo; ) {
        const next = left.find((boot) => boot.offset > at)?.offset ?? upTo;
        this.passed(left, at);
        const end = Math.min(next, offset + bytes.byteLength, upTo);
        const part = new Uint8Array(bytes, at - offset, end - at);
        this.sink.replay(this.decode(part), () => undefined, { offset: at, bytes: part });
        at = end;
      }
    }
    this.passed(left, upTo);
  }

  private passed(boots: { epoch: number; offset: number }[], at: number): void {
    while (boots[0] && boots[0].offset <= at) this.expect(boots.shift()?.epoch);
  }

  /** Where to continue after a lost connection; undefined if the screen has to be painted first. */
  get place(): Place | undefined {
    const half = this.replaying?.kind === 'screen' && this.replaying.bytes > 0;
    return this.line === undefined || half ? undefined : { line: this.line, offset: this.position };
  }

  /** A connection begins. `asked` is the place at which it was to continue. */
  begin({ line, offset }: Hello, asked: Place | undefined): void {
    const goesOn = asked !== undefined && asked.line === line;
    this.connections += 1;
    this.painted = [];
    for (const stretch of this.waiting.splice(0)) this.show(stretch);
    if (this.line !== undefined && !goesOn) this.startAnew(ANOTHER_LINE);
    if (!goesOn) {
      this.decoder = newDecoder();
      this.position = offset;
      this.oldest = undefined;
    }
    this.live = false;
    this.line = line;
    this.sink.freeGrid();
    this.goesOn = offset;
    this.replaying = undefined;
    this.acked = offset;
    // The first ack tells the proxy that this page uses flow control.
    this.ack(offset);
  }

  /** The next bytes are replay. `grid` is the grid for which a screen was painted. */
  expectReplay(replay: Replay, grid: { rows: number; cols: number } | undefined): void {
    this.replaying = { ...replay };
    this.goesOn = replay.offset;
    if (replay.kind !== 'screen') return this.reach(replay.offset - replay.bytes);
    this.position = replay.offset;
    this.oldest = replay.from;
    this.painted = (replay.boots ?? []).map(({ epoch, at }) => ({ epoch, left: replay.bytes - at }));
    if (grid && replay.bytes > 0) this.sink.holdGrid(grid);
  }

  /** Bytes are missing: says so in their place. */
  skip({ from, to }: Gap): void {
    this.position = to;
    this.goesOn = to;
    if (this.live) this.enqueue({ from, to });
    else this.tell({ from, to }, NOT_KEPT);
    this.passBoots();
  }

  /** The guest booted, and prints from this offset on. */
  boot(offset: number, epoch: number): void {
    this.sink.expectBoot();
    this.boots.push({ offset, epoch, words: this.bootWords(epoch) });
    this.passBoots();
  }

  /** A frame of the line's bytes. */
  push(bytes: Uint8Array): void {
    const upTo = this.beforeBoot(bytes.length);
    const replayed = Math.min(this.replaying?.bytes ?? 0, upTo);
    if (replayed > 0) this.pushReplay(bytes.subarray(0, replayed));
    if (upTo > replayed) this.pushLive(bytes.subarray(replayed, upTo));
    this.passBoots();
    if (upTo < bytes.length) this.push(bytes.subarray(upTo));
  }

  /** The user typed: skips old output, so that the answer is shown soon. */
  hurry(): void {
    this.hurriesUntil = performance.now() + HURRY;
    this.skipOld();
  }

  /** The next byte has this offset: bytes that are missing before it were not announced. */
  private reach(offset: number): void {
    if (offset > this.position) this.skip({ type: 'gap', from: this.position, to: offset });
    this.position = offset;
  }

  /** How many of the next bytes come before the next boot. The bytes of a screen have no offsets. */
  private beforeBoot(bytes: number): number {
    const [boot] = this.boots;
    const screen = this.replaying?.kind === 'screen' ? this.replaying.bytes : 0;
    if (screen > 0) return Math.min(bytes, screen - (this.painted[0]?.left ?? 0));
    if (!boot) return bytes;
    return Math.min(bytes, Math.max(0, boot.offset - this.position));
  }

  private passBoots(): void {
    while (this.painted[0] && this.painted[0].left >= (this.replaying?.bytes ?? 0)) {
      this.expect(this.painted.shift()?.epoch);
    }
    for (let next = this.boots[0]; next && next.offset <= this.position; next = this.boots[0]) {
      this.boots.shift();
      const boot = { from: next.offset, to: next.offset, boot: next };
      if (this.live) this.enqueue(boot);
      else this.show(boot);
    }
  }

  /** Shows a boot whose offset is reached. */
  private expect(epoch: number | undefined): void {
    if (epoch === undefined) return;
    this.sink.expectBoot();
    this.showBoot({ epoch, words: this.bootWords(epoch) });
  }

  private startAnew(words: string): void {
    for (const { words: lost, epoch } of this.boots.splice(0)) this.sink.boot(lost, epoch);
    this.sink.expectBoot();
    this.sink.boot(words);
  }

  private pushLive(bytes: Uint8Array): void {
    if (!this.live) this.reach(this.goesOn);
    this.live = true;
    const from = this.position;
    this.position += bytes.length;
    this.enqueue({ from, to: this.position, bytes });
  }

  private enqueue(stretch: Stretch): void {
    this.waiting.push(stretch);
    if (performance.now() < this.hurriesUntil) this.skipOld();
    this.feed();
  }

  private feed(): void {
    while (this.ahead < AHEAD && !this.holding && !this.rebuilding) {
      const stretch = this.waiting.shift();
      if (!stretch) return;
      this.show(stretch);
    }
  }

  private show({ from, to, bytes, boot }: Stretch): void {
    if (boot !== undefined) return this.showBoot(boot);
    if (!bytes) return this.tell({ from, to }, 'this browser was too slow');
    this.ahead += bytes.length;
    const shown = (): void => {
      this.ahead -= bytes.length;
      this.count.shown += bytes.length;
      this.shown(to, ACK_EVERY);
      this.feed();
    };
    this.sink.write(this.decode(bytes), shown, { offset: from, bytes });
  }

  private showBoot({ words, epoch }: BootNote): void {
    this.decoder = newDecoder();
    this.sink.boot(words, epoch);
  }

  private tell({ from, to }: Stretch, why: string): void {
    this.decoder = newDecoder();
    this.sink.note(`[… ${size(to - from)} of output skipped: ${why} …]`, () => {
      this.count.skipped += to - from;
      this.shown(to, 0);
    });
  }

  /** Skips the waiting output, except for the newest. */
  private skipOld(): void {
    const [oldest] = this.waiting;
    if (!oldest || this.position - oldest.from <= NEWEST) return;
    const from = this.rowAt(this.position - NEWEST);
    const newest = this.waiting.flatMap((stretch) => after(from, stretch));
    const boots = this.waiting.filter(({ boot, to }) => boot !== undefined && to <= from);
    this.waiting = [{ from: oldest.from, to: from }, ...boots, ...newest];
    this.shown(from, 0);
    this.hold();
  }

  private hold(): void {
    const now = performance.now();
    if (this.holding) clearTimeout(this.holding);
    else this.heldSince = now;
    const wait = Math.min(PAUSE, this.heldSince + HELD - now);
    this.holding = setTimeout(() => {
      this.holding = undefined;
      this.feed();
    }, wait);
  }

  /** The offset behind the first line feed at or after `offset`, so that no character or escape sequence is cut. */
  private rowAt(offset: number): number {
    for (const stretch of this.waiting.flatMap((waiting) => after(offset, waiting))) {
      const newline = stretch.bytes?.indexOf(NEWLINE) ?? -1;
      if (newline >= 0) return stretch.from + newline + 1;
    }
    return offset;
  }

  /**
   * Shows replay. The bytes of the history have offsets that end at the replay's; a screen counts as the replay's
   * offset at once.
   */
  private pushReplay(bytes: Uint8Array): void {
    if (!this.replaying) return;
    this.replaying.bytes -= bytes.length;
    const { kind, bytes: left, offset } = this.replaying;
    const upTo = kind === 'history' ? offset - left : offset;
    this.position = upTo;
    const shown = (): void => {
      if (kind === 'screen' && left === 0) this.sink.painted();
      this.shown(upTo, ACK_EVERY);
    };
    const origin = kind === 'history' ? { offset: upTo - bytes.length, bytes } : undefined;
    this.sink.replay(this.decode(bytes), shown, origin);
  }

  private shown(offset: number, step: number): void {
    if (offset - this.acked < step) return;
    this.acked = offset;
    this.ack(offset);
  }

  private decode(bytes: Uint8Array): string {
    return this.decoder.decode(bytes, { stream: true });
  }
}

/** The part of a stretch from `offset` on. */
function after(offset: number, stretch: Stretch): Stretch[] {
  const { from, to, bytes } = stretch;
  if (to <= offset) return [];
  const start = Math.max(from, offset);
  return [{ ...stretch, from: start, ...(bytes && { bytes: bytes.subarray(start - from) }) }];
}

function newDecoder(): TextDecoder {
  return new TextDecoder('utf-8', { ignoreBOM: true });
}

/** `1.2 MB` and the like, in decimal units. */
function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1_000_000
    ? `${(bytes / 1000).toFixed(1)} kB`
    : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
