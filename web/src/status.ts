// Shows the state of the session: the status line and, after an end or when somebody else types, the notice
// with what happened and what can be done.

import { button, element } from './elements';
import type { Ending, Offer } from './endings';
import { describeProgress } from './power';
import { hasServersPage } from './servers-page';
import type { View } from './view';
import { describeClock, describeFree, describeNotice, describeRetry, describeState, describeTyping } from './words';

const LABELS: Record<Offer, string> = {
  reconnect: 'Reconnect',
  watch: 'Watch',
  ask: 'Ask to type',
  force: 'Take over…',
  here: 'Use it here',
  back: 'Use it here',
  dismiss: 'Dismiss',
  reopen: 'Open again',
  wait: 'Wait for the guest',
  servers: 'All servers',
  command: 'Copy the command',
};

export class Status {
  private readonly line = element('status', HTMLElement);
  private readonly words = element('status-words', HTMLElement);
  private readonly clock = element('status-clock', HTMLElement);
  private readonly notice = element('notice', HTMLElement);
  private readonly text = element('notice-text', HTMLElement);
  private readonly countdown = element('countdown', HTMLElement);
  private readonly offers = element('offers', HTMLElement);
  private readonly latency = element('latency', HTMLElement);
  private readonly header = document.querySelector('header');
  private shownOffers = '';
  private ticking: ReturnType<typeof setInterval> | undefined;
  private counting: ReturnType<typeof setInterval> | undefined;

  /** The words of the status line, and its color. */
  summary = { tone: 'waiting', words: '' };

  constructor(private readonly take: (offer: Offer) => void) {}

  show(view: View): void {
    this.showName(view);
    this.summary = summary(view);
    const { tone, words } = this.summary;
    this.line.dataset['tone'] = tone;
    if (this.words.textContent !== words) this.words.textContent = words;
    this.showClock(view);
    this.showNotice(view);
  }

  showLatency(milliseconds: number | undefined): void {
    this.latency.textContent = milliseconds === undefined ? '' : `${milliseconds} ms`;
  }

  /** Shows the seconds, in an element that screen readers do not announce. */
  private showClock(view: View): void {
    clearInterval(this.counting);
    const tick = (): void => void (this.clock.textContent = describeClock(view, Date.now()));
    tick();
    if (this.clock.textContent !== '') this.counting = setInterval(tick, 250);
  }

  private showName({ hello }: View): void {
    if (!hello) return;
    element('server', HTMLElement).textContent = hello.server.name;
    element('port', HTMLElement).textContent = `port ${hello.port}`;
  }

  private showNotice(view: View): void {
    clearInterval(this.ticking);
    const { attachment, ending } = view;
    const told = attachment && describeNotice(attachment);
    const text = ending?.text ?? told ?? '';
    const help = element('notice-document', HTMLAnchorElement);
    help.hidden = ending?.document === undefined;
    if (ending?.document) help.href = ending.document;
    const appears = this.notice.hidden && text !== '';
    this.notice.hidden = text === '';
    if (this.text.textContent !== text) this.text.textContent = text;
    this.showCountdown(view);
    this.showOffers(ending?.retry ?? false, ending?.offers ?? (told ? ['dismiss'] : []));
    // A refused user has no terminal to be in. One who was typing must not press a button by chance.
    if (appears && !view.hello && !this.header?.contains(document.activeElement))
      this.notice.focus();
  }

  /** Replaces the buttons only if others are needed, since one of them may have the focus. */
  private showOffers(retry: boolean, offers: Ending['offers']): void {
    const shown = `${retry} ${offers}`;
    if (shown === this.shownOffers) return;
    this.shownOffers = shown;
    const buttons = offers.map((offer) => {
      const label = offer === 'reconnect' && retry ? 'Reconnect now' : LABELS[offer];
      const made = button(label, () => this.take(offer));
      if (offer === 'servers') void hideWithoutServersPage(made);
      return made;
    });
    this.offers.replaceChildren(...buttons);
  }

  private showCountdown({ ending, holder, retryAt, keptUntil }: View): void {
    const tick = (): void => {
      const parts = [describeFree(holder?.freeAt, Date.now())];
      parts.push(describeRetry(retryAt, keptUntil, Date.now()));
      this.countdown.textContent = parts.filter(Boolean).join('; ');
    };
    tick();
    if (ending && (retryAt ?? keptUntil) !== undefined) this.ticking = setInterval(tick, 250);
  }
}

async function hideWithoutServersPage(offer: HTMLButtonElement): Promise<void> {
  offer.hidden = true;
  offer.hidden = !(await hasServersPage());
}

/** The status line. The tone is its color; the words alone say the same. */
function summary(view: View): { tone: string; words: string } {
  const { attachment, connecting, ending, progress, retryAt, slow, unansweredSince } = view;
  if (attachment) {
    if (unansweredSince !== undefined) return { tone: 'waiting', words: 'no answer' };
    if (progress) return { tone: 'waiting', words: describeProgress(progress) };
    const parts = [describeState(attachment), describeTyping(attachment)];
    const tone = attachment.halted ? 'waiting' : attachment.state;
    return { tone, words: parts.filter(Boolean).join(' · ') };
  }
  const again = retryAt !== undefined || (connecting && ending?.retry);
  if (!ending || (connecting && !again)) {
    return { tone: 'waiting', words: slow ? 'connecting …, no answer yet' : 'connecting …' };
  }
  if (again) return { tone: 'waiting', words: `${ending.short}, trying again` };
  return { tone: 'failed', words: `closed: ${ending.short}` };
}
