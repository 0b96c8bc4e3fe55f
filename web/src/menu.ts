// A menu of buttons behind a button, as the WAI-ARIA pattern has it: arrows move, Escape closes.

import { element } from './elements';

export class Menu {
  private readonly opener: HTMLButtonElement;
  private readonly list: HTMLElement;

  /** `id` names the menu; its button is called `ID-button`. `onOpen` brings it up to date. */
  constructor(
    id: string,
    private readonly onOpen: () => void = () => undefined,
  ) {
    this.list = element(id, HTMLElement);
    this.opener = element(`${id}-button`, HTMLButtonElement);
    this.opener.ariaHasPopup = 'menu';
    this.opener.setAttribute('aria-controls', id);
    this.opener.ariaExpanded = 'false';
    this.opener.addEventListener('click', () => (this.list.hidden ? this.open() : this.close()));
    this.opener.addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowDown') return;
      event.preventDefault();
      this.open();
    });
    this.list.addEventListener('keydown', (event) => this.handleKey(event));
    // Closes before the item acts, so that a question gives the focus back to the opener. An item
    // that `data-stay` marks may be pressed again and again.
    const choose = ({ target }: Event): void => {
      const item = target instanceof Element ? target.closest('button') : null;
      if (item && !('stay' in item.dataset)) this.close();
    };
    this.list.addEventListener('click', choose, { capture: true });
    document.addEventListener('pointerdown', ({ target }) => {
      const inside = target instanceof Node && this.opener.parentElement?.contains(target);
      if (!inside) this.hide();
    });
    this.list.addEventListener('focusout', ({ relatedTarget }) => {
      if (relatedTarget instanceof Node && !this.list.contains(relatedTarget)) this.hide();
    });
  }

  private get items(): HTMLButtonElement[] {
    return [...this.list.querySelectorAll<HTMLButtonElement>('button:not([hidden], :disabled)')];
  }

  private open(): void {
    this.onOpen();
    this.list.hidden = false;
    this.opener.ariaExpanded = 'true';
    this.items[0]?.focus();
  }

  /** Gives the focus back where it was inside. */
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
