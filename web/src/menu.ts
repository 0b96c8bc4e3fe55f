// A menu of actions behind a button, as the WAI-ARIA pattern has it: arrows move, Escape closes.

import { MENUS, labelOf, shortcutOf } from './action';
import type { Action, Actions, MenuName } from './action';
import { make } from './elements';
import { ariaShortcut } from './shortcuts';

export class Menu {
  private readonly list = make('div', 'menu');
  private readonly sections = new Map<string, HTMLElement>();
  private readonly shown: [Action, HTMLButtonElement][];

  /** The menu opens below the header, which contains `opener`. */
  constructor(
    name: MenuName,
    private readonly actions: Actions,
    private readonly opener: HTMLButtonElement,
  ) {
    const { list } = this;
    list.id = name;
    list.role = 'menu';
    list.ariaLabel = MENUS[name];
    list.hidden = true;
    this.shown = actions.list.filter(({ place }) => place === name).map((action) => [action, this.add(action)]);
    opener.ariaHasPopup = 'menu';
    opener.setAttribute('aria-controls', name);
    opener.ariaExpanded = 'false';
    opener.addEventListener('click', () => (list.hidden ? this.open() : this.close()));
    opener.addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowDown') return;
      event.preventDefault();
      this.open();
    });
    list.addEventListener('keydown', (event) => this.handleKey(event));
    document.addEventListener('pointerdown', ({ target }) => {
      const inside = target instanceof Node && (list.contains(target) || opener.contains(target));
      if (!inside) this.hide();
    });
    list.addEventListener('focusout', ({ relatedTarget }) => {
      if (relatedTarget instanceof Node && !list.contains(relatedTarget)) this.hide();
    });
    opener.parentElement?.after(list);
    actions.follow(() => this.refresh());
  }

  private get items(): HTMLButtonElement[] {
    return this.shown.map(([, item]) => item).filter((item) => !item.hidden);
  }

  private add(action: Action): HTMLButtonElement {
    const item = make('button', '');
    item.type = 'button';
    item.addEventListener('click', () => {
      if (item.ariaDisabled === 'true') return;
      // Closes before it acts, so that a dialog returns the focus to the opener.
      if (!action.stays) this.close();
      this.actions.run(action);
    });
    const section = this.section(action.section ?? '');
    if (action.isChoice && action.section) section.ariaLabel = action.section;
    section.append(item);
    return item;
  }

  private section(name: string): HTMLElement {
    const known = this.sections.get(name);
    if (known) return known;
    const made = make('div', '');
    made.role = 'group';
    this.sections.set(name, made);
    this.list.append(made);
    return made;
  }

  /** Updates the items. A menu without visible items has no button. */
  private refresh(): void {
    for (const [action, item] of this.shown) this.show(action, item);
    for (const section of this.sections.values()) {
      section.hidden = [...section.children].every((item) => item instanceof HTMLElement && item.hidden);
    }
    this.opener.hidden = this.items.length === 0;
    if (this.opener.hidden) this.hide();
  }

  private show(action: Action, item: HTMLButtonElement): void {
    const state = this.actions.state(action);
    const shortcut = shortcutOf(action);
    const why = typeof state === 'object' && 'why' in state ? state.why : undefined;
    item.hidden = state === 'absent';
    item.ariaDisabled = why === undefined ? null : 'true';
    item.role = 'menuitem';
    if (typeof state === 'object' && 'checked' in state) {
      item.role = action.isChoice ? 'menuitemradio' : 'menuitemcheckbox';
      item.ariaChecked = String(state.checked);
    }
    if (shortcut) item.setAttribute('aria-keyshortcuts', ariaShortcut(shortcut));
    const beside = why ?? action.note ?? shortcut;
    item.replaceChildren(action.short ?? labelOf(action), ...(beside ? [' ', make('small', '', beside)] : []));
  }

  private open(): void {
    this.list.hidden = false;
    this.opener.ariaExpanded = 'true';
    this.items[0]?.focus();
  }

  /** Returns the focus to the opener if it was inside. */
  private close(): void {
    if (this.list.contains(document.activeElement)) this.opener.focus();
    this.hide();
  }

  private hide(): void {
    this.list.hidden = true;
    this.opener.ariaExpanded = 'false';
  }

  private handleKey(event: KeyboardEvent): void {
    const { items } = this;
    const at = items.findIndex((item) => item === document.activeElement);
    const to: Record<string, number> = {
      ArrowDown: (at + 1) % items.length,
      ArrowUp: (at - 1 + items.length) % items.length,
      Home: 0,
      End: items.length - 1,
    };
    const next = to[event.key];
    if (next !== undefined) items[next]?.focus();
    else if (event.key === 'Escape' || event.key === 'Tab') this.close();
    else return;
    if (event.key !== 'Tab') event.preventDefault();
  }
}
