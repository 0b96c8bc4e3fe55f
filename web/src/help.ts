// The help lists every key of the page: those of the actions, and those that the browser and the terminal handle.

import { nameOf, shortcutOf } from './action';
import type { Actions } from './action';
import { showDialog } from './dialog';
import { make } from './elements';

/** Keys and gestures that the browser and the terminal handle themselves. */
const HABITS: [keys: string, does: string][] = [
  ['Shift+PgUp, Shift+PgDn', 'Scroll by a page'],
  ['Shift+Insert, middle click', 'Paste'],
  ['Shift+drag', 'Select where a program in the guest uses the mouse'],
];

export function openHelp(actions: Actions): void {
  const table = make('table', 'help');
  // Makes it scrollable with the keyboard.
  table.tabIndex = 0;
  for (const action of actions.list) {
    const keys = [shortcutOf(action), action.outside && `${action.outside} (outside the terminal)`].filter(Boolean);
    if (keys.length > 0 && actions.state(action) !== 'absent') table.append(row(keys.join(', '), nameOf(action)));
  }
  for (const [keys, does] of HABITS) table.append(row(keys, does));
  const rest = 'All other keys go to the guest. The list of all actions finds everything else by its name.';
  showDialog('Keys of this page', make('p', '', rest), table);
}

function row(keys: string, does: string): HTMLElement {
  const head = make('th', '', make('kbd', '', keys));
  head.scope = 'row';
  return make('tr', '', head, make('td', '', does));
}
