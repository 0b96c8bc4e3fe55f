// Commands to the machine: break, SysRq, NMI, power. What is possible depends on the user's permissions, on whether
// this session types, and on the state of the guest.

import { ask } from './ask';
import type { Attachment } from './attachment';
import { element } from './elements';
import type { ClientMessage, PowerAction } from './messages';
import { named } from './names';
import type { View } from './view';

/** The commands of Linux's magic SysRq that a console is likely to need. */
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

/** A command to the machine. */
export type Command = PowerAction | 'break' | 'sysrq';

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
  private readonly start = element('start', HTMLButtonElement);
  private readonly resume = element('resume', HTMLButtonElement);
  private readonly resetNow = element('reset-now', HTMLButtonElement);
  private attachment: Attachment | undefined;

  /** `send` sends a message to the proxy; `change` asks it to change the power. */
  constructor(
    readonly send: (message: ClientMessage) => void,
    private readonly change: (action: PowerAction) => void,
  ) {
    // Without a question: the user confirmed the reboot, and the host would reset the guest by itself after a minute.
    this.resetNow.addEventListener('click', () => change('reset'));
    this.start.addEventListener('click', () => void this.power('start'));
    this.resume.addEventListener('click', () => void this.power('resume'));
  }

  show({ attachment, progress }: View): void {
    this.attachment = attachment;
    const may = (action: Command): boolean =>
      attachment?.mayPower === true && whyNoCommand(action, attachment) === undefined;
    this.start.hidden = !may('start');
    this.resume.hidden = !may('resume');
    this.resetNow.hidden = progress?.action !== 'reboot' || !may('reset');
  }

  /** Changes the power, after a question if that interrupts the guest. */
  async power(action: PowerAction): Promise<void> {
    const question = QUESTIONS[action];
    if (question) {
      const [title, text, yes] = question;
      const name = this.attachment ? named(this.attachment.hello.server.name) : 'the guest';
      if (!(await ask({ title: `${title} ${name}?`, text, yes, danger: true }))) return;
    }
    this.change(action);
  }

  async sysrq(): Promise<void> {
    const answer = await ask({
      title: 'Send a SysRq',
      text: 'Linux in the guest acts on it at once, even when it reacts to nothing else.',
      yes: 'Send',
      danger: true,
      choices: SYSRQ,
    });
    if (answer) this.send({ type: 'sysrq', key: answer.choice });
  }
}

/** Why a command cannot be sent now; undefined if it can. */
export function whyNoCommand(command: Command, attachment: Attachment): string | undefined {
  const { crashed, paused, runs, stopped, writes } = attachment;
  if (command === 'start') return stopped ? undefined : 'the guest is on';
  if (command === 'resume') return paused ? undefined : 'the guest is not paused';
  if (!runs) return 'the guest is off';
  if (command === 'nmi' || command === 'reset') return undefined;
  // A paused guest would obey only when it resumes, perhaps hours later. A crashed one never obeys, but can be stopped.
  if (paused) return 'the guest is paused';
  if (command === 'stop') return undefined;
  if (crashed) return 'the guest crashed';
  return command === 'pause' || command === 'reboot' || writes ? undefined : 'you are watching';
}
