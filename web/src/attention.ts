// The tab's title: the console's name, with a mark when something came while nobody looked.

const MARK = '● ';

export class Attention {
  private name = document.title;
  private marked = false;

  constructor() {
    document.addEventListener('visibilitychange', () => document.hidden || this.set(false));
  }

  /** What the tab shows. */
  rename(name: string): void {
    this.name = name;
    this.set(this.marked);
  }

  /** Something came. */
  call(): void {
    if (document.hidden && !this.marked) this.set(true);
  }

  private set(marked: boolean): void {
    this.marked = marked;
    const title = (marked ? MARK : '') + this.name;
    if (document.title !== title) document.title = title;
  }
}
