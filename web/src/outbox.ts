// What was typed and not yet acknowledged, with its place in the session's count of input bytes, so
// that a session that comes back sends each byte once.

/** Bytes that are kept; more are refused. */
export const OUTBOX_BYTES = 64 * 1024;

export class Outbox {
  private kept: Uint8Array<ArrayBuffer>[] = [];
  /** Where the first kept byte belongs. */
  private first: number;
  private bytes = 0;

  /** `input` is how many bytes of the session the server has. */
  constructor(input: number) {
    this.first = input;
  }

  /** Bytes that were not acknowledged. */
  get length(): number {
    return this.bytes;
  }

  /** Keeps `bytes`, unless that would be too much. */
  add(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (this.bytes + bytes.length > OUTBOX_BYTES) return false;
    this.kept.push(bytes);
    this.bytes += bytes.length;
    return true;
  }

  /** The server has everything before `input`. */
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

  /** The session comes back, and the server has `input` bytes of it. What is to be sent again. */
  resume(input: number): { offset: number; chunks: readonly Uint8Array<ArrayBuffer>[] } {
    this.acknowledge(input);
    if (this.bytes === 0) this.first = input;
    return { offset: this.first, chunks: this.kept };
  }

  /** Gives up what was not acknowledged; says how many bytes. */
  drop(): number {
    const dropped = this.bytes;
    this.first += dropped;
    this.kept = [];
    this.bytes = 0;
    return dropped;
  }
}
