// Asks before a tab is closed in which somebody types: Ctrl+W is a key of shells and editors, and of browsers.

/** `inUse` says whether a shell may be left. */
export function askBeforeLeaving(inUse: () => boolean): void {
  addEventListener('beforeunload', (event) => {
    if (inUse()) event.preventDefault();
  });
}
