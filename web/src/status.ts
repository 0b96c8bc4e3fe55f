// Shows how the session stands: the title, the status line and, after an end, the notice with what
// happened and what can be done.

import { button, element } from './elements';
import type { View } from './session';
import { describeNotice, describePen, describeState } from './words';
import type { Ending, Offer } from './words';

const LABELS: Record<Offer, string> = {
  reconnect: 'Reconnect',
  watch: 'Watch',
  force: 'Disconnect them',
};

export class Status {
  private readonly line = element('status', HTMLElement);
  private readonly notice = element('notice', HTMLElement);
  private readonly text = element('notice-text', HTMLElement);
  private readonly countdown = element('countdown', HTMLElement);
  private readonly offers = element('offers', HTMLElement);
  private readonly header = document.querySelector('header');
  private shownOffers = '';
  private ticking: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly take: (offer: Offer) => void) {}

  show(view: View): void {
    this.showName(view);
    const { tone, words } = summary(view);
    this.line.dataset['tone'] = tone;
    if (this.line.textContent !== words) this.line.textContent = words;
    this.showNotice(view);
  }

  private showName({ hello }: View): void {
    if (!hello) return;
    element('server', HTMLElement).textContent = hello.server.name;
    element('port', HTMLElement).textContent = `port ${hello.port}`;
    document.title = `${hello.server.name}:${hello.port} – console`;
  }

  private showNotice(view: View): void {
    clearInterval(this.ticking);
    const text = view.ending?.text ?? (view.attachment && describeNotice(view.attachment)) ?? '';
    const appears = this.notice.hidden && text !== '';
    this.notice.hidden = text === '';
    if (this.text.textContent !== text) this.text.textContent = text;
    this.showCountdown(view.retryAt);
    this.showOffers(view.ending);
    // A refused visitor has no terminal to be in; one who was typing must not press a button by chance.
    if (appears && !view.hello && !this.header?.contains(document.activeElement))
      this.notice.focus();
  }

  /** Leaves the buttons alone where they stay the same, since one of them may have the focus. */
  private showOffers(ending: Ending | undefined): void {
    const shown = ending ? `${ending.retry} ${ending.offers}` : '';
    if (shown === this.shownOffers) return;
    this.shownOffers = shown;
    const buttons = (ending?.offers ?? []).map((offer) => {
      const label = offer === 'reconnect' && ending?.retry ? 'Reconnect now' : LABELS[offer];
      return button(label, () => this.take(offer));
    });
    this.offers.replaceChildren(...buttons);
  }

  private showCountdown(retryAt: number | undefined): void {
    const tick = (): void => {
      const seconds = Math.max(0, Math.ceil(((retryAt ?? 0) - Date.now()) / 1000));
      this.countdown.textContent = retryAt ? `Trying again in ${seconds} s` : '';
    };
    tick();
    if (retryAt) this.ticking = setInterval(tick, 250);
  }
}

/** The status line. The tone is its colour, for those who see it; the words say the same. */
function summary({ attachment, connecting, ending, retryAt }: View): {
  tone: string;
  words: string;
} {
  if (attachment) {
    const many = attachment.viewers > 1 ? ` · ${attachment.viewers} attached` : '';
    const words = `${describeState(attachment)} · ${describePen(attachment)}${many}`;
    return { tone: attachment.state, words };
  }
  if (connecting || !ending) return { tone: 'waiting', words: 'connecting …' };
  if (retryAt) return { tone: 'waiting', words: `${ending.short}, trying again` };
  return { tone: 'failed', words: `closed: ${ending.short}` };
}
