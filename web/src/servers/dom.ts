// Changes of the page that leave alone what has not changed: the focus, the scroll position, a list
// that someone opened and what a screen reader is about to read.

/** What stands for one item of a list. */
export interface Item<T> {
  element: HTMLElement;
  update(value: T): void;
}

/** The items of one list element, by key. */
export class Keyed<T> {
  private items = new Map<string, Item<T>>();

  constructor(
    private readonly parent: HTMLElement,
    private readonly keyOf: (value: T) => string,
    private readonly make: () => Item<T>,
  ) {}

  /** Shows these values, in this order. */
  update(values: T[]): void {
    const items = new Map<string, Item<T>>();
    for (const value of values) {
      const key = this.keyOf(value);
      const item = this.items.get(key) ?? this.make();
      item.update(value);
      items.set(key, item);
    }
    for (const [key, { element }] of this.items) if (!items.has(key)) element.remove();
    this.items = items;
    let next = this.parent.firstElementChild;
    for (const { element } of items.values()) {
      if (element === next) next = next.nextElementSibling;
      else this.parent.insertBefore(element, next);
    }
  }
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: HTMLElement, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Runs a change. Where it takes away what has the focus, that goes to the closest thing around it
 * which is still there and takes it (`tabindex="-1"`), not to the top of the page.
 */
export function keepFocus(change: () => void): void {
  const focused = document.activeElement;
  const around: HTMLElement[] = [];
  for (let at = focused; at && at !== document.body; at = at.parentElement) {
    if (at instanceof HTMLElement && (at === focused || at.hasAttribute('tabindex'))) around.push(at);
  }
  change();
  if (around.length === 0) return;
  const refuge = around.find((element) => element.isConnected && !element.closest('[hidden]'));
  if (refuge && document.activeElement !== refuge) refuge.focus({ preventScroll: true });
}
