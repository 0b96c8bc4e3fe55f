// The ports that the user chose in the table, to see them side by side.

import { element } from '../elements';
import { named } from '../names';
import { MOST_TILES, tilesPath } from '../places';
import type { Row } from './rows';

export class Picks {
  private readonly rows = new Map<string, Row>();
  private readonly bar = element('picks', HTMLElement);
  private readonly told = element('picks-told', HTMLElement);
  private readonly link = element('side-by-side', HTMLAnchorElement);

  /** Runs `onChange` when the chosen ports change. */
  constructor(private readonly onChange: () => void) {
    element('choose-none', HTMLButtonElement).addEventListener('click', () => this.clear());
  }

  has({ key }: Row): boolean {
    return this.rows.has(key);
  }

  /** Whether as many are chosen as fit side by side. */
  get isFull(): boolean {
    return this.rows.size >= MOST_TILES;
  }

  toggle(row: Row): void {
    if (!this.rows.delete(row.key) && !this.isFull) this.rows.set(row.key, row);
    this.show();
  }

  /** Forgets ports that have no console any more. */
  keep(rows: readonly Row[]): void {
    if (this.rows.size === 0) return;
    const there = new Map(rows.map((row) => [row.key, row]));
    for (const key of this.rows.keys()) {
      if (!there.get(key)?.line) this.rows.delete(key);
    }
    this.fill();
  }

  clear(): void {
    this.rows.clear();
    this.show();
  }

  private show(): void {
    this.fill();
    this.onChange();
  }

  private fill(): void {
    const rows = [...this.rows.values()];
    this.bar.hidden = rows.length === 0;
    const names = rows.map(({ server, port }) => `${named(server.name)}:${port}`).join(', ');
    const told = rows.length === 0 ? '' : `${rows.length} chosen${this.isFull ? ', the most' : ''}: ${names}`;
    if (this.told.textContent !== told) this.told.textContent = told;
    this.link.href = tilesPath(rows.map(({ server, port = 0 }) => ({ server: server.id, port })));
  }
}
