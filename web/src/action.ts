// The type of an action, and the registry that header, menus, palette, help and keyboard share. The actions themselves
// are listed in actions.ts.

import type { IconName } from './icons';
import { isPressed, isPressedOutside } from './shortcuts';
import type { View } from './view';

/**
 * The menus and their labels, in the order of their buttons in the header. The button of `places` is at its left end.
 */
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
 * Whether an action can be chosen now. `absent`: not for this user or console, so it is not shown. `why`: not now, with
 * the reason as the end of a sentence (`you are watching`). `checked`: a switch, or one choice of several.
 */
export type State = 'available' | 'absent' | { why: string } | { checked: boolean };

export interface Action {
  /** Also the id of its button in the header. */
  readonly id: string;
  /** Its label. It ends in `…` if the action asks before it acts. */
  readonly name: string | (() => string);
  /** Its label within its section, without the section's name. */
  readonly short?: string;
  /** Where it is shown besides palette and help: as a button of the header, or in a menu. */
  readonly place?: 'bar' | MenuName;
  /** Groups actions within their menu. */
  readonly section?: string;
  /** The icon of its button in the header. */
  readonly icon?: IconName;
  /** Shown beside its label in a menu. */
  readonly note?: string;
  /** In the form `Ctrl+Shift+C`. The guest does not get this key. */
  readonly shortcut?: string | (() => string);
  /** A key that triggers the action only while the focus is outside of the terminal and of input fields. */
  readonly outside?: string;
  /** Whether the shortcut is handled elsewhere: by the browser, or by tile.ts. */
  readonly native?: boolean;
  /** Whether it is one of the mutually exclusive choices of its section. */
  readonly isChoice?: boolean;
  /** Whether its menu stays open, so that the user can press it repeatedly. */
  readonly stays?: boolean;
  /** Without it, the action is always available. */
  state?(view: View): State;
  run(view: View): unknown;
}

/** All actions, with their current states. */
export class Actions {
  private readonly listeners: (() => void)[] = [];

  constructor(
    readonly list: readonly Action[],
    private readonly view: () => View,
    private readonly say: (words: string) => void,
  ) {}

  /** Runs `listener` now, and whenever a name or a state may have changed. */
  follow(listener: () => void): void {
    this.listeners.push(listener);
    listener();
  }

  /** To be called when the view, or anything else that names and states depend on, has changed. */
  refresh(): void {
    for (const listener of this.listeners) listener();
  }

  state(action: Action): State {
    return action.state?.(this.view()) ?? 'available';
  }

  /** Runs the action, or tells the user why it is not possible now. */
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

/** The action's name without the `…`. */
export function nameOf(action: Action): string {
  return labelOf(action).replace(/…$/, '');
}

export function labelOf({ name }: Action): string {
  return typeof name === 'string' ? name : name();
}

export function shortcutOf({ shortcut }: Action): string | undefined {
  return typeof shortcut === 'function' ? shortcut() : shortcut;
}
