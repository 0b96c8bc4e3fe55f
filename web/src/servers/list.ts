// The list: a card for each server, with a row for each serial port, with its sessions.

import { button } from '../elements';
import type { Line, Power, Server, Session } from './api';
import { Keyed, make, setAttribute, setText } from './dom';
import type { Item } from './dom';
import { key } from './seen';
import * as words from './words';

/** A server and what belongs to it. */
export interface ServerView {
  server: Server;
  ports: PortView[];
  /** What it is being asked to do. */
  underWay: Power | undefined;
  /** When this was so, where it is not known to be so now. */
  asOf: string | undefined;
  /** Whether its host did not respond. */
  silent: boolean;
  now: Date;
}

export interface PortView {
  line: Line;
  sessions: Session[];
  /** Bytes that were printed since it was looked at. */
  unseen: number;
  can: Server['can'];
  asOf: string | undefined;
  now: Date;
}

interface SessionView {
  session: Session;
  can: Server['can'];
  now: Date;
}

/** What the user can do. */
export interface Actions {
  open(line: Line, watch: boolean): void;
  look(line: Line): void;
  power(server: Server, power: Power): void;
  disconnect(session: Session): void;
}

export function serverList(parent: HTMLElement, actions: Actions): Keyed<ServerView> {
  return new Keyed(parent, ({ server }) => server.id, () => new ServerCard(actions));
}

let ids = 0;

class ServerCard implements Item<ServerView> {
  private readonly name = make('h2', '');
  private readonly status = make('span', 'status');
  private readonly buttons: Record<Power, HTMLButtonElement>;
  private readonly powers = make('div', 'buttons');
  private readonly portless = make('p', 'quiet');
  private readonly unusable = make('p', 'quiet lines');
  private readonly ports: Keyed<PortView>;
  private readonly list = bareList('ports');
  readonly element = make('li', 'server');
  private view: ServerView | undefined;

  constructor(actions: Actions) {
    const power = (label: string, power: Power) =>
      button(label, () => {
        if (this.view && !this.view.underWay) actions.power(this.view.server, power);
      });
    this.buttons = {
      start: power('Start', 'start'),
      stop: power('Stop', 'stop'),
      reboot: power('Reboot', 'reboot'),
      pause: power('Pause', 'pause'),
      resume: power('Resume', 'resume'),
    };
    this.ports = new Keyed(
      this.list,
      ({ line }) => key(line),
      () => new PortRow(actions),
    );
    this.name.id = `server-${(ids += 1)}`;
    this.element.tabIndex = -1;
    this.element.setAttribute('aria-labelledby', this.name.id);
    this.powers.setAttribute('role', 'group');
    const { start, resume, pause, reboot, stop } = this.buttons;
    this.powers.append(start, resume, pause, reboot, stop);
    const head = make('div', 'head', this.name, this.status, this.powers);
    this.element.append(head, this.list, this.unusable, this.portless);
  }

  update(view: ServerView): void {
    this.view = view;
    const { server, ports, underWay, asOf, silent } = view;
    const lines = ports.map(({ line }) => line);
    const status = underWay ? words.UNDER_WAY[underWay] : words.describeStatus(server, lines);
    const tone = underWay ? 'wait' : words.toneOf(server, lines);
    setText(this.name, server.name);
    setText(this.status, words.dated(status, asOf));
    const isKnown = asOf === undefined && (!silent || server.status === 'HOST_LOST');
    setAttribute(this.status, 'data-tone', isKnown ? tone : 'unknown');
    setAttribute(this.powers, 'aria-label', `Power of ${server.name}`);
    this.powers.hidden = !server.can.includes('power');
    this.offerPower(server.status, lines);
    for (const one of Object.values(this.buttons)) {
      setAttribute(one, 'aria-label', `${one.textContent} ${server.name}`);
      setAttribute(one, 'aria-disabled', String(underWay !== undefined));
    }
    setAttribute(this.list, 'aria-label', `Serial ports of ${server.name}`);
    this.list.hidden = ports.length === 0;
    const unusable = words.describeUnusable(server);
    setText(this.unusable, unusable);
    this.unusable.hidden = unusable === '';
    setText(this.portless, words.describePortless(server, silent));
    this.portless.hidden = ports.length > 0 || (unusable !== '' && !silent);
    this.ports.update(ports);
  }

