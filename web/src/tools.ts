// The tools behind "More": what is needed now and then.

import type { Clipboard } from './clipboard';
import { watchCommand } from './commands';
import { element } from './elements';
import type { Session } from './session';
import type { Screen } from './terminal';
import type { Theme } from './theme';
import type { Typing } from './typing';
import type { View } from './view';

/** What the tools work on. */
export interface Page {
  screen: Screen;
  session: Session;
  clipboard: Clipboard;
  theme: Theme;
  typing: Typing;
  say(words: string): void;
}

export class Tools {
  private view: View | undefined;

  constructor(private readonly page: Page) {
    const { screen, session, theme } = page;
    this.onClick('fit', () => this.fitGuest());
    this.onClick('release', () =>
      this.focused(() => session.request({ type: 'pen', do: 'release' })),
    );
    this.onClick('pop-out', () => this.popOut());
    this.onClick('download', () => this.download());
    this.onClick('download-history', () => this.downloadHistory());
    this.onClick('copy-link', () => session.request({ type: 'link' }));
    this.onClick('copy-watch', () => {
      const hello = this.view?.hello;
      return hello && page.clipboard.copyWords(watchCommand(hello));
    });
    this.onClick('smaller', () => screen.enlarge(-1));
    this.onClick('larger', () => screen.enlarge(1));
    this.onClick('theme', () => theme.next());
    this.onClick('read-out', () => {
      screen.readOut(true);
      this.refresh();
    });
    this.onClick('reconnect', () => this.focused(() => session.reconnect()));
    this.onClick('leave', () => session.leave());
    theme.follow(() => {
      element('theme', HTMLButtonElement).textContent = `Theme: ${theme.choice}`;
      screen.term.options.theme = theme.colors;
    });
  }

  show(view: View): void {
    this.view = view;
    this.refresh();
  }

  /** What may be chosen now. */
  refresh(): void {
    const { attachment, hello } = this.view ?? {};
    const writes = attachment?.writes ?? false;
    element('fit', HTMLButtonElement).disabled = this.page.session.noPaste !== undefined;
    element('release', HTMLButtonElement).disabled = !writes;
    element('leave', HTMLButtonElement).disabled = !attachment;
    element('download-history', HTMLButtonElement).disabled = attachment?.hello.resume === undefined;
    element('copy-link', HTMLButtonElement).disabled = !attachment?.hello.can.includes('write');
    element('copy-watch', HTMLButtonElement).disabled = !hello;
    for (const id of ['copy-link', 'copy-watch']) {
      element(id, HTMLButtonElement).hidden = hello?.nova ?? false;
    }
    element('read-out', HTMLButtonElement).ariaChecked = String(this.page.screen.readOut());
  }

  /** Types the command that tells the guest's shell how large this window is. */
  fitGuest(): void {
    const { screen, session, typing, say } = this.page;
    if (session.noPaste !== undefined) return say(`Not sent: ${session.noPaste}.`);
    const { rows, cols } = screen.term;
    typing.text(`stty rows ${rows} cols ${cols}`);
    typing.text('\r');
    screen.term.focus();
  }

  /** The new window has this one's storage, and takes its session over. */
  private popOut(): void {
    const opened = window.open(location.pathname, '_blank', 'popup,width=960,height=640');
    if (!opened) this.page.say('This browser did not open a new window. Allow pop-ups for this site.');
  }

  private download(): void {
    const name = this.save(new Blob([this.page.screen.text(), '\n']), 'txt');
    this.page.say(`Saved the terminal's text as ${name}.`);
  }

  private async downloadHistory(): Promise<void> {
    const { session, say } = this.page;
    try {
      const name = this.save(await session.history(), 'log');
      say(`Saved all output that the proxy keeps as ${name}.`);
    } catch (error) {
      say(`The history could not be saved: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Saves a file named by server, port and time. */
  private save(content: Blob, ending: string): string {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(content);
    const { server, port } = this.view?.hello ?? { server: { name: 'console' }, port: 0 };
    const name = server.name.replace(/[^\w.-]+/g, '_');
    const time = new Date().toISOString().slice(0, 19).replace(/:/g, '');
    link.download = `${name}-${port}-${time}.${ending}`;
    link.click();
    URL.revokeObjectURL(link.href);
    return link.download;
  }

  private focused(act: () => void): void {
    this.page.screen.term.focus();
    act();
  }

  private onClick(id: string, act: () => unknown): void {
    element(id, HTMLButtonElement).addEventListener('click', () => void act());
  }
}
