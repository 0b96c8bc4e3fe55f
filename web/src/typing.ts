// Everything that goes to the guest as input passes here: keys, the terminal's answers, pastes.

import { ask } from './ask';
import type { KeyBar } from './key-bar';
import { concernsOf } from './paste-concerns';
import type { PasteQueue } from './paste-queue';
import type { Session } from './session';
import type { Settings } from './settings';
import type { FromTile } from './tile';

/** Maximum bytes of a paste: a minute and a half of a serial port. */
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

  /** Sends what was typed here, as UTF-8. */
  text(text: string): void {
    const modified = this.keys.modify(text);
    // Mouse reports are not passed on: their meaning depends on what each screen shows.
    if (!modified.startsWith('\x1b[<')) this.tell({ tile: 'typed', text: modified });
    const sent = modified === text ? this.settings.key(text) : modified;
    this.send(this.encoder.encode(sent));
  }

  /** Sends what was typed in another tile, if this session types. */
  again(text: string): void {
    if (this.session.view.attachment?.writes) this.send(this.encoder.encode(this.settings.key(text)));
  }

  /** Sends bytes: each character stands for one. */
  binary(text: string): void {
    this.send(Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff));
  }

  /** Pastes, after a question where it may do harm. */
  async paste(text: string, isBracketed: () => boolean): Promise<void> {
    if (this.refuses()) return;
    // The other consoles of a broadcast may not take it in one piece.
    const concerns = concernsOf(text, isBracketed() && !this.isBroadcast);
    if (this.bytesOf(text).length > PASTE_BYTES) {
      return this.say('Not pasted: the text is larger than 1 MiB. Transfer it as a file.');
    }
    if (concerns && !(await ask({ ...concerns, yes: 'Paste' }))) return;
    if (this.refuses()) return;
    this.tell({ tile: 'pasted', text });
    // Asked again: the guest may have booted meanwhile.
    this.pasteAgain(text, isBracketed());
  }

  /** Pastes without a question. */
  pasteAgain(text: string, isBracketed: boolean): void {
    if (this.refuses()) return;
    this.used = true;
    this.queue.paste(this.bytesOf(text), isBracketed);
  }

  private bytesOf(text: string): Uint8Array<ArrayBuffer> {
    return this.encoder.encode(this.settings.lines(prepare(text)));
  }

  /** Returns whether nothing can be pasted now, and tells the user why. */
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

  /** The guest has booted: drops what is left of a paste, without ending a bracketed one. */
  forgetPaste(why: string): void {
    if (!this.queue.busy) return;
    this.queue.forget();
    this.cancelPaste(why);
  }

  /** Sends an answer of the terminal. Unlike a key, it stops no paste, and skips no old output. */
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
