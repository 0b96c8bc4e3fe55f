// What the user can do: the parts of an action, and what menus, header, palette, help and keyboard need of all of
// them. The actions themselves are listed in actions.ts.

import type { IconName } from './icons';
import { isPressed, isPressedOutside } from './shortcuts';
import type { View } from './view';

/** The menus, in the order of their buttons in the header; that of `places` is at its left. */
export const MENUS = {
  places: 'Menu',
  share: 'Share',
  machine: 'Machine',
  view: 'View',
  keyboard: 'Keys',
  more: 'More',
} as const;

export type MenuName = keyof typeof MENUS;

/**
 * Whether an action can be chosen now. What this user never may is absent. What is only impossible now says `why`, as
 * the end of a sentence: `you are watching`. `checked` makes it a switch, or one choice of several.
 */
export type State = 'available' | 'absent' | { why: string } | { checked: boolean };

export interface Action {
  /** Also the id of its button in the header. */
  readonly id: string;
  /** In menus, palette and help; with `…` where it asks before it acts. */
  readonly name: string | (() => string);
  /** Its name in its section, which says the rest. */
  readonly short?: string;
  /** Where it is shown besides palette and help: as a button of the header, or in a menu. */
  readonly place?: 'bar' | MenuName;
  /** Actions of one section stand together in their menu. A section of choices shows its name. */
  readonly section?: string;
  /** Of a button of the header. */
  readonly icon?: IconName;
  /** What the name leaves out. */
  readonly note?: string;
  /** As `Ctrl+Shift+C`. The guest does not get this key. */
  readonly shortcut?: string | (() => string);
  /** A key that counts outside of the terminal and of fields only. */
  readonly outside?: string;
  /** Whether the browser itself does what the shortcut means. */
  readonly native?: boolean;
  /** Whether it is one choice of its section. */
  readonly isChoice?: boolean;
  /** Whether its menu stays open, so that it can be pressed again and again. */
  readonly stays?: boolean;
  /** Without it, the action is always available. */
  state?(view: View): State;
  run(view: View): unknown;
}

/** All actions, in the state of now. */
export class Actions {
  private readonly listeners: (() => void)[] = [];

  constructor(
    readonly list: readonly Action[],
    private readonly view: () => View,
    private readonly say: (words: string) => void,
  ) {}

  /** Runs `listener` whenever a name or a state may have changed. */
  follow(listener: () => void): void {
    this.listeners.push(listener);
    listener();
  }

  /** The view changed, or something else that names and states look at. */
  refresh(): void {
    for (const listener of this.listeners) listener();
  }

  state(action: Action): State {
    return action.state?.(this.view()) ?? 'available';
  }

  /** Does it, or says why that is impossible now. */
  run(action: Action): void {
    const state = this.state(action);
    if (typeof state === 'object' && 'why' in state) return this.say(`${nameOf(action)}: ${state.why}.`);
    void action.run(this.view());
    this.refresh();
  }

  /** The action whose shortcut is pressed. */
  pressed(event: KeyboardEvent): Action | undefined {
    return this.list.find((action) => {
      const shortcut = shortcutOf(action);
      if (shortcut !== undefined && isPressed(event, shortcut)) return true;
      return action.outside !== undefined && isPressedOutside(event, action.outside);
    });
  }
}

/** Without the `…`. */
export function nameOf(action: Action): string {
  return labelOf(action).replace(/…$/, '');
}

export function labelOf({ name }: Action): string {
  return typeof name === 'string' ? name : name();
}

export function shortcutOf({ shortcut }: Action): string | undefined {
  return typeof shortcut === 'function' ? shortcut() : shortcut;
}
