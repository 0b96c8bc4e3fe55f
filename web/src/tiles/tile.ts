// A tile: the page of one console in a frame, below a bar with its name, its state and its buttons.

import { button, make } from '../elements';
import { consolePath, root } from '../places';
import type { Place } from '../places';
import type { FromTile, ToTile } from '../tile';

/**
 * Marks with which a title begins: an event of which the user asked to be notified, new output, the end of the session.
 */
const MARKS = /^(?:(🔔|●|✕) )+/u;

/** Milliseconds that a session has to end before its frame is removed. */
const LAST = 2000;

export class Tile {
  readonly element: HTMLElement;
  readonly frame = make('iframe', '');
  private readonly name = make('bdi', '');
  private readonly words = make('span', 'words');
  private readonly alone = make('a', 'alone', 'Open alone');
  /** Whether a session is attached, and whether it types. */
  attached = false;
  types = false;
  mark = '';
  /** The id of the server, once it is known. */
  server = '';
  tone = 'waiting';

  constructor(
    readonly place: Place,
    close: () => void,
  ) {
    const path = root() + consolePath(place.server, place.port);
    this.name.textContent = `${place.server}:${place.port}`;
    this.alone.href = path;
    const end = button('×', close);
    end.title = 'Close this tile';
    const heading = make('h2', '', this.name);
    this.frame.src = `${path}?tile`;
    this.element = make('section', 'tile', make('div', 'bar', heading, this.words, this.alone, end), this.frame);
    this.describe(this.title);
    this.words.dataset['tone'] = this.tone;
  }

  /** The name, such as `web-1:0`. */
  get title(): string {
    return this.name.textContent ?? '';
  }

  /** The state in words. */
  get state(): string {
    return this.words.textContent ?? '';
  }

  hear(message: FromTile): void {
    if (message.tile === 'title') {
      this.mark = MARKS.exec(message.title)?.[1] ?? '';
      this.name.textContent = message.title.replace(MARKS, '').replace(/ – console$/, '');
      this.describe(this.title);
    } else if (message.tile === 'state') {
      ({ attached: this.attached, types: this.types } = message);
      this.tone = message.tone;
      this.words.dataset['tone'] = message.tone;
      if (this.words.textContent !== message.words) this.words.textContent = message.words;
    }
  }

  tell(message: ToTile): void {
    this.frame.contentWindow?.postMessage(message, location.origin);
  }

  /** Whether its frame has the focus. */
  get isActive(): boolean {
    return document.activeElement === this.frame;
  }

  focus(): void {
    this.frame.focus();
    this.tell({ tile: 'focus' });
  }

  /** Removes the tile. Its session ends first, so that others can type at once. */
  leave(): void {
    this.element.hidden = true;
    this.tell({ tile: 'leave' });
    setTimeout(() => this.element.remove(), LAST);
  }

  /** Puts the focus on the first of its buttons. */
  focusBar(): void {
    this.alone.focus();
  }

  private describe(title: string): void {
    this.frame.title = `Console of ${title}`;
    this.element.ariaLabel = title;
    this.element.querySelector('button')?.setAttribute('aria-label', `Close ${title}`);
    this.alone.ariaLabel = `Open alone: ${title}`;
  }
}
