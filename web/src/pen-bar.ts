// The bar that shows a request to type, and that the user who types lost the connection.
// Not modal: typing goes on.

import type { Attachment } from './attachment';
import { element } from './elements';
import { describeLostWriter, describeRequest } from './words';

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
  const request = describeRequest(attachment, Date.now());
  if (request !== undefined || writes || !writer) return request;
  return describeLostWriter({ freeAt, own, user: writer }, Date.now());
}
