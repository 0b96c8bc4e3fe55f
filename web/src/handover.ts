// Windows of one browser that had the same session tell each other its newest resume key, so that each of them can
// resume the session.

import type { Kept } from './address';

const CHANNEL = 'serialproxy.session';

export class Handover {
  private readonly channel = new BroadcastChannel(CHANNEL);
  private readonly keys = new Map<string, string>();

  constructor() {
    this.channel.onmessage = ({ data }) => {
      const { session, resume } = data as Kept;
      // Ignores keys of sessions that this window never had.
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
