// What one attached session knows: who it is, who holds the pen and who wants it, who else is there,
// how the line stands. A plain value that messages change; it touches neither the socket nor the page.

import type { Holder } from './endings';
import { sizeMessage } from './messages';
import type { Cause, Hello, LineState, Pen, ServerMessage, Size, Viewer } from './messages';

/** Seconds that a holder has to refuse the pen, where the proxy does not say. */
const ASKED_FOR = 15;

/** Someone wants the pen. */
export interface Wish {
  session: string | undefined;
  /** Who asks. */
  by: string;
  reason: string | undefined;
  /** About when silence grants it, in milliseconds since 1970. */
  until: number;
}

export class Attachment {
  state: LineState;
  reason: string;
  /** Why no bytes flow, or why what is typed waits. */
  private cause: Cause | undefined;
  viewers = 1;
  who: Viewer[] = [];
  /** Who writes: a name, `null` for nobody, or undefined while the proxy hasn't said. */
  writer: string | null | undefined;
  /** Where the writer's connection is lost: when another can write, in milliseconds since 1970. */
  freeAt: number | undefined;
  /** Whether the writer is another session of this page's user. */
  ownHolder = false;
  /** Who took the pen from this session, and why. */
  loss: { by?: string | undefined; reason?: string | undefined } | undefined;
  /** The session of the writer, if there is one. */
  private holder: string | undefined;
  /** Whether this session holds the pen: else nothing may be sent. */
  writes: boolean;
  /** Who asks for the pen, until there is an answer. */
  wish: Wish | undefined;
  /** Who kept the pen when this session asked, and why. */
  refusal: { by: string; reason: string } | undefined;
  /** The grid of who writes. */
  size: Size | undefined;
  /** Whether its user wanted to take over and may not. */
  mayNotForce = false;

  constructor(readonly hello: Hello) {
    this.state = hello.state;
    this.reason = hello.reason;
    this.cause = hello.cause;
    this.writes = hello.mode === 'write';
    this.writer = this.writes ? hello.user : undefined;
  }

  /** Whether the guest is there and does not go on. */
  get paused(): boolean {
    return this.cause === 'paused';
  }

  /** Whether the guest does not run: one whose port is just not reached does. */
  get stopped(): boolean {
    return this.cause === 'stopped';
  }

  /** Whether there is a guest that runs, or is paused. */
  get runs(): boolean {
    return !this.stopped && this.cause !== 'gone';
  }

  /** Whether this session watches although its user may write. */
  get mayAskToWrite(): boolean {
    return !this.writes && this.hello.can.includes('write');
  }

  /** Whether this session watches and its user may take the pen from who holds it. */
  get mayTakeOver(): boolean {
    return !this.writes && typeof this.writer === 'string' && this.hello.can.includes('force');
  }

  get mayPower(): boolean {
    return this.hello.can.includes('power');
  }

  /** Whether this session's user writes elsewhere, without a connection: may be had at once. */
  get mayTakeBack(): boolean {
    return this.mayAskToWrite && this.ownHolder && this.freeAt !== undefined;
  }

  /** Whether this session's own question for the pen is open. */
  get asks(): boolean {
    return this.wish !== undefined && this.wish.session === this.hello.session;
  }

  /** This session is to take the pen from whoever holds it; says whether it may ask for that. */
  force(): boolean {
    const may = this.hello.can.includes('force');
    this.mayNotForce = !may;
    return may;
  }

  /** The user has read, or need not read any more, what happened with the pen. */
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
    const { state, session, holder, by, reason, seconds } = pen;
    if (state === 'requested') {
      const until = Date.now() + (seconds ?? ASKED_FOR) * 1000;
      this.wish = { session, by: by ?? 'someone', reason, until };
      this.refusal = undefined;
      return;
    }
    this.freeAt = freeAt(pen);
    this.ownHolder = pen.own ?? false;
    const asked = this.asks;
    const changed = this.holder !== undefined && this.holder !== session;
    this.holder = state === 'free' ? undefined : session;
    this.wish = undefined;
    // What was told of a holder is no news any more once that one is gone.
    if (changed) this.clear();
    this.writes = state === 'held' && session === this.hello.session;
    this.writer = state === 'free' ? null : (holder ?? by);
    if (state === 'lost') this.loss = { by, reason };
    else if (this.writes) this.clear();
    else if (asked && reason?.startsWith('denied')) this.refusal = refusal(pen);
  }
}

/** Who writes on a console that refuses us. */
export function holderOf(pen: Pen, user: string): Holder {
  const { session, reason, own, can } = pen;
  const since = reason?.replace(/^since /, '');
  return { user, session, since, own, freeAt: freeAt(pen), can };
}

/** When a pen whose holder lost the connection is free, in milliseconds since 1970. */
function freeAt({ free_in: seconds }: Pen): number | undefined {
  return seconds === undefined ? undefined : Date.now() + seconds * 1000;
}

function refusal({ by, holder, reason }: Pen): Attachment['refusal'] {
  const words = reason?.replace(/^denied:? ?/, '') ?? '';
  return { by: by ?? holder ?? 'The writer', reason: words };
}
