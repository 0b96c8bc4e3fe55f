// The tab's title and icon: the console's name, with a mark for events that the user has not seen.

import { element } from './elements';

const MARK = '● ';

/** The mark for an event of which the user asked to be notified. */
const RUNG = '🔔 ';

/** The icon with a dot. */
const RUNG_ICON = `data:image/svg+xml,${encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#12443b"/>' +
    '<path d="m8 10 6 6-6 6M17 22h7" fill="none" stroke="#9fe0cf" stroke-width="3"/>' +
    '<circle cx="23" cy="9" r="8" fill="#ff5a4d"/></svg>',
)}`;

export class Attention {
  private name = document.title;
  private mark = '';
  private readonly icon = element('icon', HTMLLinkElement);
  private readonly usual = this.icon.href;

  /** `onTitle` gets the tab's title whenever the title or its mark is set. */
  constructor(private readonly onTitle: (title: string) => void) {
    document.addEventListener('visibilitychange', () => this.see());
    window.addEventListener('focus', () => this.see());
  }

  /** Whether the user looks at this tab. */
  get isSeen(): boolean {
    return !document.hidden && document.hasFocus();
  }

  /** Sets the name in the title. */
  rename(name: string): void {
    this.name = name;
    this.set(this.mark);
  }

  /** There is new output: marks a hidden tab. */
  call(): void {
    if (document.hidden && !this.mark) this.set(MARK);
  }

  /** An event occurred of which the user asked to be notified. */
  ring(): void {
    if (!this.isSeen) this.set(RUNG);
  }

  private see(): void {
    if (!document.hidden && (this.mark === MARK || document.hasFocus())) this.set('');
  }

  private set(mark: string): void {
    this.mark = mark;
    const title = mark + this.name;
    if (document.title !== title) document.title = title;
    this.onTitle(title);
    const icon = mark === RUNG ? RUNG_ICON : this.usual;
    if (this.icon.href !== icon) this.icon.href = icon;
  }
}
