// What the table shows: chips, the filter, the order. This tab keeps it for a user who comes back from a console.

import { element } from '../elements';
import { setAttribute, setText } from './dom';
import { CHIPS, COLUMNS } from './rows';
import type { Chip, Column, View } from './rows';

const STORE = 'serialproxy.view';

export class Choice {
  private readonly filter = element('filter', HTMLInputElement);
  view: View = kept();

  /** Runs `onChange` whenever the user chooses something else. */
  constructor(private readonly onChange: () => void) {
    this.filter.value = this.view.filter;
    this.filter.addEventListener('input', () => this.change({ filter: this.filter.value }));
    for (const chip of CHIPS) this.chip(chip).addEventListener('click', () => this.change({ chip }));
    document.addEventListener('keydown', (event) => this.handleKey(event));
  }

  /** Shows the server that a link names. */
  find(name: string): void {
    this.view = { ...this.view, chip: 'all', filter: name };
    this.filter.value = name;
  }

  /** Sorts by a column. If the table is sorted by it already, reverses the order. */
  sort(column: Column): void {
    const descending = this.view.column === column && !this.view.descending;
    this.change({ column, descending });
  }

  /** Shows which chip is chosen, and how many rows each has. */
  update(counts: Record<Chip, number>): void {
    for (const chip of CHIPS) {
      setAttribute(this.chip(chip), 'aria-pressed', String(chip === this.view.chip));
      setText(element(`count-${chip}`, HTMLElement), String(counts[chip]));
    }
  }

  private chip(chip: Chip): HTMLButtonElement {
    return element(`chip-${chip}`, HTMLButtonElement);
  }

  private change(part: Partial<View>): void {
    this.view = { ...this.view, ...part };
    keep(this.view);
    this.onChange();
  }

  /** `/` goes to the filter, and Escape empties it. */
  private handleKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const isTyping = event.target instanceof Element && event.target.matches('input, dialog *, [role=menu] *');
    if (event.key === '/' && !isTyping && !this.filter.hidden) {
      event.preventDefault();
      this.filter.focus();
      this.filter.select();
    }
    if (event.key === 'Escape' && event.target === this.filter && this.filter.value !== '') {
      event.preventDefault();
      this.filter.value = '';
      this.change({ filter: '' });
    }
  }
}

function kept(): View {
  const usual: View = { chip: 'all', filter: '', column: 'name', descending: false };
  try {
    const view = JSON.parse(sessionStorage.getItem(STORE) ?? '{}') as Partial<View>;
    return {
      chip: CHIPS.find((chip) => chip === view.chip) ?? usual.chip,
      filter: typeof view.filter === 'string' ? view.filter : usual.filter,
      column: COLUMNS.find((column) => column === view.column) ?? usual.column,
      descending: view.descending === true,
    };
  } catch {
    return usual;
  }
}

function keep(view: View): void {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(view));
  } catch {
    // Storage can be full or switched off; then the view lasts as long as the page.
  }
}
