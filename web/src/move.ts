// Moves the focus from one part of the page to the next, past a terminal that takes Tab for itself.

/** Ids of the parts besides the terminal, in order. Those without a visible, enabled button are skipped. */
const PARTS = ['tools', 'search', 'hits', 'strip', 'keys', 'pasting', 'notice', 'sizes', 'boots'];

/** Moves the focus to the next part; after the last one, to the terminal. */
export function moveOn(focusTerminal: () => void): void {
  const parts = PARTS.map((id) => document.getElementById(id));
  const here = parts.findIndex((part) => part?.contains(document.activeElement));
  for (const part of parts.slice(here + 1)) {
    const buttons = part?.querySelectorAll<HTMLButtonElement>('button:enabled') ?? [];
    const first = [...buttons].find((button) => button.checkVisibility());
    if (first) return first.focus();
  }
  focusTerminal();
}
