// What an attached session knows: its user, who types, who asks to type, who else is attached, and the state of the
// serial port. Immutable: a message that changes it makes a new value.

import type { Holder } from './endings';
import { sizeMessage } from './messages';
import type { Cause, Hello, LineState, Pen, ServerMessage, Size, Viewer } from './messages';

/** Seconds that the user who types has to answer a request, if the proxy does not say. */
const ASKED_FOR = 15;

/** Somebody asks to type. */
export interface PenRequest {
  session: string | undefined;
  /** Who asks. */
  by: string;
  reason: string | undefined;
  /** When a request without an answer is granted, in milliseconds since 1970. */
  until: number;
}

export class Attachment {
  readonly state: LineState;
  readonly reason: string;
  /** Why no output flows, or why input waits. */
  readonly cause: Cause | undefined;
  readonly viewers: number = 1;
  readonly who: readonly Viewer[] = [];
  /** The user who types, `null` for nobody, or undefined while the proxy has not said. */
  readonly writer: string | null | undefined;
  /** Since when that user has been typing (RFC 3339), if the proxy says so. */
  readonly since: string | undefined;
  /** If that user's connection is lost: when others can type, in milliseconds since 1970. */
  readonly freeAt: number | undefined;
  /** If that user's connection is lost: when its last sign of life came, in milliseconds since 1970. */
  readonly seenAt: number | undefined;
  /** Whether the session that types is another one of this page's user. */
  readonly ownHolder: boolean = false;
  /** Who took over typing from this session, and why. */
  readonly loss: { by?: string | undefined; reason?: string | undefined } | undefined;
  /** The session that types, if there is one. */
  readonly holder: string | undefined;
  /** Whether this session types (holds the pen). Input of others is dropped. */
  readonly writes: boolean;
  /** The request to type that has no answer yet. */
  readonly request: PenRequest | undefined;
  /** Who refused this session's request to type, and why. */
  readonly refusal: { by: string; reason: string } | undefined;
  /** The grid of the session that types. */
  readonly size: Size | undefined;
  /** Whether this page's user asked to take over and is not allowed to. */
  readonly mayNotForce: boolean = false;

  constructor(readonly hello: Hello) {
    this.state = hello.state;
    this.reason = hello.reason;
    this.cause = hello.cause;
    this.writes = hello.mode === 'write';
    this.writer = this.writes ? hello.user : undefined;
  }

  /** Whether the guest's processors are stopped. */
  get paused(): boolean {
    return this.cause === 'paused';
  }

  /** Whether the guest crashed, and its process was kept. */
  get crashed(): boolean {
    return this.cause === 'crashed';
  }

  /** Whether the guest is on, but reads no input now. */
  get halted(): boolean {
    return this.paused || this.crashed;
  }

  /** Whether the guest is off. A guest whose port is unreachable does not count as off. */
  get stopped(): boolean {
    return this.cause === 'stopped';
  }

  /** Whether the guest is on: running, paused or crashed. */
  get runs(): boolean {
    return !this.stopped && this.cause !== 'gone';
  }

  /** Whether this session watches, and its user may type. */
  get mayType(): boolean {
    return !this.writes && this.hello.can.includes('write');
  }

  /** Whether this session watches, and its user may take over from the one who types. */
  get mayTakeOver(): boolean {
    return this.mayType && typeof this.writer === 'string' && !this.ownHolder && this.hello.can.includes('force');
  }

  get mayPower(): boolean {
    return this.hello.can.includes('power');
  }

  /** Whether another session of this page's user types, so that nobody has to be asked. */
  get mayTakeFromOwn(): boolean {
    return this.mayType && this.ownHolder;
  }

  /** Whether this session's own request to type has no answer yet. */
  get asks(): boolean {
    return this.request !== undefined && this.request.session === this.hello.session;
  }

  /** The state after this page's user tried to take over without being allowed to. */
  afterRefusedForce(): Attachment {
    return this.with({ mayNotForce: true });
  }

  /** The state after the user dismissed the notice about who types, or after it became outdated. */
  afterNotice(): Attachment {
    return this.with({ loss: undefined, refusal: undefined, mayNotForce: false });
  }

  /** The state after a message. */
  after(message: ServerMessage): Attachment {
    if (message.type === 'state') {
      return this.with({ state: message.state, reason: message.reason, cause: message.cause });
    }
    if (message.type === 'viewers') return this.with({ viewers: message.count, who: message.who ?? [] });
    if (message.type === 'size') return this.with({ size: sizeMessage(message.rows, message.cols) });
    return message.type === 'pen' ? this.afterPen(message) : this;
  }

  private afterPen(pen: Pen): Attachment {
    const { state, session, holder, by, reason, cause, seconds, since } = pen;
    if (state === 'requested') {
      const until = Date.now() + (seconds ?? ASKED_FOR) * 1000;
      return this.with({ since, request: { session, by: by ?? 'someone', reason, until }, refusal: undefined });
    }
    const isFree = state === 'free';
    const writes = state === 'held' && session === this.hello.session;
    // A notice about a user who no longer types is outdated.
    const changed = this.holder !== undefined && this.holder !== session;
    const next = (changed ? this.afterNotice() : this).with({
      since,
      freeAt: freeAt(pen),
      seenAt: pen.seen_ago === undefined ? undefined : Date.now() - pen.seen_ago * 1000,
      ownHolder: pen.own ?? false,
      holder: isFree ? undefined : session,
      request: undefined,
      writes,
      writer: isFree ? null : (holder ?? by),
    });
    // With cause `moved`, the strip already says that another window of this user types.
    if (state === 'lost' && cause !== 'moved') return next.with({ loss: { by, reason } });
    if (writes) return next.afterNotice();
    return this.asks && reason?.startsWith('denied') ? next.with({ refusal: refusal(pen) }) : next;
  }

  private with(changes: Partial<Attachment>): Attachment {
    return Object.assign(new Attachment(this.hello), this, changes);
  }
}

/** Who types on a console that refused this page. */
export function holderOf(pen: Pen, user: string): Holder {
  const { session, reason, own, can } = pen;
  const since = pen.since ?? reason?.replace(/^since /, '');
  return { user, session, since, own, freeAt: freeAt(pen), can };
}

/** When the console of a user who lost the connection becomes free, in milliseconds since 1970. */
function freeAt({ free_in: seconds }: Pen): number | undefined {
  return seconds === undefined ? undefined : Date.now() + seconds * 1000;
}

function refusal({ by, holder, reason }: Pen): Attachment['refusal'] {
  const words = reason?.replace(/^denied:? ?/, '') ?? '';
  return { by: by ?? holder ?? 'The user who types', reason: words };
}
