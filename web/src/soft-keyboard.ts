// The on-screen keyboard: the page ends above it, a key of the page shows it, and the text that it composes is sent
// before the next key of the page.

/** Receives the composed text. `holds`: whether Ctrl or Alt of the page changes the next character. */
export interface Keys {
  readonly holds: boolean;
  press(text: string): void;
}

/** The keyboard counts as shown if less than this part of the window's height is visible. */
const SHRUNK = 0.85;

export class SoftKeyboard {
  /** The composed text that is not sent yet. Android composes words of every language. */
  private composed: string | undefined;
  /** The greatest visible height of this window, and the width at which it was seen. */
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
      // Later, because the browser must have finished this event.
      if (keys.holds && data) setTimeout(() => this.flush());
    });
    field.addEventListener('compositionend', () => (this.composed = undefined));
    for (const type of ['resize', 'scroll']) {
      window.visualViewport?.addEventListener(type, () => this.lay());
    }
    this.lay();
  }

  /** Sends the composed text. xterm.js drops it when it loses the focus. */
  flush(): void {
    const { composed } = this;
    if (!composed) return;
    this.again();
    for (const character of composed) this.keys.press(character);
  }

  /** Shows the keyboard or, if it is shown, hides it. */
  toggle(): void {
    this.flush();
    const height = window.visualViewport?.height ?? innerHeight;
    const shows = document.activeElement === this.field && height < this.tallest * SHRUNK;
    if (shows) this.field.blur();
    else this.again();
  }

  /** Focuses the field again: while it has the focus, `focus` shows no keyboard, and ends no composition. */
  private again(): void {
    this.field.blur();
    this.field.focus();
  }

  /**
   * Fits the page into the area above the keyboard. In a window that is zoomed with two fingers, that area moves over
   * the page instead.
   */
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
