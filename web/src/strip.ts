// The strip above the terminal: who types, since when, and how the user can type. It is not modal: input still goes to
// the guest.

import type { Attachment } from './attachment';
import { element } from './elements';
import { describeStrip, typeLabel } from './words';
import type { StripWords } from './words';

/** What the strip's buttons do. */
export interface StripActions {
  /** Types if nobody does, and otherwise asks the user who types. */
  type(): void;
  /** Takes typing over from another window of the same user. */
  take(): void;
  /** Takes typing over from another user. */
  takeOver(): void;
  answer(action: 'grant' | 'deny'): void;
}

export class Strip {
  private readonly strip = element('strip', HTMLElement);
  private readonly told = element('strip-told', HTMLElement);
  private readonly alarm = element('strip-alarm', HTMLElement);
  private readonly clock = element('strip-clock', HTMLElement);
  private readonly type = element('type', HTMLButtonElement);
  private ticking: ReturnType<typeof setInterval> | undefined;
  private shown = '';

  constructor(actions: StripActions) {
    const onClick = (id: string, act: () => void): void =>
      element(id, HTMLButtonElement).addEventListener('click', act);
    onClick('type', () => actions.type());
    onClick('use-here', () => actions.take());
    onClick('take-over', () => actions.takeOver());
    onClick('give', () => actions.answer('grant'));
    onClick('keep', () => actions.answer('deny'));
    this.strip.addEventListener('animationend', () => this.strip.classList.remove('shaken'));
  }

  show(attachment: Attachment | undefined): void {
    clearInterval(this.ticking);
    const words = attachment && describeStrip(attachment, new Date());
    this.strip.hidden = words === undefined;
    this.strip.toggleAttribute('data-free', attachment?.mayType === true && !attachment.writer);
    this.fill(words);
    if (!attachment || !words) return;
    this.offer(attachment);
    if (words.clock !== undefined) this.ticking = setInterval(() => this.tick(attachment), 500);
  }

  /** Draws attention to the strip: a key was pressed that is not sent. */
  shake(): void {
    this.strip.classList.remove('shaken');
    // Reading the width makes the animation start again while it runs.
    void this.strip.offsetWidth;
    this.strip.classList.add('shaken');
  }

  /** Changes the words only if they differ, since screen readers announce each change. */
  private fill(words: StripWords | undefined): void {
    const { who = '', told = '', alarm = '', clock = '' } = words ?? {};
    this.clock.textContent = clock;
    const shown = `${who}\n${told}\n${alarm}`;
    if (shown === this.shown) return;
    this.shown = shown;
    this.alarm.textContent = alarm;
    const name = document.createElement('bdi');
    name.textContent = who;
    this.told.replaceChildren(...(who ? [name, told] : [told]));
  }

  private offer(attachment: Attachment): void {
    const { writes, asks, request, mayType, mayTakeOver, mayTakeFromOwn } = attachment;
    element('watching', HTMLElement).hidden = writes;
    for (const id of ['give', 'keep']) {
      element(id, HTMLButtonElement).hidden = !writes || request === undefined;
    }
    this.type.hidden = !mayType || asks || mayTakeFromOwn;
    this.type.textContent = typeLabel(attachment);
    element('use-here', HTMLButtonElement).hidden = !mayTakeFromOwn;
    element('take-over', HTMLButtonElement).hidden = !mayTakeOver;
  }

  private tick(attachment: Attachment): void {
    const words = describeStrip(attachment, new Date());
    this.clock.textContent = words?.clock ?? '';
  }
}
