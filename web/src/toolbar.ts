// The header's buttons: actions that are needed often, and the menus of all others. Each is an icon, whose name and
// shortcut a tip shows on hover and focus.

import { MENUS, labelOf, shortcutOf } from './action';
import type { Action, Actions, MenuName } from './action';
import { element, make } from './elements';
import { icon } from './icons';
import type { IconName } from './icons';
import { Menu } from './menu';
import { ariaShortcut } from './shortcuts';

export class Toolbar {
  constructor(private readonly actions: Actions) {
    const bar = element('tools', HTMLElement);
    bar.hidden = false;
    for (const action of actions.list) if (action.place === 'bar') this.add(bar, action);
    for (const name of Object.keys(MENUS) as MenuName[]) {
      this.addMenu(name === 'places' ? element('places-place', HTMLElement) : bar, name);
    }
    // WCAG 1.4.13: Escape hides a tip while the pointer and the focus stay.
    const hide = (isHidden: boolean): void => void document.body.toggleAttribute('data-no-tips', isHidden);
    document.addEventListener('keydown', ({ key }) => hide(key === 'Escape'), { capture: true });
    document.addEventListener('pointermove', () => hide(false));
  }

  private add(bar: HTMLElement, action: Action): void {
    const { button, tip } = place(bar, action.id, action.icon ?? 'more');
    button.addEventListener('click', () => this.actions.run(action));
    this.actions.follow(() => {
      const [state, shortcut] = [this.actions.state(action), shortcutOf(action)];
      const why = typeof state === 'object' && 'why' in state ? state.why : undefined;
      button.hidden = state === 'absent';
      button.disabled = why !== undefined;
      button.ariaPressed = typeof state === 'object' && 'checked' in state ? String(state.checked) : null;
      if (shortcut) button.setAttribute('aria-keyshortcuts', ariaShortcut(shortcut));
      name(button, tip, labelOf(action), why ?? shortcut);
    });
  }

  private addMenu(bar: HTMLElement, menu: MenuName): void {
    const { button, tip } = place(bar, `${menu}-button`, menu);
    name(button, tip, MENUS[menu], undefined);
    new Menu(menu, this.actions, button);
  }
}

/** A button of the header, and its tip. */
function place(bar: HTMLElement, id: string, image: IconName): { button: HTMLButtonElement; tip: HTMLElement } {
  const button = make('button', 'tool', icon(image));
  const tip = make('span', 'tip');
  button.type = 'button';
  button.id = id;
  tip.ariaHidden = 'true';
  bar.append(make('div', 'tipped', button, tip));
  return { button, tip };
}

function name(button: HTMLButtonElement, tip: HTMLElement, label: string, beside: string | undefined): void {
  button.ariaLabel = label;
  tip.replaceChildren(label, ...(beside ? [' ', make('small', '', beside)] : []));
}
