// What was printed before: boots, landmarks and arrival times of the output, and the way to older output. Brings the
// parts for these together.

import { Arrivals } from './arrivals';
import { element } from './elements';
import type { Session } from './session';
import { Scrolled } from './scrolled';
import type { Screen } from './terminal';
import type { Theme } from './theme';
import { Timeline } from './timeline';

/** Milliseconds that a window which is being resized has to rest. */
const REST = 150;

export class Past {
  readonly timeline: Timeline;
  readonly arrivals: Arrivals;
  private readonly place = element('terminal', HTMLElement);
  private readonly words = element('loading', HTMLElement);
  private loading = false;
  private soon: ReturnType<typeof setTimeout> | undefined;
  /** How many rows the window was above the end. */
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
    // Lines wrap elsewhere then.
    screen.term.onResize(() => this.arrivals.on && this.loadSoon());
  }

  /** Shows or hides arrival times. Those of what the terminal holds come with its bytes. */
  toggleTimes(): void {
    this.arrivals.on = !this.arrivals.on;
    if (this.arrivals.on) this.loadSoon();
  }

  /** Once, also where several things ask for it. */
  private loadSoon(): void {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => void this.load(), REST);
  }

  /** Brings all that the server keeps into the terminal, and stays at the same rows. */
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
