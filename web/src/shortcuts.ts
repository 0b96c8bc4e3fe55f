// The few keys that belong to the page instead of the guest. The guest keeps all others, Ctrl+C, Tab
// and plain F6 among them.

export type Shortcut = 'move' | 'copy' | 'paste' | 'find' | 'fit' | 'switch';

const WITH_CTRL_SHIFT: Record<string, Shortcut> = {
  c: 'copy',
  v: 'paste',
  f: 'find',
  o: 'switch',
  s: 'fit',
};

/** The shortcut that a key event means, if any. */
export function shortcutOf(event: KeyboardEvent): Shortcut | undefined {
  if (event.altKey || event.metaKey || !event.shiftKey) return undefined;
  if (event.key === 'F6' && !event.ctrlKey) return 'move';
  return event.ctrlKey ? WITH_CTRL_SHIFT[event.key.toLowerCase()] : undefined;
}
