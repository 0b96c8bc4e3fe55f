// Input that is not acknowledged yet, with its offset in the session's input, so that a resumed session sends each byte
// once.

/** Maximum bytes that are kept; further input is refused. */
export const OUTBOX_BYTES = 64 * 1024;

export class Outbox {
  private kept: Uint8Array<ArrayBuffer>[] = [];
  /** Offset of the first kept byte. */
  private first: number;
  private bytes = 0;

  /** `input`: how many input bytes of the session the proxy has. */
  constructor(input: number) {
    this.first = input;
  }

  /** Number of bytes that are not acknowledged. */
  get length(): number {
    return this.bytes;
  }

  /** Keeps `bytes`. Returns false, and keeps none, if that would exceed `OUTBOX_BYTES`. */
  add(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (this.bytes + bytes.length > OUTBOX_BYTES) return false;
    this.kept.push(bytes);
    this.bytes += bytes.length;
    return true;
  }

  /** The proxy has the bytes before `input`: they are no longer kept. */
  acknowledge(input: number): void {
    let known = Math.min(input - this.first, this.bytes);
    if (known <= 0) return;
    this.first += known;
    this.bytes -= known;
    while (known > 0) {
      const chunk = this.kept[0];
      if (!chunk) return;
      if (chunk.length > known) this.kept[0] = chunk.subarray(known);
      else this.kept.shift();
      known -= chunk.length;
    }
  }

  /** What to send again, from which offset on, when the session is resumed and the proxy has `input` bytes of it. */
  resume(input: number): { offset: number; chunks: readonly Uint8Array<ArrayBuffer>[] } {
    this.acknowledge(input);
    if (this.bytes === 0) this.first = input;
    return { offset: this.first, chunks: this.kept };
  }

  /** Drops what is not acknowledged, and returns the number of bytes. */
  drop(): number {
    const dropped = this.bytes;
    this.first += dropped;
    this.kept = [];
    this.bytes = 0;
    return dropped;
  }
}
