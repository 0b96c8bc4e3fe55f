// The bytes of the line on their way into the terminal, over any number of connections: keeps count
// of the line's offset, tells the proxy how much has been shown, keeps replay apart from what is live,
// and skips what is old while somebody types.

import type { Piece } from './archive';
import type { Gap, Hello, Replay } from './messages';

const NOT_KEPT = 'it is no longer kept';

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

/** Where the bytes of a text belong in the line. */
export interface Origin {
  offset: number;
  bytes: Uint8Array;
}

/** A boot, as it is shown. */
export interface BootNote {
  epoch: number;
  words: string;
}

/** What shows text. */
export interface Sink {
  /** The rows and columns that fit the window; none before it is laid out. */
  readonly grid: { rows: number; cols: number } | undefined;
  write(text: string, shown: () => void, origin: Origin): void;
  /** Shows text whose queries must stay unanswered. That of a painted screen has no origin. */
  replay(text: string, shown: () => void, origin?: Origin): void;
  /** Shows a line of ours, set apart from the guest's. */
  note(text: string, shown?: () => void): void;
  /** A screen follows that was painted for this grid, which stays until it is shown, whatever fits the window. */
  holdGrid(grid: { rows: number; cols: number }): void;
  freeGrid(): void;
  /** A painted screen is shown. */
  painted(): void;
  /** A boot's output follows soon: what the terminal says of itself until then is meant for nobody. */
  expectBoot(): void;
  /** A boot's output follows: the terminal begins anew below this line of ours, which may be of no boot. */
  boot(text: string, epoch?: number): void;
  /** Empties the terminal, for more output than it held. */
  empty(): void;
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
  boot?: BootNote;
}

/** A boot whose place has not been reached yet. */
interface Boot extends BootNote {
  offset: number;
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
  /** The boots in a painted screen, each after so many of its bytes that are still to come. */
  private painted: { left: number; epoch: number }[] = [];
  /** The first byte of the line that the terminal was given, as far as that is known. */
  private oldest: number | undefined;
  /** While the terminal is filled anew: what comes waits. */
  private rebuilding = false;
  /** Counts the connections, so that what belongs to an older one is dropped. */
  private connections = 0;
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
    private readonly bootWords: (epoch: number) => string,
  ) {}

  /** Whether output from before what the terminal was given, and from this offset on, may be shown as well. */
  isOlder(offset: number): boolean {
    return this.oldest !== undefined && offset < this.oldest;
  }

  /**
   * Shows all of these pieces anew, up to what was shown, and then goes on: what the terminal was given can only grow
   * at its end. Says whether it did; not where the connection ended meanwhile.
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

  /** Where to go on after a lost connection; nothing where the screen has to be painted first. */
  get place(): Place | undefined {
    const half = this.replaying?.kind === 'screen' && this.replaying.bytes > 0;
    return this.line === undefined || half ? undefined : { line: this.line, offset: this.position };
  }

  /** A connection begins; says whether it goes on in the same count of bytes. */
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
    // The first ack tells the proxy that this page will say what it has shown.
    this.ack(offset);
  }

  /** The next bytes are replay; a screen was painted for the grid that was asked for. */
  expectReplay(replay: Replay, grid: { rows: number; cols: number } | undefined): void {
    this.replaying = { ...replay };
    this.goesOn = replay.offset;
    if (replay.kind !== 'screen') return this.reach(replay.offset - replay.bytes);
    this.position = replay.offset;
    this.oldest = replay.from;
    this.painted = (replay.boots ?? []).map(({ epoch, at }) => ({ epoch, left: replay.bytes - at }));
    if (grid && replay.bytes > 0) this.sink.holdGrid(grid);
  }

  /** Bytes are missing here: says so where they would have been. */
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

  /** Shows a boot whose place is reached. */
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
