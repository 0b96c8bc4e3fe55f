// Connects the parts for older output: boots, landmarks, arrival times, and loading more of it.

import { Arrivals } from './arrivals';
import { element } from './elements';
import type { Session } from './session';
import { Scrolled } from './scrolled';
import type { Screen } from './terminal';
import type { Theme } from './theme';
import { Timeline } from './timeline';

/** Milliseconds without another cause, such as a resize, after which the output is loaded again. */
const REST = 150;

export class Past {
  readonly timeline: Timeline;
  readonly arrivals: Arrivals;
  private readonly place = element('terminal', HTMLElement);
  private readonly words = element('loading', HTMLElement);
  private loading = false;
  private soon: ReturnType<typeof setTimeout> | undefined;
  /** How many rows the window was above the end when the terminal was emptied. */
  private below = 0;

  constructor(
    private readonly screen: Screen,
    private readonly session: Session,
    theme: Theme,
    private readonly say: (words: string) => void,
    onChange: () => void,
  ) {
    this.timeline = new Timeline(screen, theme, () => this.load());
    this.arrivals = new Arrivals(screen.term, (from, to) => session.request({ type: 'times', from, to }));
    new Scrolled(screen, () => {
      if (screen.isFull || session.output.isOlder(this.timeline.first)) void this.load();
    });
    screen.observer = {
      onBoot: (epoch) => this.timeline.begin(epoch),
      onFound: (landmark) => {
        const isNew = !this.timeline.has(landmark);
        this.timeline.mark(landmark);
        if (isNew) onChange();
      },
      onParse: (origin) => this.arrivals.on && this.arrivals.begin(origin),
      onParsed: () => this.arrivals.end(),
      onPainted: () => this.arrivals.on && this.loadSoon(),
      onEmpty: (below) => {
        this.below = below;
        this.place.toggleAttribute('data-filling', true);
        this.timeline.forget();
        this.arrivals.forget();
      },
    };
    // Lines then wrap at other places, so that rows begin with other bytes.
    screen.term.onResize(() => this.arrivals.on && this.loadSoon());
  }

  /** Shows or hides arrival times. To know those of the rows in the terminal, the output is loaded again. */
  toggleTimes(): void {
    this.arrivals.on = !this.arrivals.on;
    if (this.arrivals.on) this.loadSoon();
  }

  /** Loads once, even if several causes ask for it. */
  private loadSoon(): void {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => void this.load(), REST);
  }

  /** Loads all output that the proxy keeps into the terminal, and stays at the same rows. Returns whether it did. */
  private async load(): Promise<boolean> {
    if (this.loading) return false;
    this.loading = true;
    this.words.textContent = 'Loading older output…';
    const { term } = this.screen;
    this.below = 0;
    try {
      if (!(await this.session.showAll(this.timeline.boots))) return false;
      await new Promise<void>((resolve) => term.write('', resolve));
      if (this.below > 0) term.scrollToLine(Math.max(0, term.buffer.active.baseY - this.below));
      return true;
    } catch (error) {
      this.say(`Older output could not be loaded: ${error instanceof Error ? error.message : error}`);
      return false;
    } finally {
      this.loading = false;
      this.words.textContent = '';
      this.place.removeAttribute('data-filling');
    }
  }
}
