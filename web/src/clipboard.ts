// Copy and paste. Browsers offer `navigator.clipboard` on https and localhost only, and some never let a page read it.
// So copying has a fallback, and if an operation fails, the user is told what to do instead.

import type { Screen } from './terminal';

export class Clipboard {
  constructor(
    private readonly screen: Screen,
    private readonly say: (words: string) => void,
    private readonly onPaste: (text: string) => Promise<void>,
  ) {
    // In the capture phase, before xterm.js, which would send the whole text at once.
    screen.term.element?.addEventListener('paste', (event) => this.take(event), { capture: true });
  }

  /** Copies `text`, by default the terminal's selection. */
  async copy(text = this.screen.term.getSelection()): Promise<void> {
    if (!text) return this.say('Nothing is selected. Select some text, then copy.');
    if (await this.write(text)) this.say('Copied.');
    else this.say('This browser did not let the page copy. Use its own menu on the selection.');
    this.screen.focus();
  }

  /** Copies a text of this page, such as a command, and shows it. */
  async copyWords(words: string): Promise<void> {
    this.say((await this.write(words)) ? `Copied: ${words}` : `Copy this yourself: ${words}`);
    this.screen.focus();
  }

  /** Copies a link. Shows it only if copying fails, because everybody who reads the link can use it. */
  async copyLink(url: string): Promise<void> {
    this.say((await this.write(url)) ? 'Copied a link that only watches.' : `Copy this yourself: ${url}`);
    this.screen.focus();
  }

  async paste(): Promise<void> {
    let text;
    try {
      text = await navigator.clipboard.readText();
    } catch {
      this.say(
        'This browser does not let the page read the clipboard. Press Ctrl+Shift+V instead.',
      );
    }
    this.screen.focus();
    if (text) await this.onPaste(text);
  }

  private take(event: ClipboardEvent): void {
    event.preventDefault();
    event.stopPropagation();
    const text = event.clipboardData?.getData('text/plain');
    if (text) void this.onPaste(text);
  }

  /** Copies a text, and returns whether that succeeded. */
  async write(text: string): Promise<boolean> {
    return (await writeModern(text)) || writeClassic(text);
  }
}

async function writeModern(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function writeClassic(text: string): boolean {
  let copied = false;
  const fill = (event: ClipboardEvent): void => {
    event.clipboardData?.setData('text/plain', text);
    event.preventDefault();
    event.stopImmediatePropagation();
    copied = true;
  };
  document.addEventListener('copy', fill, { capture: true, once: true });
  document.execCommand('copy');
  document.removeEventListener('copy', fill, { capture: true });
  return copied;
}
