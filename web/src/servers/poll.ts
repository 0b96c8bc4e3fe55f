// Polls while the page is visible, and less often while that fails.

/** Milliseconds between an answer and the next request. */
const PAUSE = 2000;

/** Maximum milliseconds between a failed request and the next one. */
const LONGEST = 60_000;

export class Poll {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private started = false;
  private asking = false;
  private again = false;

  /** `ask` returns whether it succeeded. After a failure, `planned` gets the time of the next request. */
  constructor(
    private readonly ask: () => Promise<boolean>,
    private readonly planned: (next: Date) => void,
  ) {
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) clearTimeout(this.timer);
      else if (this.started) this.now();
    });
  }

  /** Asks at once, and continues from there. */
  now(): void {
    this.started = true;
    clearTimeout(this.timer);
    if (this.asking) this.again = true;
    else void this.run();
  }

  stop(): void {
    this.started = false;
    this.again = false;
    this.failures = 0;
    clearTimeout(this.timer);
  }

  private async run(): Promise<void> {
    this.asking = true;
    const well = await this.ask();
    this.asking = false;
    if (!this.started) return;
    this.failures = well ? 0 : this.failures + 1;
    if (this.again) {
      this.again = false;
      void this.run();
      return;
    }
    const pause = Math.min(PAUSE * 2 ** this.failures, LONGEST);
    if (!well) this.planned(new Date(Date.now() + pause));
    if (!document.hidden) this.timer = setTimeout(() => void this.run(), pause);
  }
}
