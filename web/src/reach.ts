// Why a WebSocket did not come about, which browsers tell no page: asks for the page itself over HTTP,
// which says whether it is the proxy that cannot be reached, or only WebSockets that do not get there.

import { Code } from './messages';

/** Milliseconds for the answer of the proxy. */
const PATIENCE = 4000;

/** Attempts in a row that fail while the proxy answers: one alone may have met a proxy that restarts. */
const ENOUGH = 2;

export class Reach {
  private refused = 0;

  /** A WebSocket opened. */
  opened(): void {
    this.refused = 0;
  }

  /** The close code for a WebSocket that did not open, `late` when nothing answered it for long. */
  async why(path: string, late: boolean): Promise<number> {
    if (!(await answers(path))) {
      this.refused = 0;
      return Code.connectionLost;
    }
    this.refused += late ? ENOUGH : 1;
    return this.refused >= ENOUGH ? Code.blocked : Code.connectionLost;
  }
}

/** Whether the proxy serves the page. */
async function answers(path: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const init: RequestInit = { method: 'HEAD', cache: 'no-store', credentials: 'omit', signal };
    return (await fetch(path, init)).ok;
  } catch {
    return false;
  }
}
