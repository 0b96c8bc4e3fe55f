// What one attached session knows: its user, who types, who asks to type, who else is attached, and the state
// of the serial port. A plain value that messages change; it touches neither the socket nor the page.

import type { Holder } from './endings';
import { sizeMessage } from './messages';
import type { Cause, Hello, LineState, Pen, ServerMessage, Size, Viewer } from './messages';

/** Seconds that the user who types has to refuse a request, where the proxy does not say. */
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
  state: LineState;
  reason: string;
  /** Why no bytes flow, or why what is typed waits. */
  private cause: Cause | undefined;
  viewers = 1;
  who: Viewer[] = [];
  /** The user who types, `null` for nobody, or undefined while the proxy has not said. */
  writer: string | null | undefined;
  /** Since when (RFC 3339), where the proxy says so. */
  since: string | undefined;
  /** Where that user's connection is lost: when others can type, in milliseconds since 1970. */
  freeAt: number | undefined;
  /** In this case: when it was last seen, in milliseconds since 1970. */
  seenAt: number | undefined;
  /** Whether the session that types is another one of this page's user. */
  ownHolder = false;
  /** Who took over typing from this session, and why. */
  loss: { by?: string | undefined; reason?: string | undefined } | undefined;
  /** The session that types, if there is one. */
  private holder: string | undefined;
  /** Whether this session types (holds the pen). Input of others is dropped. */
  writes: boolean;
  /** The request to type that has no answer yet. */
  request: PenRequest | undefined;
  /** Who refused this session's request to type, and why. */
  refusal: { by: string; reason: string } | undefined;
  /** The grid of the session that types. */
  size: Size | undefined;
  /** Whether this page's user asked to take over and is not allowed to. */
  mayNotForce = false;

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

  /** Whether the guest is on, and reads nothing now. */
  get halted(): boolean {
    return this.paused || this.crashed;
  }

  /** Whether the guest is off. A guest whose port cannot be reached is not. */
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

  /** Whether the session that types is another one of this user, so that nobody has to be asked. */
  get mayTakeFromOwn(): boolean {
    return this.mayType && this.ownHolder;
  }

  /** Whether this session's own request to type has no answer yet. */
  get asks(): boolean {
    return this.request !== undefined && this.request.session === this.hello.session;
  }

  /** Whether this session may take over; notes that its user asked to and may not. */
  force(): boolean {
    const may = this.hello.can.includes('force');
    this.mayNotForce = !may;
    return may;
  }

  /** The notice about who types is read, or out of date. */
  clear(): void {
    this.loss = this.refusal = undefined;
    this.mayNotForce = false;
  }

  apply(message: ServerMessage): void {
    if (message.type === 'state') {
      this.state = message.state;
      this.reason = message.reason;
      this.cause = message.cause;
    } else if (message.type === 'viewers') {
      this.viewers = message.count;
      this.who = message.who ?? [];
    } else if (message.type === 'size') {
      this.size = sizeMessage(message.rows, message.cols);
    } else if (message.type === 'pen') {
      this.applyPen(message);
    }
  }

  private applyPen(pen: Pen): void {
    const { state, session, holder, by, reason, cause, seconds } = pen;
    this.since = pen.since;
    if (state === 'requested') {
      const until = Date.now() + (seconds ?? ASKED_FOR) * 1000;
      this.request = { session, by: by ?? 'someone', reason, until };
      this.refusal = undefined;
      return;
    }
    this.freeAt = freeAt(pen);
    this.seenAt = pen.seen_ago === undefined ? undefined : Date.now() - pen.seen_ago * 1000;
    this.ownHolder = pen.own ?? false;
    const asked = this.asks;
    const changed = this.holder !== undefined && this.holder !== session;
    this.holder = state === 'free' ? undefined : session;
    this.request = undefined;
    // A notice about a user who no longer types is out of date.
    if (changed) this.clear();
    this.writes = state === 'held' && session === this.hello.session;
    this.writer = state === 'free' ? null : (holder ?? by);
    // The strip says that another window of this user types now.
    if (state === 'lost' && cause !== 'moved') this.loss = { by, reason };
    else if (this.writes) this.clear();
    else if (asked && reason?.startsWith('denied')) this.refusal = refusal(pen);
  }
}

/** Who types on a console that refused this page. */
export function holderOf(pen: Pen, user: string): Holder {
  const { session, reason, own, can } = pen;
  const since = pen.since ?? reason?.replace(/^since /, '');
  return { user, session, since, own, freeAt: freeAt(pen), can };
}

/** When a console whose user lost the connection is free, in milliseconds since 1970. */
function freeAt({ free_in: seconds }: Pen): number | undefined {
  return seconds === undefined ? undefined : Date.now() + seconds * 1000;
}

function refusal({ by, holder, reason }: Pen): Attachment['refusal'] {
  const words = reason?.replace(/^denied:? ?/, '') ?? '';
  return { by: by ?? holder ?? 'The user who types', reason: words };
}
