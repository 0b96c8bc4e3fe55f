// Asks the proxy for an answer now and then while the page is looked at: how long a key takes there
// and back, and whether the connection is still one.

/** Milliseconds from the beginning to the first ping, which would wait behind the screen, and between two. */
const FIRST = 1000;
const EVERY = 5000;

/** Milliseconds without any byte after a ping that make a connection a broken one. */
const SILENCE = 20_000;

/** Who hears of it. */
export interface Listener {
  ping(id: number): void;
  /** Milliseconds there and back, or nothing where it isn't known. */
  onLatency(milliseconds: number | undefined): void;
  onSilence(): void;
}

export class Pulse {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private id = 0;
  /** When the open ping was sent: by the clock that counts a machine's sleep, and by the exact one. */
  private sentAt: number | undefined;
  private pingedAt = 0;
  private heardAt = 0;
  /** Whether this proxy answers pings at all. */
  private answers = false;

  constructor(private readonly listener: Listener) {
    document.addEventListener('visibilitychange', () => {
      if (this.timer !== undefined && !document.hidden) this.beat();
    });
  }

  start(): void {
    this.stop();
    this.wait(FIRST);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = this.sentAt = undefined;
    this.answers = false;
    this.listener.onLatency(undefined);
  }

  /** Anything that arrives shows that the connection is alive. */
  heard(): void {
    this.heardAt = Date.now();
  }

  answered(id: number): void {
    if (id !== this.id || this.sentAt === undefined) return;
    this.listener.onLatency(Math.round(performance.now() - this.pingedAt));
    this.answers = true;
    this.sentAt = undefined;
  }

  private wait(pause: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (document.hidden ? this.wait(EVERY) : this.beat()), pause);
  }

  private beat(): void {
    this.wait(EVERY);
    if (this.sentAt !== undefined) {
      const silent = Date.now() - Math.max(this.sentAt, this.heardAt);
      if (!this.answers) return;
      this.listener.onLatency(Math.round(performance.now() - this.pingedAt));
      if (silent >= SILENCE) this.listener.onSilence();
      return;
    }
    this.id += 1;
    this.sentAt = Date.now();
    this.pingedAt = performance.now();
    this.listener.ping(this.id);
  }
}
