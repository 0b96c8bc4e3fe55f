// The bytes of the line on their way into the terminal, over any number of connections: keeps count
// of the line's offset, tells the proxy how much has been shown, keeps replay apart from what is live,
// and skips what is old while somebody types.

import type { Gap, Hello, Replay } from './messages';

const ANOTHER_LINE = '── reconnected: some output may be missing ──';

/** Bytes shown between two acks. The proxy pauses at 512 KiB, so a few are always under way. */
const ACK_EVERY = 100_000;

/**
 * Bytes that the terminal has to parse at most: some hundredths of a second. What it was given can't be
 * taken back, so the rest waits here.
 */
const AHEAD = 64 * 1024;

/** Milliseconds for which who typed waits for the answer, and old output may not stand before it. */
const HURRY = 1000;

/** Bytes that may wait meanwhile: about what is on a screen. All older ones are skipped. */
const NEWEST = 32 * 1024;

/**
 * Milliseconds without output after which the newest is shown, and how long it may wait for that:
 * Chromium hands over two frames at most between two of the terminal's turns, so while much is to be
 * skipped the terminal gets nothing to do.
 */
const PAUSE = 16;
const HELD = 100;

const NEWLINE = 0x0a;

/** What shows text. */
export interface Sink {
  /** The rows and columns that fit the window; none before it is laid out. */
  readonly grid: { rows: number; cols: number } | undefined;
  write(text: string, shown: () => void): void;
  /** Shows text whose queries must stay unanswered. */
  replay(text: string, shown: () => void): void;
  /** Shows a line of ours, set apart from the guest's. */
  note(text: string, shown?: () => void): void;
  /** A screen follows that was painted for this grid, which stays until it is shown, whatever fits the window. */
  holdGrid(grid: { rows: number; cols: number }): void;
  freeGrid(): void;
  /** A boot's output follows soon: what the terminal says of itself until then is meant for nobody. */
  expectBoot(): void;
  /** A boot's output follows: the terminal begins anew below this line of ours. */
  boot(text: string, shown?: () => void): void;
}

/** A place in the output of a line. */
export interface Place {
  line: string;
  offset: number;
}

/** Live output that waits to be shown: bytes, or the words of a boot; without either, a gap in it. */
interface Stretch {
  from: number;
  to: number;
  bytes?: Uint8Array;
  boot?: string;
}

/** A boot whose place has not been reached yet. */
interface Boot {
  offset: number;
  words: string;
}

export class Output {
  /** Bytes of live output that are on the screen, and those of which it says that they are skipped. */
  readonly count = { shown: 0, skipped: 0 };
  // Streaming, so a character may be split over any number of frames. xterm.js 6.0.0 takes bytes
  // too, but loses a character that is split after a byte 0x80, as in most typographic signs.
  private decoder = newDecoder();
  private replaying: Replay | undefined;
  private live = false;
  private line: string | undefined;
  /** Where the next byte belongs. */
  private position = 0;
  /** Where the live bytes begin, as the last hello or replay said. */
  private goesOn = 0;
  private acked = 0;
  private waiting: Stretch[] = [];
  private boots: Boot[] = [];
  /** Bytes that the terminal has not parsed yet. */
  private ahead = 0;
  /** Until when the newest output comes first, as `performance.now()` counts. */
  private hurriesUntil = 0;
  /** While the terminal is given nothing. */
  private holding: ReturnType<typeof setTimeout> | undefined;
  private heldSince = 0;

  constructor(
    private readonly sink: Sink,
    private readonly ack: (offset: number) => void,
  ) {}

  /** Where to go on after a lost connection; nothing where the screen has to be painted first. */
  get place(): Place | undefined {
    const half = this.replaying?.kind === 'screen' && this.replaying.bytes > 0;
    return this.line === undefined || half ? undefined : { line: this.line, offset: this.position };
  }

  /** A connection begins; says whether it goes on in the same count of bytes. */
  begin({ line, offset }: Hello, asked: Place | undefined): void {
    const goesOn = asked !== undefined && asked.line === line;
    for (const stretch of this.waiting.splice(0)) this.show(stretch);
    if (this.line !== undefined && !goesOn) this.startAnew(ANOTHER_LINE);
    if (!goesOn) {
      this.decoder = newDecoder();
      this.position = offset;
    }
    this.live = false;
    this.line = line;
    this.sink.freeGrid();
    this.goesOn = offset;
    this.replaying = undefined;
    this.acked = offset;
    // The first ack tells the proxy that this page will say what it has shown.
    this.ack(offset);
  }

