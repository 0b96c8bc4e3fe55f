// Scrolling: a button that leads back to the newest output, and older output, which is loaded from the proxy when the
// user gets to the top.

import { element } from './elements';
import type { Screen } from './terminal';

export class Scrolled {
  private readonly button = element('to-end', HTMLButtonElement);
  /** Line feeds since the user scrolled up. */
  private lines = 0;
  private wasAbove = false;
  private wasAtTop = false;

  /** `loadOlder` loads older output into the terminal, if the proxy keeps some. */
  constructor(
    private readonly screen: Screen,
    private readonly loadOlder: () => void,
  ) {
    const { term } = screen;
    term.onRender(() => this.show());
    // Output below the window causes no render.
    term.onWriteParsed(() => this.show());
    term.onLineFeed(() => (this.lines += this.wasAbove ? 1 : 0));
    const onWheel = ({ deltaY }: WheelEvent): void => {
      const { viewportY, type } = term.buffer.active;
      if (type === 'normal' && deltaY < 0 && viewportY === 0) loadOlder();
    };
    term.element?.addEventListener('wheel', onWheel, { passive: true });
    this.button.addEventListener('click', () => {
      term.scrollToBottom();
      term.focus();
    });
  }

  private show(): void {
    const { viewportY, baseY, type } = this.screen.term.buffer.active;
    const isAbove = viewportY < baseY && type === 'normal';
    if (!isAbove) this.lines = 0;
    if (isAbove && !this.wasAbove) this.lines = 0;
    const reachesTop = isAbove && viewportY === 0;
    this.wasAbove = isAbove;
    this.button.hidden = !isAbove;
    const words = describeNewLines(this.lines);
    if (this.button.textContent !== words) this.button.textContent = words;
    if (reachesTop && !this.wasAtTop) this.loadOlder();
    this.wasAtTop = reachesTop;
  }
}

function describeNewLines(lines: number): string {
  if (lines === 0) return '↓ To the end';
  return `↓ ${lines.toLocaleString('en')} new ${lines === 1 ? 'line' : 'lines'}`;
}
