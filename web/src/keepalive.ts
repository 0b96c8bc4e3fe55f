// Pings the proxy while the page is visible, and after a key that is not acknowledged: measures the round trip,
// says for how long nothing answered, and finds a dead connection that nobody closed.

/** Milliseconds to the first ping, which else would wait behind the screen, and between two pings. */
const FIRST = 1000;
const EVERY = 5000;

/** Milliseconds that a key may wait for its acknowledgement, and a ping for any byte, before that is told. */
const KEY = 2000;
const PONG = 1000;

/** Milliseconds without any byte after a ping, after which the connection is taken for dead. */
const SILENCE = 20_000;

/** Round trips of which the median is shown: a single one says little. */
const TRIPS = 3;

/** Sends the pings, and receives what they show. */
export interface Listener {
  ping(id: number): void;
  /** The round trip in milliseconds, or nothing while it is not known. */
  onLatency(milliseconds: number | undefined): void;
  /** Nothing has answered since then, in milliseconds since 1970; or it does again. */
  onUnanswered(since: number | undefined): void;
  onSilence(): void;
}

export class Keepalive {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private keyTimer: ReturnType<typeof setTimeout> | undefined;
  private pongTimer: ReturnType<typeof setTimeout> | undefined;
  private id = 0;
  /** When the ping without an answer was sent: by the clock that includes suspend, and by the exact one. */
  private sentAt: number | undefined;
  private pingedAt = 0;
  private heardAt = 0;
  /** When the first key was pressed that is not acknowledged. */
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

  /** The ping has no answer yet. */
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
