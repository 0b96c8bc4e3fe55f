// The bytes of the line on their way into the terminal, over any number of connections: keeps count
// of the line's offset, tells the proxy how much has been shown, and keeps replay apart from what is
// live.

import type { Gap, Hello, Replay } from './messages';

const ANOTHER_LINE = '── attached again: output in between may be missing ──';

/** Bytes shown between two acks. The proxy pauses at 512 KiB, so a few are always under way. */
const ACK_EVERY = 100_000;

/** What shows text. */
export interface Sink {
  write(text: string, shown: () => void): void;
  /** Shows text whose queries must stay unanswered. */
  replay(text: string, shown: () => void): void;
  /** Shows a line of ours, set apart from the guest's. */
  note(text: string, shown?: () => void): void;
}

/** A place in the output of a line. */
export interface Place {
  line: string;
  offset: number;
}

export class Output {
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
    if (this.line !== undefined && !goesOn) this.sink.note(ANOTHER_LINE);
    if (!goesOn) {
      this.decoder = newDecoder();
      this.position = offset;
    }
    this.live = false;
    this.line = line;
    this.goesOn = offset;
    this.replaying = undefined;
    this.acked = offset;
    // The first ack tells the proxy that this page will say what it has shown.
    this.ack(offset);
  }

  /** The next bytes are replay. */
  expectReplay(replay: Replay): void {
    this.replaying = { ...replay };
    this.goesOn = replay.offset;
    if (replay.kind === 'screen') this.position = replay.offset;
    else this.reach(replay.offset - replay.bytes);
  }

  /** Bytes are missing here: says so where they would have been. */
  skip({ from, to }: Gap): void {
    const why = this.live ? 'this browser was too slow' : 'it is no longer kept';
    this.decoder = newDecoder();
    this.position = to;
    this.goesOn = to;
    this.sink.note(`[… ${size(to - from)} of output skipped: ${why} …]`, () => this.shown(to, 0));
  }

  /** A frame of the line's bytes. */
  push(bytes: Uint8Array): void {
    const replayed = Math.min(this.replaying?.bytes ?? 0, bytes.length);
    if (replayed > 0) this.pushReplay(bytes.subarray(0, replayed));
    if (bytes.length > replayed) this.pushLive(bytes.subarray(replayed));
  }

  /** The next byte belongs at `offset`: what is missing before it was not announced. */
  private reach(offset: number): void {
    if (offset > this.position) this.skip({ type: 'gap', from: this.position, to: offset });
    this.position = offset;
  }

  private pushLive(bytes: Uint8Array): void {
    if (!this.live) this.reach(this.goesOn);
    this.live = true;
    this.position += bytes.length;
    const offset = this.position;
    this.sink.write(this.decode(bytes), () => this.shown(offset, ACK_EVERY));
  }

  /** The history leads up to where the live bytes go on, which a screen stands for at once. */
  private pushReplay(bytes: Uint8Array): void {
    if (!this.replaying) return;
    this.replaying.bytes -= bytes.length;
    const { kind, bytes: left, offset } = this.replaying;
    const upTo = kind === 'history' ? offset - left : offset;
    this.position = upTo;
    this.sink.replay(this.decode(bytes), () => this.shown(upTo, ACK_EVERY));
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
