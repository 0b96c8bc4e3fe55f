// The bar that tells of a question for the pen while it is open, and of a writer who lost the connection.
// Not modal: typing goes on.

import type { Attachment } from './attachment';
import { element } from './elements';
import { describeLostWriter, describeWish } from './words';

export class PenBar {
  private readonly bar = element('pen', HTMLElement);
  private readonly text = element('pen-text', HTMLElement);
  private readonly spoken = element('pen-spoken', HTMLElement);
  private ticking: ReturnType<typeof setInterval> | undefined;

  constructor(answer: (action: 'grant' | 'deny' | 'request') => void) {
    element('give', HTMLButtonElement).addEventListener('click', () => answer('grant'));
    element('keep', HTMLButtonElement).addEventListener('click', () => answer('deny'));
    element('take-back', HTMLButtonElement).addEventListener('click', () => answer('request'));
  }

  show(attachment: Attachment | undefined): void {
    clearInterval(this.ticking);
    const words = attachment && describe(attachment);
    this.bar.hidden = words === undefined;
    if (!attachment || words === undefined) {
      this.spoken.textContent = '';
      return;
    }
    element('pen-answers', HTMLElement).hidden = !attachment.writes;
    element('take-back', HTMLElement).hidden = !attachment.mayTakeBack;
    this.text.textContent = words;
    // Once, without the seconds that go by.
    this.spoken.textContent ||= words;
    this.ticking = setInterval(() => {
      this.text.textContent = describe(attachment) ?? '';
    }, 500);
  }
}

function describe(attachment: Attachment): string | undefined {
  const { writes, writer, freeAt, ownHolder: own } = attachment;
  const wish = describeWish(attachment, Date.now());
  if (wish !== undefined || writes || !writer) return wish;
  return describeLostWriter({ freeAt, own, user: writer }, Date.now());
}
