// The on-screen keyboard: nothing of the page lies under it, a key of the page shows it, and what it composes is
// sent before the next key of the page.

/** Receives what was composed, and says whether the next character means something else. */
export interface Keys {
  readonly holds: boolean;
  press(text: string): void;
}

/** Of the window's height, what is left at most where the keyboard shows. */
const SHRUNK = 0.85;

export class SoftKeyboard {
  /** What is composed and not sent yet: Android composes words of every language. */
  private composed: string | undefined;
  /** The greatest height of this window, and the width that it was seen with. */
  private tallest = 0;
  private width = 0;

  constructor(
    private readonly field: HTMLTextAreaElement,
    private readonly keys: Keys,
  ) {
    // Without suggestions, most keyboards send each character at once.
    field.autocomplete = 'off';
    field.addEventListener('compositionupdate', ({ data }) => {
      this.composed = data;
      // The browser must have done with this event.
      if (keys.holds && data) setTimeout(() => this.flush());
    });
    field.addEventListener('compositionend', () => (this.composed = undefined));
    for (const type of ['resize', 'scroll']) {
      window.visualViewport?.addEventListener(type, () => this.lay());
    }
    this.lay();
  }

  /** Sends what is composed. xterm.js drops it where it loses the focus. */
  flush(): void {
    const { composed } = this;
    if (!composed) return;
    this.again();
    for (const character of composed) this.keys.press(character);
  }

  /** Shows the keyboard or, where it is there already, hides it. */
  toggle(): void {
    this.flush();
    const height = window.visualViewport?.height ?? innerHeight;
    const shows = document.activeElement === this.field && height < this.tallest * SHRUNK;
    if (shows) this.field.blur();
    else this.again();
  }

  /** A field that has the focus already shows no keyboard, and ends no composition. */
  private again(): void {
    this.field.blur();
    this.field.focus();
  }

  /** Fits the page into what the keyboard leaves. A window that is enlarged by two fingers moves over the page instead. */
  private lay(): void {
    const { visualViewport: seen } = window;
    if (!seen || Math.abs(seen.scale - 1) > 0.01) return;
    if (seen.width !== this.width) this.tallest = 0;
    this.width = seen.width;
    this.tallest = Math.max(this.tallest, seen.height);
    const { style } = document.documentElement;
    style.setProperty('--height', `${seen.height}px`);
    style.setProperty('--top', `${seen.offsetTop}px`);
  }
}
