// The bell notifies the user of a login prompt, a kernel panic, a text or silence: by a mark on the tab and, if the
// user allows it, by a notification of the browser.

import type { Attention } from './attention';
import { buttons, openDialog } from './dialog';
import { button, make } from './elements';
import { CONTROL, Landmarks } from './landmarks';
import type { Landmark } from './landmarks';
import { count } from './times';

/** Maximum characters of the text to wait for. */
const TEXT = 100;

/** An unfinished escape sequence of fewer characters is kept until the next frame. */
const SPLIT = 64;

/** Milliseconds within which the same event rings only once. */
const ONCE = 10_000;

const MINUTE = 60_000;

const SILENCES = [1, 5, 15, 60];

const FOUND: Record<Landmark, string> = { login: 'Login prompt', panic: 'Kernel panic' };

interface Wanted {
  login: boolean;
  panic: boolean;
  /** Minutes of silence; 0 to ignore silence. */
  silence: number;
  text: string;
}

export class Bell {
  private wanted: Wanted = { login: false, panic: false, silence: 0, text: '' };
  /** The end of the output so far: an unfinished escape sequence, and characters with which the text may begin. */
  private cut = '';
  private tail = '';
  private silent: ReturnType<typeof setTimeout> | undefined;
  private hears = false;
  private readonly landmarks = new Landmarks();
  private readonly rung = new Map<string, number>();

  /** `say` shows a short message; `onChange` runs when the bell was set. */
  constructor(
    private readonly attention: Attention,
    private readonly say: (words: string) => void,
    private readonly onChange: () => void,
  ) {}

  get isOn(): boolean {
    const { login, panic, silence, text } = this.wanted;
    return login || panic || silence > 0 || text !== '';
  }

  /** Searches live output, and restarts the wait for silence. */
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
    // A match must not ring again together with later output.
    this.tail = plain.slice(Math.max(at < 0 ? 0 : at + text.length, plain.length - text.length + 1));
  }

  /** Opens the dialog in which the user chooses the events. `console` is the console's name. */
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
    // Browsers ask only after a click, such as the one on Save.
    if (permission() === 'default') await Notification.requestPermission();
    this.say(permission() === 'granted' ? 'The bell is on.' : `The bell is on. ${hint()}`);
  }

  /** Sets whether a session is attached: without one, silence means nothing. */
  hear(hears: boolean): void {
    if (hears === this.hears) return;
    this.hears = hears;
    this.listen();
  }

  /** Starts to wait for silence again. */
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
      // Chromium on Android allows notifications only from service workers. The mark on the tab remains.
    }
  }
}

function permission(): NotificationPermission | undefined {
  return 'Notification' in window && window.isSecureContext ? Notification.permission : undefined;
}

/** Says how the user will be notified. */
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
