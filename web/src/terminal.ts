// The terminal itself: xterm.js with its add-ons, fitted to its place on the page. Knows how to show
// bytes and to hand out what the user types; never whether that may be sent.

import { FitAddon } from '@xterm/addon-fit';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import type { ITheme } from '@xterm/xterm';

import type { Sink } from './output';
import { shortcutOf } from './shortcuts';

/** Lines kept above the screen: about 10 MB at 80 columns. */
const SCROLLBACK = 10_000;

const FONT =
  'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** On a phone, a smaller font leaves more columns. */
const NARROW = matchMedia('(max-width: 480px)');

/** Who hears what the user, or the terminal as an answer to the guest, says. */
export interface Typist {
  onText(text: string): void;
  onBinary(text: string): void;
}

export class Screen implements Sink {
  readonly term: Terminal;
  private readonly fit = new FitAddon();
  private muted = false;

  constructor(
    private readonly place: HTMLElement,
    colours: ITheme,
    typist: Typist,
  ) {
    this.term = new Terminal({
      allowProposedApi: true, // Search marks its matches with it.
      disableStdin: true,
      fontFamily: FONT,
      fontSize: fontSize(),
      linkHandler: {
        activate: (_, link) => openLink(link),
        hover: this.showLink,
        leave: this.hideLink,
      },
      macOptionIsMeta: true,
      minimumContrastRatio: 4.5,
      scrollback: SCROLLBACK,
      theme: colours,
    });
    this.term.loadAddon(this.fit);
    this.term.loadAddon(
      new WebLinksAddon((_, link) => openLink(link), {
        hover: this.showLink,
        leave: this.hideLink,
      }),
    );
    this.term.attachCustomKeyEventHandler((event) => this.belongsToGuest(event));
    this.term.onData((text) => this.muted || typist.onText(text));
    this.term.onBinary((text) => this.muted || typist.onBinary(text));
    this.open();
  }

  write(text: string, shown: () => void): void {
    this.term.write(text, shown);
  }

  /** The terminal answers queries while it parses them, so that is when it must not be heard. */
  replay(text: string, shown: () => void): void {
    this.term.write('', () => (this.muted = true));
    this.term.write(text, () => {
      this.muted = false;
      shown();
    });
  }

  /** CAN ends an escape sequence that was cut off, and SGR 0 keeps its colours out of the note. */
  note(text: string, shown?: () => void): void {
    const plain = text.replace(/\p{Cc}/gu, '');
    this.term.write(`\x18\x1b[0m\r\n\x1b[2m${plain}\x1b[0m\r\n`, shown);
  }

  /** Whether keys mean input. Without it, Tab moves on and nothing typed is heard. */
  allowTyping(allowed: boolean): void {
    this.term.options.disableStdin = !allowed;
  }

  /** Everything that the terminal holds, wrapped lines joined. */
  text(): string {
    const buffer = this.term.buffer.active;
    let text = '';
    for (let at = 0; at < buffer.length; at += 1) {
      const line = buffer.getLine(at);
      text += (at > 0 && !line?.isWrapped ? '\n' : '') + (line?.translateToString(true) ?? '');
    }
    return text.trimEnd();
  }

  private open(): void {
    this.term.open(this.place);
    this.term.textarea?.setAttribute('aria-describedby', 'hint');
    new ResizeObserver(() => this.fit.fit()).observe(this.place);
    NARROW.addEventListener('change', () => {
      this.term.options.fontSize = fontSize();
      this.fit.fit();
    });
    this.showRenderer('dom');
    void this.useWebgl();
  }

  /** The DOM renderer, which always works, stays where WebGL doesn't or is taken away later. */
  private async useWebgl(): Promise<void> {
    try {
      const { WebglAddon } = await import('@xterm/addon-webgl');
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => {
        webgl.dispose();
        this.showRenderer('dom');
      });
      this.term.loadAddon(webgl);
      this.showRenderer('webgl');
    } catch {
      this.showRenderer('dom');
    }
  }

  /** The renderers round the width of a column differently, so the terminal is fitted again. */
  private showRenderer(name: 'dom' | 'webgl'): void {
    this.place.dataset['renderer'] = name;
    this.fit.fit();
  }

  private belongsToGuest(event: KeyboardEvent): boolean {
    const leaves = event.key === 'Tab' && this.term.options.disableStdin === true;
    return !leaves && shortcutOf(event) === undefined;
  }

  /** A link's text may say something else than where it leads. */
  private readonly showLink = (_: MouseEvent, link: string): void => {
    this.place.title = link;
  };

  private readonly hideLink = (): void => {
    this.place.removeAttribute('title');
  };
}

function fontSize(): number {
  return NARROW.matches ? 12 : 14;
}

function openLink(link: string): void {
  if (/^https?:/i.test(link)) window.open(link, '_blank', 'noopener,noreferrer');
}
