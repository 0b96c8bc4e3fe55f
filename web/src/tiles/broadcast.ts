// Broadcast: what is typed into one of the chosen tiles goes to all of them. The user chooses and confirms in one
// dialog, and a red bar is shown for as long as the broadcast lasts.

import { buttons, openDialog } from '../dialog';
import { button, element, make } from '../elements';
import { named } from '../names';
import type { ToTile } from '../tile';
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
    // Tiles may have gone meanwhile.
    this.begin(boxes.flatMap(({ tile, box }) => (box.checked && !tile.element.hidden ? tile : [])));
  }

  /** Passes on that something was typed or pasted into a tile, or that a paste was stopped there. */
  pass(from: Tile, message: ToTile): void {
    if (!this.chosen.has(from)) return;
    for (const other of this.chosen) if (other !== from) other.tell(message);
  }

  /** A tile was closed. */
  leave(tile: Tile): void {
    if (!this.chosen.delete(tile)) return;
    this.mark(tile, false);
    if (this.chosen.size < 2) this.stop();
    else this.show();
  }

  /** Says which consoles get what is typed, and which do not. */
  show(): void {
    const chosen = [...this.chosen];
    const reached = chosen.filter(({ types }) => types).map(({ title }) => named(title));
    const missed = chosen.filter(({ types }) => !types);
    const why = missed.map(({ title, attached }) => `${named(title)} (${attached ? 'watching' : 'not connected'})`);
    this.bar.hidden = chosen.length === 0;
    const to = `What you type goes to ${reached.join(', ') || 'no console'}.`;
    const notTo = why.length > 0 ? ` Not to ${why.join(', ')}.` : '';
    const told = this.chosen.size === 0 ? '' : to + notTo;
    if (this.told.textContent !== told) this.told.textContent = told;
  }

  private begin(tiles: Tile[]): void {
    this.stop();
    this.chosen = new Set(tiles);
    for (const tile of tiles) this.mark(tile, true);
    this.show();
    // The focus already makes the first tile type.
    const [first, ...others] = tiles;
    first?.focus();
    for (const tile of others) tile.tell({ tile: 'take' });
  }

  /** Ends the broadcast. Stops pastes as well, since the user does not see at once where one continues. */
  private stop(): void {
    const [first] = this.chosen;
    for (const tile of this.chosen) {
      this.mark(tile, false);
      tile.tell({ tile: 'stop' });
    }
    this.chosen.clear();
    this.show();
    first?.frame.focus();
  }

  private mark(tile: Tile, on: boolean): void {
    tile.element.classList.toggle('chosen', on);
    tile.tell({ tile: 'broadcast', on });
  }
}
