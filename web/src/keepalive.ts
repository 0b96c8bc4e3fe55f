// Pings the proxy while the page is visible, and after a key that is not acknowledged: measures the round trip, reports
// for how long nothing answered, and detects a dead connection that nobody closed.

/** Milliseconds to the first ping, which would otherwise wait behind the painted screen, and between two pings. */
const FIRST = 1000;
const EVERY = 5000;

/** Milliseconds after which a key without acknowledgment causes a ping, and a ping without any answer is reported. */
const KEY = 2000;
const PONG = 1000;

/** Milliseconds of silence after a ping after which the connection counts as dead. */
const SILENCE = 20_000;

/** Number of round trips whose median is shown, because single ones vary. */
const TRIPS = 3;

/** Sends the pings, and receives the results. */
export interface Listener {
  ping(id: number): void;
  /** The round trip in milliseconds, or undefined while it is not known. */
  onLatency(milliseconds: number | undefined): void;
  /** Since when nothing has answered, in milliseconds since 1970; undefined when there is an answer again. */
  onUnanswered(since: number | undefined): void;
  /** The connection counts as dead. */
  onSilence(): void;
}

export class Keepalive {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private keyTimer: ReturnType<typeof setTimeout> | undefined;
  private pongTimer: ReturnType<typeof setTimeout> | undefined;
  private id = 0;
  /**
   * When the unanswered ping was sent: by `Date.now`, which counts suspend, and by the more precise `performance.now`.
   */
  private sentAt: number | undefined;
  private pingedAt = 0;
  private heardAt = 0;
  /** When the first key was sent that is not acknowledged. */
  private typedAt: number | undefined;
  /** Whether this proxy answers pings at all. */
  private answers = false;
  private told = false;
  private trips: number[] = [];

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
    clearTimeout(this.pongTimer);
    this.timer = this.sentAt = undefined;
    this.answers = false;
    this.trips = [];
    this.acknowledged();
    this.answered();
    this.listener.onLatency(undefined);
  }

  /** A key was sent. */
  typed(): void {
    this.typedAt ??= Date.now();
    this.keyTimer ??= setTimeout(() => {
      this.keyTimer = undefined;
      this.ping();
    }, KEY);
  }

  /** All keys are acknowledged. */
  acknowledged(): void {
    clearTimeout(this.keyTimer);
    this.keyTimer = this.typedAt = undefined;
  }

  /** Anything that arrives shows that the connection is alive. */
  heard(): void {
    this.heardAt = Date.now();
    this.answered();
  }

  pong(id: number): void {
    if (id !== this.id || this.sentAt === undefined) return;
    this.trips = [...this.trips, performance.now() - this.pingedAt].slice(-TRIPS);
    const sorted = [...this.trips].sort((one, other) => one - other);
    this.listener.onLatency(Math.round(sorted[(sorted.length - 1) >> 1] ?? 0));
    this.answers = true;
    this.sentAt = undefined;
    clearTimeout(this.pongTimer);
  }

  private answered(): void {
    if (!this.told) return;
    this.told = false;
    this.listener.onUnanswered(undefined);
  }

  private wait(pause: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (document.hidden ? this.wait(EVERY) : this.ping()), pause);
  }

  private ping(): void {
    this.wait(EVERY);
    if (this.sentAt !== undefined) return this.doubt(this.sentAt);
    this.id += 1;
    this.sentAt = Date.now();
    this.pingedAt = performance.now();
    this.listener.ping(this.id);
    this.doubtLater(this.sentAt);
  }

  private doubtLater(sentAt: number): void {
    clearTimeout(this.pongTimer);
    this.pongTimer = setTimeout(() => this.doubt(sentAt), PONG);
  }

  /** Reports a ping that has no answer yet. */
  private doubt(sentAt: number): void {
    this.doubtLater(sentAt);
    if (document.hidden) return;
    const silent = Date.now() - Math.max(sentAt, this.heardAt);
    if (silent >= SILENCE && this.answers) return this.listener.onSilence();
    if (silent < PONG || this.told || !(this.answers || this.typedAt !== undefined)) return;
    this.told = true;
    this.listener.onLatency(undefined);
    this.listener.onUnanswered(Math.max(this.typedAt ?? sentAt, this.heardAt));
  }
}
