// The search bar over the terminal's output.

import { SearchAddon } from '@xterm/addon-search';
import type { Terminal } from '@xterm/xterm';

import { element } from './elements';
import type { Theme } from './theme';

/** Matches that are marked and counted at most. */
const LIMIT = 1000;

export class Search {
  private readonly addon = new SearchAddon({ highlightLimit: LIMIT });
  private readonly bar = element('search', HTMLFormElement);
  private readonly input = element('term', HTMLInputElement);
  private readonly matches = element('matches', HTMLElement);

  constructor(
    private readonly term: Terminal,
    private readonly theme: Theme,
    private readonly onChange: () => void,
  ) {
    term.loadAddon(this.addon);
    this.addon.onDidChangeResults((found) => this.showCount(found.resultIndex, found.resultCount));
    this.bar.addEventListener('submit', (event) => {
      event.preventDefault();
      this.next();
    });
    this.bar.addEventListener('keydown', (event) => this.handleKey(event));
    this.input.addEventListener('input', () => this.next(true));
    element('previous', HTMLButtonElement).addEventListener('click', () => this.previous());
    element('close-search', HTMLButtonElement).addEventListener('click', () => this.close());
  }

  get isOpen(): boolean {
    return !this.bar.hidden;
  }

  /** Its own button closes it too; its shortcut goes to it. */
  toggle(): void {
    if (this.isOpen && document.activeElement?.id === 'find') this.close();
    else this.open();
  }

  private open(): void {
    this.bar.hidden = false;
    this.onChange();
    this.input.focus();
    this.input.select();
    if (this.input.value) this.next(true);
  }

  private close(): void {
    this.bar.hidden = true;
    this.onChange();
    this.addon.clearDecorations();
    this.term.focus();
  }

  private handleKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      event.preventDefault();
      this.close();
    } else if (event.key === 'Enter' && event.shiftKey && event.target === this.input) {
      event.preventDefault();
      this.previous();
    }
  }

  private next(incremental = false): void {
    this.addon.findNext(this.input.value, { incremental, decorations: this.theme.marks });
    if (!this.input.value) this.matches.textContent = '';
  }

  private previous(): void {
    this.addon.findPrevious(this.input.value, { decorations: this.theme.marks });
  }

  private showCount(index: number, count: number): void {
    if (!this.input.value) this.matches.textContent = '';
    else if (count === 0) this.matches.textContent = 'no match';
    else if (index < 0) this.matches.textContent = `${count} or more matches`;
    else this.matches.textContent = `${index + 1} of ${count}`;
  }
}
