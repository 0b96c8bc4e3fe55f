// What one attached session knows: who it is, who holds the pen, how the line stands. A plain value
// that messages change; it touches neither the socket nor the page.

import type { Hello, LineState, Pen, ServerMessage } from './messages';

export class Attachment {
  state: LineState;
  reason: string;
  viewers = 1;
  /** Who writes: a name, `null` for nobody, or undefined while the proxy hasn't said. */
  writer: string | null | undefined;
  /** Who took the pen from this session, and why. */
  loss: { by?: string | undefined; reason?: string | undefined } | undefined;
  /** Whether this session holds the pen: else nothing may be sent. */
  writes: boolean;
  /** Whether its user wanted to take over and may not. */
  mayNotForce = false;
  private asksToForce = false;

  constructor(readonly hello: Hello) {
    this.state = hello.state;
    this.reason = hello.reason;
    this.writes = hello.mode === 'write';
    this.writer = this.writes ? hello.user : undefined;
  }

  /** Whether this session watches although its user may write. */
  get mayAskToWrite(): boolean {
    return !this.writes && this.hello.can.includes('write');
  }

  /** This session is to take the pen from whoever holds it; says whether it may ask for that. */
  force(): boolean {
    this.asksToForce = this.hello.can.includes('force');
    this.mayNotForce = !this.asksToForce;
    return this.asksToForce;
  }

  apply(message: ServerMessage): void {
    if (message.type === 'state') {
      this.state = message.state;
      this.reason = message.reason;
    } else if (message.type === 'viewers') {
      this.viewers = message.count;
    } else if (message.type === 'pen') {
      this.applyPen(message);
    }
  }

  private applyPen({ state, holder, by, reason }: Pen): void {
    if (state === 'lost') {
      this.loss = { by, reason };
      this.writer = holder ?? by;
      this.writes = false;
    } else if (state === 'free') {
      this.writer = null;
      this.writes = false;
    } else if (state === 'held') {
      this.writer = holder;
      // A name alone proves nothing: another window may have the same user.
      const taken = this.asksToForce && (this.writes || by === this.hello.user);
      this.writes =
        (this.hello.mode === 'write' || taken) &&
        this.loss === undefined &&
        holder === this.hello.user;
    }
  }
}
