// Asks again and again while somebody can see the page, and less often while it fails.

/** Milliseconds between an answer and the next question. */
const PAUSE = 2000;

/** Milliseconds after which a question that failed is asked again at the latest. */
const LONGEST = 60_000;

export class Poll {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private started = false;
  private asking = false;
  private again = false;

  /** `ask` says whether it went well; `planned` is told when the next attempt after a failure is. */
  constructor(
    private readonly ask: () => Promise<boolean>,
    private readonly planned: (next: Date) => void,
  ) {
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) clearTimeout(this.timer);
      else if (this.started) this.now();
    });
  }

  /** Asks at once, and goes on from there. */
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
