// Pings the proxy while the page is visible: measures the round trip, and finds a dead connection that
// nobody closed.

/** Milliseconds to the first ping, which else would wait behind the screen, and between two pings. */
const FIRST = 1000;
const EVERY = 5000;

/** Milliseconds without any byte after a ping, after which the connection is taken for dead. */
const SILENCE = 20_000;

/** Sends the pings, and receives what they show. */
export interface Listener {
  ping(id: number): void;
  /** The round trip in milliseconds, or nothing while it is not known. */
  onLatency(milliseconds: number | undefined): void;
  onSilence(): void;
}

export class Keepalive {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private id = 0;
  /** When the ping without an answer was sent: by the clock that includes suspend, and by the exact one. */
  private sentAt: number | undefined;
  private pingedAt = 0;
  private heardAt = 0;
  /** Whether this proxy answers pings at all. */
  private answers = false;

  constructor(private readonly listener: Listener) {
    document.addEventListener('visibilitychange', () => {
      if (this.timer !== undefined && !document.hidden) this.ping();
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
    this.timer = setTimeout(() => (document.hidden ? this.wait(EVERY) : this.ping()), pause);
  }

  private ping(): void {
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
