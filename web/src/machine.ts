// The menu of the machine: break, SysRq, NMI, power. What it offers depends on the user's permissions, on
// whether this session types, and on the state of the guest.

import { ask } from './ask';
import type { Attachment } from './attachment';
import { element } from './elements';
import { Menu } from './menu';
import type { ClientMessage, PowerAction } from './messages';

/** The commands of Linux' magic SysRq that a console is likely to need. */
const SYSRQ: [key: string, words: string][] = [
  ['h', 'h: help, lists the commands'],
  ['s', 's: write everything to the disks'],
  ['u', 'u: mount all disks read-only'],
  ['b', 'b: reboot at once, without writing to the disks'],
  ['e', 'e: ask all programs to end'],
  ['i', 'i: kill all programs'],
  ['f', 'f: kill the program that uses the most memory'],
  ['k', "k: kill this console's programs"],
  ['t', 't: list all tasks'],
  ['w', 'w: list tasks that are stuck'],
  ['l', 'l: show what each CPU is doing'],
  ['m', 'm: show the memory'],
  ['c', 'c: crash, to get a dump'],
  ['o', 'o: power off at once'],
];

const QUESTIONS: Partial<Record<PowerAction, [title: string, text: string, yes: string]>> = {
  stop: [
    'Stop',
    'The guest is asked to shut down. If it still runs after a minute, its power is cut.',
    'Stop',
  ],
  reboot: [
    'Reboot',
    'The guest is asked to reboot. If it has not after a minute, it is reset.',
    'Reboot',
  ],
  reset: [
    'Reset',
    'The guest restarts at once, as by a reset button. What it has not written to its disks is lost.',
    'Reset',
  ],
  pause: [
    'Pause',
    'The guest stops where it is until it is resumed. What you type meanwhile waits.',
    'Pause',
  ],
  nmi: [
    'Send an NMI to',
    'Most guests crash when they get an NMI. Some write a crash dump first.',
    'Send NMI',
  ],
};

export class Machine {
  private readonly place = element('machine-place', HTMLElement);
  private readonly start = element('start', HTMLButtonElement);
  private readonly resume = element('resume', HTMLButtonElement);
  private attachment: Attachment | undefined;

  constructor(private readonly tell: (message: ClientMessage) => void) {
    new Menu('machine');
    this.start.addEventListener('click', () => void this.power('start'));
    this.resume.addEventListener('click', () => void this.power('resume'));
    this.onClick('break', () => tell({ type: 'break' }));
    this.onClick('sysrq', () => this.sysrq());
    for (const action of ['nmi', 'pause', 'reset', 'reboot', 'stop'] as const) {
      this.onClick(action, () => this.power(action));
    }
    this.onClick('power-on', () => this.power('start'));
    this.onClick('go-on', () => this.power('resume'));
  }

  show(attachment: Attachment | undefined): void {
    this.attachment = attachment;
    const writes = attachment?.writes ?? false;
    const power = attachment?.mayPower ?? false;
    const stopped = attachment?.stopped ?? false;
    const runs = attachment?.runs ?? false;
    const paused = attachment?.paused ?? false;
    const hears = runs && !(attachment?.halted ?? false);
    // Static lines and Nova's servers have no power action, and no break either.
    this.place.hidden = !power;
    this.start.hidden = !power || !stopped;
    this.resume.hidden = !power || !paused;
    for (const id of ['nmi', 'reset']) enable(id, runs);
    // A paused guest hears nothing: it would obey hours later. One that crashed never does, and its power can be cut.
    for (const id of ['break', 'sysrq']) enable(id, writes && hears);
    for (const id of ['pause', 'reboot']) enable(id, hears);
    enable('stop', runs && !paused);
    enable('power-on', stopped);
    enable('go-on', paused);
  }

  private onClick(id: string, act: () => unknown): void {
    element(id, HTMLButtonElement).addEventListener('click', () => void act());
  }

  private async power(action: PowerAction): Promise<void> {
    const question = QUESTIONS[action];
    if (question) {
      const [title, text, yes] = question;
      const name = this.attachment?.hello.server.name ?? 'the guest';
      if (!(await ask({ title: `${title} ${name}?`, text, yes, danger: true }))) return;
    }
    this.tell({ type: 'power', do: action });
  }

  private async sysrq(): Promise<void> {
    const answer = await ask({
      title: 'Send a SysRq',
      text: 'Linux in the guest acts on it at once, even when it reacts to nothing else.',
      yes: 'Send',
      danger: true,
      choices: SYSRQ,
    });
    if (answer) this.tell({ type: 'sysrq', key: answer.choice });
  }
}

function enable(id: string, enabled: boolean): void {
  element(id, HTMLButtonElement).disabled = !enabled;
}
