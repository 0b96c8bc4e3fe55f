// Keys that the page handles instead of the guest, by names such as `Ctrl+Shift+C`. actions.ts says which action has
// which key; the guest gets all others, among them Ctrl+C, Tab and plain F6.

/** Whether a key event is the one that `shortcut` names. */
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

/** The shortcut as `aria-keyshortcuts` writes it. */
export function ariaShortcut(shortcut: string): string {
  return shortcut.replace('Ctrl', 'Control');
}

/** The name of a key. If the keyboard is set to another script, a letter's key is known by its position. */
function keyOf({ key, code }: KeyboardEvent): string {
  return key.length === 1 && key > '~' ? code.replace(/^Key/, '') : key;
}
