// Everything that goes to the guest as input passes here: keys, the terminal's answers, pastes.

import { ask } from './ask';
import type { KeyBar } from './key-bar';
import { concernsOf } from './paste-concerns';
import type { PasteQueue } from './paste-queue';
import type { Session } from './session';
import type { Settings } from './settings';
import type { FromTile } from './tile';

/** Bytes that are pasted at once at most: a minute and a half of a serial port. */
const PASTE_BYTES = 1024 * 1024;

const CTRL_C = 0x03;

export class Typing {
  private readonly encoder = new TextEncoder();
  /** Whether anything was typed since the page was loaded. */
  used = false;
  /** Whether what is typed here goes to other consoles as well. */
  isBroadcast = false;

  constructor(
    private readonly session: Session,
    private readonly queue: PasteQueue,
    private readonly keys: KeyBar,
    private readonly settings: Settings,
    private readonly say: (words: string) => void,
    private readonly tell: (message: FromTile) => void,
  ) {}

  /** What was typed here, as UTF-8. */
  text(text: string): void {
    const modified = this.keys.modify(text);
    // What the mouse means depends on what is shown.
    if (!modified.startsWith('\x1b[<')) this.tell({ tile: 'typed', text: modified });
    const sent = modified === text ? this.settings.key(text) : modified;
    this.send(this.encoder.encode(sent));
  }

  /** What was typed in another tile. */
  again(text: string): void {
    if (this.session.view.attachment?.writes) this.send(this.encoder.encode(this.settings.key(text)));
  }

  /** What is bytes already: each character stands for one. */
  binary(text: string): void {
    this.send(Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff));
  }

  /** Pastes, after a question where it may do harm. */
  async paste(text: string, isBracketed: () => boolean): Promise<void> {
    if (this.refuses()) return;
    // Not every other console may take it in one piece.
    const concerns = concernsOf(text, isBracketed() && !this.isBroadcast);
    if (this.bytesOf(text).length > PASTE_BYTES) {
      return this.say('Not pasted: the text is larger than 1 MiB. Transfer it as a file.');
    }
    if (concerns && !(await ask({ ...concerns, yes: 'Paste' }))) return;
    if (this.refuses()) return;
    this.tell({ tile: 'pasted', text });
    // The guest may have booted meanwhile.
    this.pasteAgain(text, isBracketed());
  }

  /** Pastes what was asked about already. */
  pasteAgain(text: string, isBracketed: boolean): void {
    if (this.refuses()) return;
    this.used = true;
    this.queue.paste(this.bytesOf(text), isBracketed);
  }

  private bytesOf(text: string): Uint8Array<ArrayBuffer> {
    return this.encoder.encode(this.settings.lines(prepare(text)));
  }

  /** Says why nothing can be pasted, where that is so. */
  private refuses(): boolean {
    const { noPaste } = this.session;
    if (noPaste !== undefined) this.say(`Not pasted: ${noPaste}.`);
    return noPaste !== undefined;
  }

  /** Drops what is left of a paste, and says how much was sent. */
  cancelPaste(why: string): void {
    if (!this.queue.busy) return;
    this.tell({ tile: 'stopped' });
    const { sent, total } = this.queue.cancel();
    this.say(`${why}: ${sent} of ${total} bytes were sent.`);
  }

  /** Drops what is left of a paste, of which the guest has forgotten the beginning. */
  forgetPaste(why: string): void {
    if (!this.queue.busy) return;
    this.queue.forget();
    this.cancelPaste(why);
  }

  /** What the terminal answers is no key: it stops no paste, and nobody waits for what follows it. */
  answer(text: string): void {
    const bytes = this.encoder.encode(text);
    if (this.queue.busy) this.queue.type(bytes);
    else this.session.answer(bytes);
  }

  private send(bytes: Uint8Array<ArrayBuffer>): void {
    this.used = true;
    if (!this.queue.busy) return void this.session.send(bytes);
    if (bytes.length !== 1 || bytes[0] !== CTRL_C) return this.queue.type(bytes);
    this.cancelPaste('Paste stopped by Ctrl+C');
    this.session.send(bytes);
  }
}

/** As a keyboard would send it: Enter is CR. Nothing in it may end a bracketed paste. */
function prepare(text: string): string {
  return text.replace(/\r?\n/g, '\r').replaceAll('\x1b[201~', '');
}
