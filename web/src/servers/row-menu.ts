// The menu of a row, as the WAI-ARIA pattern has it: arrows move, Escape closes.

import { make } from '../elements';

/** An entry: a link or an action. With `why`, it is impossible now, shows why, and does nothing. */
export interface Entry {
  label: string;
  why?: string;
  href?: string;
  act?: () => void;
}

let close: (() => void) | undefined;

/** Shows the menu below the button that opened it, or closes it. */
export function showMenu(opener: HTMLButtonElement, label: string, entries: readonly Entry[]): void {
  const isOpen = opener.ariaExpanded === 'true';
  close?.();
  if (isOpen) return;
  const menu = make('div', 'menu');
  menu.setAttribute('role', 'menu');
  menu.setAttribute('aria-label', label);
  const listeners = new AbortController();
  const shut = (): void => {
    listeners.abort();
    close = undefined;
    const hadFocus = menu.contains(document.activeElement);
    opener.ariaExpanded = 'false';
    if (hadFocus && opener.isConnected) opener.focus({ preventScroll: true });
    menu.remove();
  };
  close = shut;
  menu.append(...entries.map((entry) => itemOf(entry, shut)));
  opener.ariaExpanded = 'true';
  (opener.closest('main') ?? document.body).append(menu);
  place(menu, opener);
  const items = [...menu.querySelectorAll<HTMLElement>('[role=menuitem]')];
  items[0]?.focus({ preventScroll: true });
  const { signal } = listeners;
  menu.addEventListener('keydown', (event) => handleKey(event, items, shut), { signal });
  const isOutside = ({ target }: Event): boolean =>
    !(target instanceof Node && (menu.contains(target) || opener.contains(target)));
  document.addEventListener('pointerdown', (event) => isOutside(event) && shut(), { signal });
  // Only if the opener moved: the event of an earlier scroll may come late.
  const { top } = opener.getBoundingClientRect();
  const follow = (): void => {
    if (opener.getBoundingClientRect().top !== top) shut();
  };
  addEventListener('scroll', follow, { signal, passive: true });
  addEventListener('resize', shut, { signal });
}

function itemOf({ label, why, href, act }: Entry, shut: () => void): HTMLElement {
  const item = href === undefined ? make('button', 'item', label) : make('a', 'item', label);
  if (item instanceof HTMLAnchorElement && href !== undefined) item.href = href;
  else (item as HTMLButtonElement).type = 'button';
  item.setAttribute('role', 'menuitem');
  item.tabIndex = -1;
  if (why) {
    item.setAttribute('aria-disabled', 'true');
    item.append(' ', make('small', '', why));
  }
  item.addEventListener('click', () => {
    if (why) return;
    // Closes before it acts, so that a dialog returns the focus to the opener.
    shut();
    act?.();
  });
  return item;
}

function place(menu: HTMLElement, opener: HTMLElement): void {
  const { top, bottom, right } = opener.getBoundingClientRect();
  const above = bottom + menu.offsetHeight > innerHeight && top > menu.offsetHeight;
  menu.style.top = `${above ? top - menu.offsetHeight : bottom}px`;
  menu.style.right = `${Math.max(8, document.documentElement.clientWidth - right)}px`;
}

function handleKey(event: KeyboardEvent, items: HTMLElement[], shut: () => void): void {
  const at = items.findIndex((item) => item === document.activeElement);
  const to: Record<string, number> = {
    ArrowDown: (at + 1) % items.length,
    ArrowUp: (at - 1 + items.length) % items.length,
    Home: 0,
    End: items.length - 1,
  };
  const next = to[event.key];
  if (next !== undefined) items[next]?.focus();
  else if (event.key === 'Escape' || event.key === 'Tab') shut();
  else return;
  if (event.key !== 'Tab') event.preventDefault();
  event.stopPropagation();
}
