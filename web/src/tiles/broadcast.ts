// Broadcast: what is typed into one of some chosen tiles goes to all of them. The user chooses and confirms in one
// question, and a red bar says it for as long as it lasts.

import { buttons, openDialog } from '../dialog';
import { button, element, make } from '../elements';
import { named } from '../names';
import type { Tile } from './tile';

export class Broadcast {
  private chosen = new Set<Tile>();
  private readonly bar = element('broadcasting', HTMLElement);
  private readonly told = element('broadcast-told', HTMLElement);

  constructor() {
    element('stop', HTMLButtonElement).addEventListener('click', () => this.stop());
  }

  /** Asks which of these tiles, and begins. */
  async ask(tiles: readonly Tile[]): Promise<void> {
    const boxes = tiles.map((tile) => {
      const box = make('input', '');
      box.type = 'checkbox';
      box.checked = true;
      return { tile, box, label: make('label', 'choice', box, make('bdi', '', tile.title)) };
    });
    const cancel = button('Cancel', () => dialog.close());
    const begin = button('Broadcast', () => dialog.close('yes'));
    begin.className = 'danger';
    const text = 'What you type or paste into one of these consoles goes to all of them, until you stop it.';
    const choices = make('fieldset', '', make('legend', '', 'Consoles'), ...boxes.map(({ label }) => label));
    const count = (): void => void (begin.disabled = boxes.filter(({ box }) => box.checked).length < 2);
    choices.addEventListener('change', count);
    count();
    const title = 'Type into several consoles at once?';
    const content = [make('h2', '', title), make('p', '', text), choices, buttons(cancel, begin)];
    const dialog = openDialog(title, content, cancel);
    if (!(await dialog.closed)) return;
    this.begin(boxes.flatMap(({ tile, box }) => (box.checked ? tile : [])));
  }

  /** Something was typed or pasted into a tile. */
  hear(from: Tile, tile: 'type' | 'paste', text: string): void {
    if (!this.chosen.has(from)) return;
    for (const other of this.chosen) if (other !== from) other.tell({ tile, text });
  }

  /** A tile is gone. */
  leave(tile: Tile): void {
    if (!this.chosen.delete(tile)) return;
    if (this.chosen.size < 2) this.stop();
    else this.show();
  }

  /** Says which consoles get what is typed, and which do not. */
  show(): void {
    const [reached, missed] = [true, false].map((takes) =>
      [...this.chosen].filter(({ takesInput }) => takesInput === takes).map(({ title }) => named(title)),
    );
    this.bar.hidden = this.chosen.size === 0;
    const to = `What you type goes to ${reached?.join(', ') || 'no console'}.`;
    const notTo = missed?.length ? ` Not to ${missed.join(', ')}: you are not typing there.` : '';
    const told = this.chosen.size === 0 ? '' : to + notTo;
    if (this.told.textContent !== told) this.told.textContent = told;
  }

  private begin(tiles: Tile[]): void {
    this.stop();
    this.chosen = new Set(tiles);
    for (const { element } of tiles) element.classList.add('chosen');
    this.show();
    // The one that gets the focus comes to type by that.
    const [first, ...others] = tiles;
    first?.focus();
    for (const tile of others) tile.tell({ tile: 'take' });
  }

  private stop(): void {
    for (const { element } of this.chosen) element.classList.remove('chosen');
    this.chosen.clear();
    this.show();
  }
}
