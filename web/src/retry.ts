// When to try again after a lost connection: after longer and longer pauses, or at once when the network may be back or
// the user looks at the page again.

/** Pauses between two attempts, in milliseconds: the first, and the longest. */
const FIRST = 300;
const LONGEST = 15_000;

export class Retry {
  private failed = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly attempt: () => void) {
    addEventListener('online', () => this.hurry());
    document.addEventListener('visibilitychange', () => document.hidden || this.hurry());
  }

  /** Schedules an attempt, and returns its time in milliseconds since 1970. */
  later(): number {
    this.cancel();
    const longest = Math.min(LONGEST, FIRST * 2 ** this.failed);
    // Partly random, so that the pages of a restarted proxy do not reconnect all at once.
    const pause = Math.round(longest * (0.7 + 0.3 * Math.random()));
    this.failed += 1;
    this.timer = setTimeout(() => this.now(), pause);
    return Date.now() + pause;
  }

  cancel(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** The next pause is the first again. */
  reset(): void {
    this.failed = 0;
  }

  private hurry(): void {
    if (this.timer !== undefined) this.now();
  }

  private now(): void {
    this.cancel();
    this.attempt();
  }
}
