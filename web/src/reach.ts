// Finds out why a WebSocket did not open, which browsers do not tell a page. It requests the page itself over HTTP: the
// answer shows whether the proxy is unreachable, or only WebSockets are blocked.

import { Code } from './messages';

/** Timeout for the proxy's answer, in milliseconds. */
const PATIENCE = 4000;

/**
 * Failed attempts in a row, while the proxy answers over HTTP, after which WebSockets count as blocked. A single one
 * may have met a restart of the proxy.
 */
const ENOUGH = 2;

export class Reach {
  private refused = 0;

  /** A WebSocket opened. */
  opened(): void {
    this.refused = 0;
  }

  /** The close code for a WebSocket that did not open. `late`: it got no answer for long. */
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
