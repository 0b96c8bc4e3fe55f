// The palette: every action by its name, with its shortcut. What is typed narrows the list.

import { MENUS, labelOf, nameOf, shortcutOf } from './action';
import type { Action, Actions } from './action';
import { openDialog } from './dialog';
import { make } from './elements';

/** Opens the palette. `focus` returns the focus to the terminal. */
export async function openPalette(actions: Actions, focus: () => void): Promise<void> {
  const filter = make('input', '');
  const list = make('ul', 'palette');
  const none = make('p', '', 'No action has these words in its name.');
  filter.ariaLabel = filter.placeholder = 'Filter actions';
  filter.autocomplete = 'off';
  filter.spellcheck = false;
  filter.role = 'combobox';
  filter.ariaExpanded = 'true';
  filter.setAttribute('aria-controls', (list.id = 'palette-list'));
  list.role = 'listbox';
  list.ariaLabel = 'Actions';
  none.role = 'status';

  let shown: Action[] = [];
  let at = 0;
  const show = (): void => {
    const wanted = filter.value.toLowerCase().split(/\s+/);
    const fits = actions.list.filter(
      (action) => actions.state(action) !== 'absent' && wanted.every((word) => wordsOf(action).includes(word)),
    );
    // Actions in which words begin with the filter's words come first.
    const begins = (action: Action): boolean => wanted.every((word) => ` ${wordsOf(action)}`.includes(` ${word}`));
    shown = [...fits.filter(begins), ...fits.filter((action) => !begins(action))];
    at = 0;
    list.replaceChildren(...shown.map((action, index) => itemOf(actions, action, index)));
    none.hidden = shown.length > 0;
    mark();
  };
  const mark = (): void => {
    for (const [index, item] of [...list.children].entries()) item.ariaSelected = String(index === at);
    filter.setAttribute('aria-activedescendant', list.children[at]?.id ?? '');
    list.children[at]?.scrollIntoView({ block: 'nearest' });
  };
  const choose = (index: number): void => {
    const action = shown[index];
    if (!action) return;
    dialog.close('chosen');
    focus();
    actions.run(action);
  };

  filter.addEventListener('input', show);
  filter.addEventListener('keydown', (event) => {
    const to: Record<string, number> = {
      ArrowDown: (at + 1) % shown.length,
      ArrowUp: (at - 1 + shown.length) % shown.length,
      PageDown: Math.min(shown.length - 1, at + 8),
      PageUp: Math.max(0, at - 8),
    };
    const next = to[event.key];
    if (next !== undefined) at = next || 0;
    else if (event.key === 'Enter' && !event.isComposing) choose(at);
    else return;
    event.preventDefault();
    if (event.key !== 'Enter') mark();
  });
  list.addEventListener('click', ({ target }) => {
    if (target instanceof Element) choose([...list.children].findIndex((item) => item.contains(target)));
  });
  const dialog = openDialog('All actions', [filter, none, list], filter);
  show();
  // A chosen action may have moved the focus elsewhere.
  if ((await dialog.closed) === '') focus();
}

/** The filter searches the action's name and that of its menu. */
function wordsOf(action: Action): string {
  return `${menuOf(action)} ${nameOf(action)}`.toLowerCase();
}

function menuOf({ place }: Action): string {
  return place === undefined || place === 'bar' || place === 'places' ? '' : MENUS[place];
}

function itemOf(actions: Actions, action: Action, index: number): HTMLElement {
  const state = actions.state(action);
  const why = typeof state === 'object' && 'why' in state ? state.why : undefined;
  const isOn = typeof state === 'object' && 'checked' in state && state.checked;
  const shortcut = shortcutOf(action);
  const item = make('li', '', make('span', '', labelOf(action)), make('small', '', isOn ? 'on' : (why ?? menuOf(action))));
  if (shortcut) item.append(make('kbd', '', shortcut));
  item.id = `palette-${index}`;
  item.role = 'option';
  if (why !== undefined) item.ariaDisabled = 'true';
  return item;
}
