// Asks before a tab is closed in which the user types: Ctrl+W is a key of shells and editors, and of browsers.
// Navigation within this site, except for a reload, asks nothing, because the session waits until the user is back.

import { around } from './tile';

/** What this page uses of the Navigation API, which TypeScript does not know yet. */
interface Navigating extends Event {
  navigationType: 'push' | 'reload' | 'replace' | 'traverse';
  destination: { url: string };
}

/** Milliseconds within which a navigation that began leaves the page. */
const SOON = 1000;

/** `inUse` says whether leaving may interrupt a shell. */
export function askBeforeLeaving(inUse: () => boolean): void {
  let goesOn = -Infinity;
  const { navigation } = around as { navigation?: EventTarget };
  navigation?.addEventListener('navigate', (event) => {
    const { navigationType, destination } = event as Navigating;
    const isHere = new URL(destination.url).origin === location.origin;
    if (isHere && navigationType !== 'reload') goesOn = performance.now();
  });
  addEventListener('beforeunload', (event) => {
    if (inUse() && performance.now() - goesOn > SOON) event.preventDefault();
  });
}
