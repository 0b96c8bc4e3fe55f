// The bell: tells the user of a login prompt, a kernel panic, a text or silence, by the tab's mark and, if they allow
// it, by a notification of the browser.

import type { Attention } from './attention';
import { buttons, openDialog } from './dialog';
import { button, make } from './elements';
import { CONTROL, Landmarks } from './landmarks';
import type { Landmark } from './landmarks';
import { count } from './times';

/** Characters of a text that is waited for. */
const TEXT = 100;

/** Characters of an escape sequence that may be split over frames. */
const SPLIT = 64;

/** Milliseconds in which the same thing rings once. */
const ONCE = 10_000;

const MINUTE = 60_000;

const SILENCES = [1, 5, 15, 60];

const FOUND: Record<Landmark, string> = { login: 'Login prompt', panic: 'Kernel panic' };

interface Wanted {
  login: boolean;
  panic: boolean;
  /** Minutes; 0 for none. */
  silence: number;
  text: string;
}

export class Bell {
  private wanted: Wanted = { login: false, panic: false, silence: 0, text: '' };
  /** The end of what was printed: an unfinished escape sequence, and characters that the text may begin with. */
  private cut = '';
  private tail = '';
  private silent: ReturnType<typeof setTimeout> | undefined;
  private hears = false;
  private readonly landmarks = new Landmarks();
  private readonly rung = new Map<string, number>();

  /** `say` shows a short message; `onChange` hears that it was turned on or off. */
  constructor(
    private readonly attention: Attention,
    private readonly say: (words: string) => void,
    private readonly onChange: () => void,
  ) {}

  get isOn(): boolean {
    const { login, panic, silence, text } = this.wanted;
    return login || panic || silence > 0 || text !== '';
  }

  /** Live output. */
  printed(output: string): void {
    this.listen();
    const { login, panic, text } = this.wanted;
    if (login || panic) {
      for (const { found } of this.landmarks.split(output)) if (found && this.wanted[found]) this.ring(FOUND[found]);
    }
    if (text === '') return;
    const all = this.cut + output;
    const escape = all.lastIndexOf('\x1b');
    const isCut = escape >= 0 && all.length - escape < SPLIT && all.slice(escape).replace(CONTROL, '').startsWith('\x1b');
    this.cut = isCut ? all.slice(escape) : '';
    const plain = this.tail + (isCut ? all.slice(0, escape) : all).replace(CONTROL, '');
    const at = plain.lastIndexOf(text);
    if (at >= 0) this.ring(`“${text}” was printed`);
    // What has rung does not ring again with what follows.
    this.tail = plain.slice(Math.max(at < 0 ? 0 : at + text.length, plain.length - text.length + 1));
  }

  /** Asks what the user wants to be told of. */
  open(console: string): void {
    const login = box('A login prompt', this.wanted.login);
    const panic = box('A kernel panic', this.wanted.panic);
    const silence = make('select', '', new Option('Never', '0'));
    for (const minutes of SILENCES) silence.append(new Option(count(minutes, 'minute'), String(minutes)));
    silence.value = String(this.wanted.silence);
    const text = make('input', '');
    text.value = this.wanted.text;
    text.maxLength = TEXT;
    text.autocomplete = 'off';
    const cancel = button('Cancel', () => dialog.close());
    const form = make('form', 'bell', make('h2', '', `Notify me of ${console}`));
    form.append(login.label, panic.label, make('label', '', 'Silence for', silence), make('label', '', 'This text', text));
    form.append(make('p', '', hint()), buttons(cancel, make('button', '', 'Save')));
    const dialog = openDialog('Notify me', [form], login.field);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const wanted = { login: login.field.checked, panic: panic.field.checked, silence: Number(silence.value), text: text.value };
      dialog.close();
      void this.want(wanted);
    });
  }

  private async want(wanted: Wanted): Promise<void> {
    this.wanted = wanted;
    this.cut = this.tail = '';
    this.landmarks.begin();
    this.rung.clear();
    this.listen();
    this.onChange();
    if (!this.isOn) return this.say('The bell is off.');
    // Browsers ask only after a click, which this is.
    if (permission() === 'default') await Notification.requestPermission();
    this.say(permission() === 'granted' ? 'The bell is on.' : `The bell is on. ${hint()}`);
  }

  /** Says whether there is a session: without one, silence means nothing. */
  hear(hears: boolean): void {
    if (hears === this.hears) return;
    this.hears = hears;
    this.listen();
  }

  /** Begins to wait for silence. */
  private listen(): void {
    clearTimeout(this.silent);
    const { silence } = this.wanted;
    if (silence > 0 && this.hears) this.silent = setTimeout(() => this.ring(`Silent for ${count(silence, 'minute')}`), silence * MINUTE);
  }

  private ring(words: string): void {
    const now = Date.now();
    if (now - (this.rung.get(words) ?? -Infinity) < ONCE) return;
    this.rung.set(words, now);
    const console = document.title.replace(/^(●|🔔) /, '');
    this.say(`${words}.`);
    const isSeen = this.attention.isSeen;
    this.attention.ring();
    if (isSeen || permission() !== 'granted') return;
    try {
      const notification = new Notification(console, { body: words, tag: `${location.pathname} ${words}` });
      notification.addEventListener('click', () => {
        window.focus();
        notification.close();
      });
    } catch {
      // Chromium on Android notifies from service workers only. The mark is there.
    }
  }
}

function permission(): NotificationPermission | undefined {
  return 'Notification' in window && window.isSecureContext ? Notification.permission : undefined;
}

/** How the user will be told. */
function hint(): string {
  const mark = 'Its tab is marked';
  switch (permission()) {
    case 'granted':
      return `${mark}, and this browser notifies you.`;
    case 'default':
      return `${mark}. This browser asks whether it may notify you, too.`;
    case 'denied':
      return `${mark} only: this browser does not let the page notify. Allow it in the settings of this site.`;
    default:
      return `${mark} only: browsers allow notifications only on https.`;
  }
}

function box(name: string, checked: boolean): { label: HTMLElement; field: HTMLInputElement } {
  const field = make('input', '');
  field.type = 'checkbox';
  field.checked = checked;
  return { label: make('label', 'check', field, name), field };
}
