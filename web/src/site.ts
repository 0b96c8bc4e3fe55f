// The part of the header that leads elsewhere: the menu, the name of the server with the list of all consoles behind
// it, the server's ports as tabs, and the servers page. A user who came by a console URL, without a login, sees their
// own port, and the servers page, which asks to log in.

import { call } from './calls';
import { element } from './elements';
import type { Hello } from './messages';
import { consolePath, root, serversPage, tilesPath } from './places';
import type { Place } from './places';
import { hasServersPage } from './servers-page';
import { openSwitcher } from './switcher';
import { goToServers } from './tile';

/** Maximum number of ports to list: more than a server can have. */
const PORTS = 256;

/** Milliseconds to wait after the session begins, so that the guest's screen comes first. */
const LATER = 500;

interface LoginState {
  caller: { user: string } | null;
  methods: string[];
}

export class Site {
  private login: Promise<LoginState | undefined> | undefined;
  /** The console for which the header was filled: server id and port. */
  private shown: string | undefined;
  private isIn: boolean;
  /** Whether there is a page with all servers. */
  hasServers = false;
  mayLogOut = false;

  /**
   * `place` is the console that this page's address names, if any; `say` shows a short message. `onChange` runs when it
   * is known whether the browser is logged in.
   */
  constructor(
    place: Place | undefined,
    private readonly say: (words: string) => void,
    private readonly onChange: () => void,
  ) {
    this.isIn = place !== undefined;
    if (place) this.showWays();
    element('server-button', HTMLElement).addEventListener('click', () => this.switch());
  }

  /** Whether this browser is logged in, so that the page can get a fresh token. */
  get mayReopen(): boolean {
    return this.isIn;
  }

  /** Looks up the login, and shows what else there is besides the console that was opened. */
  async show({ server, port }: Hello): Promise<void> {
    const key = `${server.id}/${port}`;
    if (this.shown === key) return;
    this.shown = key;
    this.login ??= look();
    const login = await this.login;
    if (!login) return;
    this.isIn = login.caller !== null;
    this.mayLogOut = this.isIn && login.methods.length > 0;
    this.showWays();
    this.onChange();
    if (!this.isIn) return;
    const button = element('server-button', HTMLButtonElement);
    button.hidden = false;
    button.append(element('server', HTMLElement));
    await this.showPorts(server, port);
  }

  /** Lists all consoles, if this browser is logged in. */
  switch(): void {
    if (this.isIn) void openSwitcher();
    else this.say('Log in at the servers page to switch to another server.');
  }

  /** Lets the user choose another console, and shows both side by side. */
  showBeside({ server, port }: Hello): void {
    const here = { server: server.id, port };
    void openSwitcher('Show another beside it', (chosen) => location.assign(root() + tilesPath([here, chosen])));
  }

  private showWays(): void {
    this.hasServers = true;
    const link = element('servers-link', HTMLAnchorElement);
    link.href = serversPage(undefined);
    link.hidden = false;
  }

  private async showPorts(server: Hello['server'], port: number): Promise<void> {
    const query = new URLSearchParams({ of_server: server.id, limit: String(PORTS) });
    const answer = await call<{ lines: { port: number }[] }>('GET', `v1/lines?${query}`).catch(() => undefined);
    const ports = answer?.lines.map((line) => line.port).sort((a, b) => a - b) ?? [];
    const tabs = element('ports', HTMLElement);
    tabs.hidden = ports.length < 2;
    element('port', HTMLElement).classList.toggle('spoken', !tabs.hidden);
    tabs.replaceChildren(...ports.map((one) => tabOf(server.id, one, one === port)));
  }

  /** Goes to the page with all servers. */
  leave(): void {
    goToServers();
  }

  async logOut(): Promise<void> {
    try {
      await call('DELETE', 'v1/login');
      goToServers();
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error));
    }
  }
}

/** How this browser is logged in; undefined if there is no servers page. Waits `LATER` first. */
async function look(): Promise<LoginState | undefined> {
  await new Promise((resolve) => setTimeout(resolve, LATER));
  if (!(await hasServersPage())) return undefined;
  return call<LoginState>('GET', 'v1/login').catch(() => ({ caller: null, methods: [] }));
}

function tabOf(server: string, port: number, isThis: boolean): HTMLElement {
  const tab = document.createElement('a');
  tab.role = 'tab';
  tab.ariaSelected = String(isThis);
  tab.setAttribute('aria-controls', 'terminal');
  tab.href = root() + consolePath(server, port);
  tab.textContent = `Port ${port}`;
  return tab;
}
