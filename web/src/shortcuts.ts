// Keys that belong to the page instead of the guest, by their names: `Ctrl+Shift+C`. Which action has which one is
// said in actions.ts; the guest keeps all others, Ctrl+C, Tab and plain F6 among them.

/** Whether a key event is what `shortcut` names. */
export function isPressed(event: KeyboardEvent, shortcut: string): boolean {
  const parts = shortcut.split('+');
  const key = parts.pop() ?? '';
  const wants = (modifier: string): boolean => parts.includes(modifier);
  return (
    !event.metaKey &&
    event.altKey === wants('Alt') &&
    event.ctrlKey === wants('Ctrl') &&
    event.shiftKey === wants('Shift') &&
    keyOf(event).toUpperCase() === key.toUpperCase()
  );
}

/** Whether a plain key is pressed outside of the terminal and of fields, which take it as text. */
export function isPressedOutside(event: KeyboardEvent, key: string): boolean {
  const { target } = event;
  const takesText = target instanceof Element && target.matches('input, select, textarea');
  return !takesText && !event.altKey && !event.ctrlKey && !event.metaKey && event.key === key;
}

/** As `aria-keyshortcuts` writes it. */
export function ariaShortcut(shortcut: string): string {
  return shortcut.replace('Ctrl', 'Control');
}

/** Where another script is typed, a letter's key is known by its place. */
function keyOf({ key, code }: KeyboardEvent): string {
  return key.length === 1 && key > '~' ? code.replace(/^Key/, '') : key;
}
