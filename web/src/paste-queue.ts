// Sends a paste to the guest no faster than a serial port accepts it. Keys that are typed meanwhile wait behind it,
// except for Ctrl+C, which cancels it in typing.ts.

/** Bytes that are sent at once. */
const PIECE = 256;

/** Maximum bytes that are sent and not acknowledged yet. */
const WINDOW = 512;

/** Maximum pieces that wait, twice those of the largest paste: a guest may query its terminal without end. */
const PIECES = 8192;

/** Bytes per second of a UART at 115200 baud, 8N1. */
const RATE = 11_520;

/** What surrounds a paste if the guest enabled bracketed paste. */
const BEGIN = new TextEncoder().encode('\x1b[200~');
const END = new TextEncoder().encode('\x1b[201~');

/** Where the bytes go. */
export interface Line {
  /** Number of bytes that were sent and are not acknowledged yet. */
  readonly pending: number;
  /** Sends bytes, and returns whether they were taken. */
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
  /** Whether the guest has received the beginning of a bracketed paste, but not its end. */
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

  /** Sends a key, or an answer of the terminal, after what waits. Drops it if `PIECES` wait. */
  type(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.waiting.length >= PIECES) return;
    this.add(bytes);
    this.onProgress(this.progress);
  }

  /** Drops what waits, and returns how much was sent. Ends a bracketed paste that has begun. */
  cancel(): Progress {
    const { progress } = this;
    if (this.bracket) this.line.send(END);
    this.finish();
    return progress;
  }

  /** The guest has booted, and so has left a bracketed paste. */
  forget(): void {
    this.bracket = false;
  }

  /** Sends what may be sent now. Called again at each acknowledgment. */
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

  /** Refills the allowance. The timers of a hidden page run once per second, so it may save up for that long. */
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
