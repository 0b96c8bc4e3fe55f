// The servers page of the same proxy, where people log in and open consoles. A proxy in front of a Nova
// has none.

import { root } from './places';

/** Timeout for its answer, in milliseconds. */
const PATIENCE = 4000;

let known: Promise<boolean> | undefined;

/** Whether there is one. Only the first call asks. */
export function hasServersPage(): Promise<boolean> {
  known ??= look();
  return known;
}

async function look(): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch(root(), { credentials: 'omit', signal });
    return answer.ok && (await answer.text()).includes('id="servers"');
  } catch {
    return false;
  }
}
