// The bar that tells of a question for the pen while it is open. Not modal: typing goes on.

import type { Attachment } from './attachment';
import { element } from './elements';
import { describeWish } from './words';

export class PenBar {
  private readonly bar = element('pen', HTMLElement);
  private readonly text = element('pen-text', HTMLElement);
  private readonly spoken = element('pen-spoken', HTMLElement);
  private ticking: ReturnType<typeof setInterval> | undefined;

  constructor(answer: (action: 'grant' | 'deny') => void) {
    element('give', HTMLButtonElement).addEventListener('click', () => answer('grant'));
    element('keep', HTMLButtonElement).addEventListener('click', () => answer('deny'));
  }

  show(attachment: Attachment | undefined): void {
    clearInterval(this.ticking);
    const words = attachment && describeWish(attachment, Date.now());
    this.bar.hidden = words === undefined;
    if (!attachment || words === undefined) {
      this.spoken.textContent = '';
      return;
    }
    element('pen-answers', HTMLElement).hidden = !attachment.writes;
    this.text.textContent = words;
    // Once, without the seconds that go by.
    this.spoken.textContent ||= words;
    this.ticking = setInterval(() => {
      this.text.textContent = describeWish(attachment, Date.now()) ?? '';
    }, 500);
  }
}
