// Actions that are needed now and then: telling the guest the window's size, another window, downloads.

import type { Session } from './session';
import type { Screen } from './terminal';
import type { Typing } from './typing';
import type { View } from './view';

export class Tools {
  constructor(
    private readonly screen: Screen,
    private readonly session: Session,
    private readonly typing: Typing,
    private readonly say: (words: string) => void,
  ) {}

  /** Types the command that tells the guest's shell how large this window is. */
  fitGuest(): void {
    const { screen, typing } = this;
    const { rows, cols } = screen.term;
    typing.text(`stty rows ${rows} cols ${cols}`);
    typing.text('\r');
    screen.focus();
  }

  /** Opens a new window, which has this one's session storage, and so takes its session over. */
  popOut(): void {
    const opened = window.open(location.pathname, '_blank', 'popup,width=960,height=640');
    if (!opened) this.say('This browser did not open a new window. Allow pop-ups for this site.');
  }

  download(view: View): void {
    const name = save(view, new Blob([this.screen.text(), '\n']), 'txt');
    this.say(`Saved the terminal's text as ${name}.`);
  }

  async downloadHistory(view: View): Promise<void> {
    try {
      const name = save(view, await this.session.history(), 'log');
      this.say(`Saved all output that the proxy keeps as ${name}.`);
    } catch (error) {
      this.say(`The history could not be saved: ${error instanceof Error ? error.message : error}`);
    }
  }
}

/** Saves a file named by server, port and time, and returns its name. */
function save({ hello }: View, content: Blob, ending: string): string {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  const { server, port } = hello ?? { server: { name: 'console' }, port: 0 };
  const name = server.name.replace(/[^\w.-]+/g, '_');
  const time = new Date().toISOString().slice(0, 19).replace(/:/g, '');
  link.download = `${name}-${port}-${time}.${ending}`;
  link.click();
  URL.revokeObjectURL(link.href);
  return link.download;
}
