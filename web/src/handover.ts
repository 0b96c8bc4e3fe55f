// Windows of one browser that had the same session tell each other its newest key, so that the one
// that lost it to another can have it back.

import type { Kept } from './address';

const CHANNEL = 'serialproxy.session';

export class Handover {
  private readonly channel = new BroadcastChannel(CHANNEL);
  private readonly keys = new Map<string, string>();

  constructor() {
    this.channel.onmessage = ({ data }) => {
      const { session, resume } = data as Kept;
      // Only of sessions that were ours: the others are no business of this window.
      if (this.keys.has(session)) this.keys.set(session, resume);
    };
  }

  /** This window has the session now. */
  announce({ session, resume }: Kept): void {
    this.keys.clear();
    this.keys.set(session, resume);
    this.channel.postMessage({ session, resume });
  }

  /** The newest key of a session that this window had. */
  newest(session: string): Kept | undefined {
    const resume = this.keys.get(session);
    return resume === undefined ? undefined : { session, resume };
  }
}
