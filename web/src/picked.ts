// The bar of actions for a selection that was made by touch.

import { button, element } from './elements';
import type { Terminal } from '@xterm/xterm';

/** What the bar's buttons do. */
export interface PickedActions {
  copy(): Promise<void>;
  /** Shows the text, in which more can be selected. */
  more(): void;
}

export class Picked {
  private readonly bar = element('picked', HTMLElement);

  constructor(
    private readonly term: Terminal,
    { copy, more }: PickedActions,
  ) {
    const drop = button('✕', () => term.clearSelection());
    drop.ariaLabel = 'Select nothing';
    this.bar.append(
      button('Copy', () => void copy().then(() => term.clearSelection())),
      button('Select more…', () => {
        more();
        term.clearSelection();
      }),
      drop,
    );
    // A press must not hide the on-screen keyboard.
    this.bar.addEventListener('mousedown', (event) => event.preventDefault());
    term.onSelectionChange(() => (this.bar.hidden ||= !term.hasSelection()));
  }

  show(): void {
    this.bar.hidden = !this.term.hasSelection();
  }
}
