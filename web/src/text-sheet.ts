// The terminal's text as text of the page, in which the handles of a phone work, and more than one screen can be
// selected.

import { buttons, openDialog } from './dialog';
import { button, make } from './elements';
import type { Screen } from './terminal';

/** Maximum rows above the screen: a browser takes long to lay out more. */
const ABOVE = 2000;

/** Shows the text of the screen and above it, with the terminal's selection. `copy` gets the text to copy. */
export function openTextSheet(screen: Screen, copy: (text: string) => void): void {
  const { from } = screen.shown;
  const selected = screen.term.getSelection();
  const above = screen.text(Math.max(0, from - ABOVE), from);
  const here = make('span', '', screen.text(from));
  const text = make('pre', '', above ? `${above}\n` : '', here);
  text.tabIndex = 0;
  const said = make('p', 'said');
  said.role = 'status';
  const take = (label: string, chosen: () => string): HTMLButtonElement =>
    button(label, () => {
      const wanted = chosen();
      if (!wanted) return void (said.textContent = 'Nothing is selected. Select some text, then copy.');
      dialog.close();
      copy(wanted);
    });
  const row = buttons(
    button('Close', () => dialog.close()),
    take('Copy all', () => text.textContent ?? ''),
    take('Copy selection', () => String(getSelection())),
  );
  // A press would clear the selection.
  row.addEventListener('mousedown', (event) => event.preventDefault());
  const name = 'Text of the terminal';
  const dialog = openDialog(name, [make('h2', '', name), text, said, row], text);
  dialog.element.classList.add('text-sheet');
  here.scrollIntoView();
  const [node, at] = [here.firstChild, here.textContent?.indexOf(selected) ?? -1];
  if (node && selected && at >= 0) getSelection()?.setBaseAndExtent(node, at, node, at + selected.length);
}
