// One row of the table. Names and output are inserted as text, and isolated from the text direction around them.

import { button, make } from '../elements';
import { consolePath } from '../places';
import { setAttribute, setText } from './dom';
import type { Picks } from './picks';
import type { Row } from './rows';
import * as words from './words';

/** What the user can do in a row. */
export interface Actions {
  /** The row's console is about to be opened. */
  open(row: Row): void;
  menu(row: Row, opener: HTMLButtonElement): void;
  /** The rows that are chosen to be seen side by side. */
  picks: Pick<Picks, 'has' | 'isFull' | 'toggle'>;
}

export class TableRow {
  readonly element = make('tr', 'row');
  private readonly pick = make('input', 'pick');
  private readonly state = make('span', 'state');
  private readonly name = make('bdi', '');
  private readonly link = make('a', '', this.name);
  private readonly port = make('span', 'port');
  private readonly text = make('bdi', 'text');
  private readonly typist = make('bdi', '');
  private readonly others = make('span', 'others');
  private readonly age = make('span', 'age');
  private readonly fresh = make('span', 'spoken', 'new output');
  private readonly open = make('a', 'open');
  private readonly menu: HTMLButtonElement;
  private row: Row | undefined;

  constructor(private readonly actions: Actions) {
    this.pick.type = 'checkbox';
    this.pick.addEventListener('change', () => {
      if (this.row) actions.picks.toggle(this.row);
    });
    this.menu = button('⋯', () => {
      if (this.row) actions.menu(this.row, this.menu);
    });
    this.menu.className = 'more';
    this.menu.ariaHasPopup = 'menu';
    this.menu.ariaExpanded = 'false';
    for (const link of [this.link, this.open]) {
      link.addEventListener('click', () => {
        if (this.row && link.href) actions.open(this.row);
      });
    }
    this.text.dir = this.name.dir = this.typist.dir = 'auto';
    this.element.setAttribute('role', 'row');
    this.element.append(
      cell('state-cell', this.pick, this.state),
      cell('name-cell', this.link),
      cell('port-cell', this.port),
      cell('text-cell', this.text),
      cell('user-cell', this.typist, this.others),
      cell('age-cell', this.fresh, this.age),
      cell('act-cell', this.open, this.menu),
    );
    this.element.children[1]?.setAttribute('role', 'rowheader');
  }

  /** Shows a row at its index. `isOld`: the data is not current. */
  update(row: Row, index: number, now: Date, isOld: boolean): void {
    this.row = row;
    const { server, line, port } = row;
    const title = port === undefined ? server.name : `${server.name}, port ${port}`;
    setAttribute(this.element, 'aria-rowindex', String(index + 2));
    this.element.classList.toggle('new', row.unseen > 0);
    setText(this.state, row.state);
    setAttribute(this.state, 'data-tone', isOld ? 'unknown' : row.tone);
    setText(this.name, server.name);
    setAttribute(this.link, 'title', server.name);
    setText(this.port, port === undefined ? '' : String(port));
    setText(this.text, row.text);
    this.text.classList.toggle('reason', row.isReason);
    setAttribute(this.text, 'title', row.text);
    setText(this.typist, line?.writer?.user ?? '');
    setAttribute(this.typist, 'title', line ? words.describeTypist(line, now) : '');
    setText(this.others, line ? words.describeOthers(line) : '');
    this.fresh.hidden = row.unseen === 0;
    this.tick(now);
    this.offerPick(row, title);
    this.offer(row, title);
  }

  /** Brings the age up to date. */
  tick(now: Date): void {
    const printed = this.row?.printed;
    setText(this.age, printed === undefined ? '' : words.age(now.getTime() - printed));
    const at = printed === undefined ? '' : `Last output at ${words.clock(new Date(printed))}`;
    const unseen = this.row?.unseen ? `, ${words.size(this.row.unseen)} new` : '';
    setAttribute(this.age, 'title', at === '' ? '' : at + unseen);
  }

  private offerPick(row: Row, title: string): void {
    const { picks } = this.actions;
    this.pick.checked = picks.has(row);
    this.pick.disabled = !row.line || (picks.isFull && !this.pick.checked);
    setAttribute(this.pick, 'aria-label', `Choose ${title}`);
    setAttribute(this.pick, 'title', row.line ? 'Choose, to see several side by side' : 'It has no console now');
  }

  /** The links to the console. If the role forbids one, it is hidden; if one is impossible now, its title says why. */
  private offer({ server, line }: Row, title: string): void {
    const types = server.can.includes('write');
    const label = types ? 'Open' : 'Watch';
    setText(this.open, label);
    setAttribute(this.open, 'aria-label', `${label} ${title}`);
    setAttribute(this.link, 'aria-label', title);
    this.open.hidden = !types && !server.can.includes('watch');
    const why = line ? '' : 'It has no console now';
    const href = line ? consolePath(server.id, line.port) : undefined;
    for (const link of [this.link, this.open]) {
      if (href === undefined) link.removeAttribute('href');
      else setAttribute(link, 'href', href);
    }
    setAttribute(this.open, 'aria-disabled', String(href === undefined));
    setAttribute(this.open, 'title', why);
    setAttribute(this.menu, 'aria-label', `More for ${title}`);
  }
}

function cell(className: string, ...children: Node[]): HTMLTableCellElement {
  const made = make('td', className, ...children);
  made.setAttribute('role', 'cell');
  return made;
}