  /** The next bytes are replay; a screen was painted for the grid that was asked for. */
  expectReplay(replay: Replay, grid: { rows: number; cols: number } | undefined): void {
    this.replaying = { ...replay };
    this.goesOn = replay.offset;
    if (replay.kind !== 'screen') return this.reach(replay.offset - replay.bytes);
    this.position = replay.offset;
    if (grid && replay.bytes > 0) this.sink.holdGrid(grid);
  }

  /** Bytes are missing here: says so where they would have been. */
  skip({ from, to }: Gap): void {
    this.position = to;
    this.goesOn = to;
    if (this.live) this.enqueue({ from, to });
    else this.state({ from, to }, 'it is no longer kept');
    this.passBoots();
  }

  /** The guest booted, and prints from this offset on. */
  boot(offset: number, words: string): void {
    this.sink.expectBoot();
    this.boots.push({ offset, words });
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

  /** Somebody typed: what answers them comes before what is old by now. */
  hurry(): void {
    this.hurriesUntil = performance.now() + HURRY;
    this.skipOld();
  }

  /** The next byte belongs at `offset`: what is missing before it was not announced. */
  private reach(offset: number): void {
    if (offset > this.position) this.skip({ type: 'gap', from: this.position, to: offset });
    this.position = offset;
  }

  /** How many of the next bytes come before the next boot. Those of a screen have no offset. */
  private beforeBoot(bytes: number): number {
    const [boot] = this.boots;
    if (!boot || (this.replaying?.kind === 'screen' && this.replaying.bytes > 0)) return bytes;
    return Math.min(bytes, Math.max(0, boot.offset - this.position));
  }

  private passBoots(): void {
    for (let next = this.boots[0]; next && next.offset <= this.position; next = this.boots[0]) {
      this.boots.shift();
      const boot = { from: next.offset, to: next.offset, boot: next.words };
      if (this.live) this.enqueue(boot);
      else this.show(boot);
    }
  }

  private startAnew(words: string): void {
    for (const { words: lost } of this.boots.splice(0)) this.sink.boot(lost);
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
    while (this.ahead < AHEAD && !this.holding) {
      const stretch = this.waiting.shift();
      if (!stretch) return;
      this.show(stretch);
    }
  }

  private show({ from, to, bytes, boot }: Stretch): void {
    if (boot !== undefined) return this.showBoot(boot);
    if (!bytes) return this.state({ from, to }, 'this browser was too slow');
    this.ahead += bytes.length;
    this.sink.write(this.decode(bytes), () => {
      this.ahead -= bytes.length;
      this.count.shown += bytes.length;
      this.shown(to, ACK_EVERY);
      this.feed();
    });
  }

  private showBoot(words: string): void {
    this.decoder = newDecoder();
    this.sink.boot(words);
  }

  private state({ from, to }: Stretch, why: string): void {
    this.decoder = newDecoder();
    this.sink.note(`[… ${size(to - from)} of output skipped: ${why} …]`, () => {
      this.count.skipped += to - from;
      this.shown(to, 0);
    });
  }

  /** Skips what waits but for the newest. */
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

  /** Where a row begins from `offset` on, so that no character or escape sequence is cut. */
  private rowAt(offset: number): number {
    for (const stretch of this.waiting.flatMap((waiting) => after(offset, waiting))) {
      const newline = stretch.bytes?.indexOf(NEWLINE) ?? -1;
      if (newline >= 0) return stretch.from + newline + 1;
    }
    return offset;
  }

  /** The history leads up to where the live bytes go on, which a screen stands for at once. */
  private pushReplay(bytes: Uint8Array): void {
    if (!this.replaying) return;
    this.replaying.bytes -= bytes.length;
    const { kind, bytes: left, offset } = this.replaying;
    const upTo = kind === 'history' ? offset - left : offset;
    this.position = upTo;
    this.sink.replay(this.decode(bytes), () => {
      if (kind === 'screen' && left === 0) this.sink.freeGrid();
      this.shown(upTo, ACK_EVERY);
    });
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

/** What of a stretch lies from `offset` on. */
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