  /**
   * A paused guest can neither shut down nor reboot. A guest in error may be on or off; one whose host is
   * lost cannot be asked. The lines of a suspended guest tell whether it sleeps (resume) or is saved to a
   * disk (start).
   */
  private offerPower(status: Server['status'], lines: Line[]): void {
    const { start, stop, reboot, pause, resume } = this.buttons;
    const isSuspended = status === 'SUSPENDED';
    const causes = lines.map(({ cause }) => cause);
    resume.hidden = status !== 'PAUSED' && !(isSuspended && !causes.includes('stopped'));
    pause.hidden = reboot.hidden = status !== 'ACTIVE';
    stop.hidden = status !== 'ACTIVE' && status !== 'ERROR';
    const goesOn = isSuspended && causes.includes('paused');
    start.hidden = ['ACTIVE', 'HOST_LOST', 'PAUSED'].includes(status) || goesOn;
  }
}

class PortRow implements Item<PortView> {
  private readonly name = make('span', 'port-name');
  private readonly state = make('span', 'state');
  private readonly people = make('span', 'people');
  private readonly endpoint = make('code', 'endpoint');
  private readonly unseen: HTMLButtonElement;
  private readonly open: HTMLButtonElement;
  private readonly watch: HTMLButtonElement;
  private readonly count = make('summary', '');
  private readonly list = bareList('sessions');
  private readonly details = make('details', '', this.count, this.list);
  private readonly sessions: Keyed<SessionView>;
  readonly element = make('li', 'port');
  private line: Line | undefined;

  constructor(actions: Actions) {
    const act = (action: (line: Line) => void) => () => {
      if (this.line) action(this.line);
    };
    this.unseen = button('', act(actions.look));
    this.unseen.className = 'unseen';
    this.open = button('Open', act((line) => actions.open(line, false)));
    this.open.className = 'main';
    this.watch = button('Watch', act((line) => actions.open(line, true)));
    this.sessions = new Keyed(
      this.list,
      ({ session }) => session.id,
      () => new SessionRow(actions),
    );
    this.element.tabIndex = -1;
    const buttons = make('div', 'buttons', this.open, this.watch);
    this.element.append(this.name, this.state, this.people, this.endpoint, this.unseen, buttons);
    this.element.append(this.details);
  }

  update({ line, sessions, unseen, can, asOf, now }: PortView): void {
    this.line = line;
    const title = `port ${line.port} of ${line.server.name}`;
    setAttribute(this.element, 'aria-label', `Port ${line.port} of ${line.server.name}`);
    setText(this.name, `Port ${line.port}`);
    setText(this.state, words.describeState(line));
    setAttribute(this.state, 'data-tone', asOf === undefined ? words.lineTone(line) : 'unknown');
    this.open.hidden = !can.includes('write');
    this.watch.hidden = !can.includes('watch');
    setText(this.people, words.describePeople(line, now));
    setText(this.endpoint, words.describeEndpoint(line));
    const size = words.size(unseen);
    this.unseen.hidden = unseen === 0;
    setText(this.unseen, `${size} new`);
    setAttribute(this.unseen, 'aria-label', `${size} new on ${title}: mark as seen`);
    setAttribute(this.unseen, 'title', 'Printed since you last looked. Press to mark it as seen.');
    setAttribute(this.open, 'aria-label', `Open ${title}`);
    setAttribute(this.watch, 'aria-label', `Watch ${title}`);
    this.details.hidden = sessions.length === 0;
    setText(this.count, words.countSessions(sessions.length));
    setAttribute(this.list, 'aria-label', `Sessions on ${title}`);
    this.sessions.update(sessions.map((session) => ({ session, can, now })));
  }
}

class SessionRow implements Item<SessionView> {
  private readonly user = make('strong', '');
  private readonly text = make('span', '');
  private readonly end: HTMLButtonElement;
  readonly element: HTMLElement;
  private session: Session | undefined;

  constructor(actions: Actions) {
    this.end = button('Disconnect…', () => {
      if (this.session) actions.disconnect(this.session);
    });
    this.element = make('li', 'session', make('p', '', this.user, ' ', this.text), this.end);
  }

  update({ session, can, now }: SessionView): void {
    this.session = session;
    this.end.hidden = !can.includes('force');
    setText(this.user, session.user);
    setText(this.text, words.describeSession(session, now));
    const does = session.mode === 'write' ? 'typing' : 'watching';
    setAttribute(this.end, 'aria-label', `Disconnect… ${session.user}, who is ${does}`);
  }
}

/** Without bullets, Safari takes a list for none unless its role says so. */
function bareList(className: string): HTMLUListElement {
  const list = make('ul', className);
  list.setAttribute('role', 'list');
  return list;
}
