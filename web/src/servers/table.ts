// The table. Its header sorts it, and only the rows in view have elements, however many rows there are.

import { element } from '../elements';
import { keepFocus, setAttribute } from './dom';
import { TableRow } from './row';
import type { Actions } from './row';
import { COLUMNS } from './rows';
import type { Column, Row, View } from './rows';

/** Rows that are drawn beyond the edges of the window, so that the keyboard finds the next one. */
const BEYOND = 8;

/** Maximum number of row elements that are kept for reuse. */
const SPARE = 40;

/** Keys that move between rows, and by how many. Home and End move to the ends of the table. */
const STEPS: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };

export class Table {
  private readonly table = element('servers', HTMLTableElement);
  private readonly body = element('rows', HTMLTableSectionElement);
  private readonly shown = new Map<string, TableRow>();
  private readonly spare: TableRow[] = [];
  private rows: readonly Row[] = [];
  private isOld = false;
  /** Height of a row in pixels, measured at the first one that is drawn. */
  private height = 36;
  private planned = 0;

  constructor(
    private readonly actions: Actions,
    onSort: (column: Column) => void,
  ) {
    for (const column of COLUMNS) {
      this.header(column).querySelector('button')?.addEventListener('click', () => onSort(column));
    }
    const plan = (): void => {
      this.planned ||= requestAnimationFrame(() => this.paint());
    };
    addEventListener('scroll', plan, { passive: true });
    addEventListener('resize', plan);
    this.body.addEventListener('keydown', (event) => this.handleKey(event));
  }

  /** Shows these rows. `isOld`: the data is not current. */
  update(rows: readonly Row[], { column, descending }: View, isOld: boolean): void {
    this.rows = rows;
    this.isOld = isOld;
    this.table.hidden = rows.length === 0;
    this.table.classList.toggle('old', isOld);
    setAttribute(this.table, 'aria-rowcount', String(rows.length + 1));
    for (const one of COLUMNS) {
      const order = descending ? 'descending' : 'ascending';
      setAttribute(this.header(one), 'aria-sort', one === column ? order : 'none');
    }
    this.paint();
  }

  /** Brings the ages up to date. */
  tick(): void {
    const now = new Date();
    for (const row of this.shown.values()) row.tick(now);
  }

  private header(column: Column): HTMLElement {
    return element(`by-${column}`, HTMLTableCellElement);
  }

  /** Draws the rows in view. */
  private paint(): void {
    if (this.planned) cancelAnimationFrame(this.planned);
    this.planned = 0;
    keepFocus(() => this.draw());
    const drawn = this.body.querySelector<HTMLElement>('.row')?.offsetHeight ?? 0;
    if (drawn > 0 && Math.abs(drawn - this.height) >= 1) {
      this.height = drawn;
      this.draw();
    }
  }

  private draw(): void {
    const { rows, height, body, shown } = this;
    body.style.height = `${rows.length * height}px`;
    const top = -body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / height) - BEYOND);
    const last = Math.min(rows.length, Math.ceil((top + innerHeight) / height) + BEYOND);
    const indexes = this.wanted(first, last);
    const keys = new Set(indexes.map((index) => rows[index]?.key));
    for (const [key, row] of shown) {
      if (keys.has(key)) continue;
      // The element that had the focus is not reused: the focus would move to another port.
      const isReusable = this.spare.length < SPARE && !row.element.contains(document.activeElement);
      row.element.remove();
      shown.delete(key);
      if (isReusable) this.spare.push(row);
    }
    const now = new Date();
    let next = body.firstElementChild;
    for (const index of indexes) {
      const row = rows[index];
      if (!row) continue;
      const drawn = shown.get(row.key) ?? this.spare.pop() ?? new TableRow(this.actions);
      shown.set(row.key, drawn);
      drawn.element.style.transform = `translateY(${index * height}px)`;
      drawn.update(row, index, now, this.isOld);
      if (drawn.element === next) next = next.nextElementSibling;
      else body.insertBefore(drawn.element, next);
    }
  }

  /** The rows to draw, in order: those in view, and the one that has the focus. */
  private wanted(first: number, last: number): number[] {
    const indexes = Array.from({ length: Math.max(0, last - first) }, (_, at) => first + at);
    const focused = this.focused();
    if (focused >= 0 && focused < first) indexes.unshift(focused);
    else if (focused >= last) indexes.push(focused);
    return indexes;
  }

  /** Index of the row that has the focus, or whose menu is open. */
  private focused(): number {
    const has = ({ element }: TableRow): boolean =>
      element.contains(document.activeElement) || element.querySelector('[aria-expanded=true]') !== null;
    for (const [key, row] of this.shown) {
      if (has(row)) return this.rows.findIndex((one) => one.key === key);
    }
    return -1;
  }

  /** Moves the focus to the same control in another row. */
  private handleKey(event: KeyboardEvent): void {
    const { activeElement } = document;
    const cell = activeElement?.closest('td');
    if (!cell || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const end = event.key === 'Home' ? -this.rows.length : event.key === 'End' ? this.rows.length : 0;
    const step = STEPS[event.key] ?? end;
    if (step === 0) return;
    event.preventDefault();
    const to = Math.min(Math.max(this.focused() + step, 0), this.rows.length - 1);
    this.reveal(to);
    const there = this.shown.get(this.rows[to]?.key ?? '')?.element.cells[cell.cellIndex];
    const same = there?.querySelector<HTMLElement>(`.${activeElement?.className || 'none'}`);
    (same ?? there?.querySelector<HTMLElement>('a[href], button'))?.focus({ preventScroll: true });
  }

  /** Scrolls a row into view. */
  private reveal(index: number): void {
    const head = this.table.tHead?.getBoundingClientRect().bottom ?? 0;
    const top = this.body.getBoundingClientRect().top + index * this.height;
    if (top < head) scrollBy(0, top - head);
    else if (top + this.height > innerHeight) scrollBy(0, top + this.height - innerHeight);
    this.paint();
  }
}
