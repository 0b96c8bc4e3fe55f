// What is pasted, on its way to the guest no faster than a serial port takes it. Keys that are typed
// meanwhile wait behind it, but Ctrl+C, which drops what waits.

/** Bytes that are sent at once. */
const PIECE = 256;

/** Bytes that may be sent and not yet acknowledged. */
const WINDOW = 512;

/** Pieces that may wait, twice those of the largest paste: a guest may ask its terminal for ever. */
const PIECES = 8192;

/** Bytes in a second: a UART at 115200 baud, 8N1. */
const RATE = 11_520;

/** What pastes begin and end with where the guest asked for it (bracketed paste). */
const BEGIN = new TextEncoder().encode('\x1b[200~');
const END = new TextEncoder().encode('\x1b[201~');

/** Where the bytes go. */
export interface Line {
  /** Bytes that were sent and not yet acknowledged. */
  readonly pending: number;
  send(bytes: Uint8Array<ArrayBuffer>): boolean;
}

/** How far a paste is, in bytes. */
export interface Progress {
  sent: number;
  total: number;
}

export class PasteQueue {
  private waiting: Uint8Array<ArrayBuffer>[] = [];
  private sent = 0;
  private total = 0;
  /** Whether the guest is inside of a bracketed paste. */
  private bracket = false;
  private allowance = WINDOW;
  private filledAt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly line: Line,
    private readonly onProgress: (progress: Progress | undefined) => void,
  ) {}

  get busy(): boolean {
    return this.waiting.length > 0;
  }

  /** Sends `bytes` after what waits already. */
  paste(bytes: Uint8Array<ArrayBuffer>, bracketed: boolean): void {
    if (bracketed) this.waiting.push(BEGIN);
    this.add(bytes);
    if (bracketed) this.waiting.push(END);
    if (bracketed) this.total += BEGIN.length + END.length;
    this.pump();
  }

  /** Sends a key, or an answer of the terminal, after what waits; drops it where that is too much. */
  type(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.waiting.length >= PIECES) return;
    this.add(bytes);
    this.onProgress(this.progress);
  }

  /** Drops what waits, and says how far it came. Where the guest still is in a paste, ends it. */
  cancel(): Progress {
    const { progress } = this;
    if (this.bracket) this.line.send(END);
    this.finish();
    return progress;
  }

  /** The guest knows of no paste any more. */
  forget(): void {
    this.bracket = false;
  }

  /** Sends what may be sent now; called again at each acknowledgement. */
  pump(): void {
    clearTimeout(this.timer);
    this.refill();
    for (let next = this.waiting[0]; next; next = this.waiting[0]) {
      if (this.line.pending + next.length > WINDOW && this.line.pending > 0) break;
      if (next.length > this.allowance) {
        const pause = ((next.length - this.allowance) / RATE) * 1000;
        this.timer = setTimeout(() => this.pump(), pause);
        break;
      }
      if (!this.line.send(next)) break;
      this.waiting.shift();
      this.count(next);
    }
    if (this.busy) this.onProgress(this.progress);
    else if (this.total > 0) this.finish();
  }

  private get progress(): Progress {
    return { sent: this.sent, total: this.total };
  }

  private add(bytes: Uint8Array<ArrayBuffer>): void {
    for (let at = 0; at < bytes.length; at += PIECE) {
      this.waiting.push(bytes.subarray(at, at + PIECE));
    }
    this.total += bytes.length;
  }

  private count(sent: Uint8Array): void {
    this.allowance -= sent.length;
    this.sent += sent.length;
    if (sent === BEGIN) this.bracket = true;
    if (sent === END) this.bracket = false;
  }

  /** A hidden page's timers run once in a second, so it may save up for that long. */
  private refill(): void {
    const now = performance.now();
    const most = document.hidden ? RATE : WINDOW;
    this.allowance = Math.min(most, this.allowance + ((now - this.filledAt) / 1000) * RATE);
    this.filledAt = now;
  }

  private finish(): void {
    clearTimeout(this.timer);
    this.waiting = [];
    this.sent = this.total = 0;
    this.bracket = false;
    this.onProgress(undefined);
  }
}
