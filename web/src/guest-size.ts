// The size that the guest's terminal was set to, beside the window's: a serial port tells the guest nothing of it.

import { element } from './elements';
import type { Settings } from './settings';
import type { View } from './view';
import { describeNoPaste } from './words';

/** What a guest takes for granted. */
const USUAL = { rows: 24, cols: 80 };

/** There the footer has no room for it. */
const PHONE = matchMedia('(max-width: 480px)');

interface Grid {
  rows: number;
  cols: number;
}

export class GuestSize {
  private readonly line = element('sizes', HTMLElement);
  private view: View | undefined;
  private window: Grid | undefined;
  private guest: Grid = USUAL;
  /** The boot of which the guest's size is known. */
  private boot = '';

  /** `fit` tells the guest the window's size. */
  constructor(
    private readonly settings: Settings,
    fit: () => void,
    private readonly onDismiss: () => void,
  ) {
    element('fit-guest', HTMLElement).addEventListener('click', fit);
    element('hide-sizes', HTMLElement).addEventListener('click', () => this.toggle());
  }

  /** Whether the footer can show it. */
  get hasRoom(): boolean {
    return !PHONE.matches;
  }

  /** Shows the sizes or not, from now on. */
  toggle(): void {
    this.settings.sizes.next();
    this.refresh();
    this.onDismiss();
  }

  show(view: View): void {
    this.view = view;
    const { hello, epoch } = view;
    const boot = hello && epoch !== undefined ? `${hello.line}/${epoch}` : this.boot;
    if (boot !== this.boot) this.guest = load(boot) ?? USUAL;
    this.boot = boot;
    this.refresh();
  }

  resize(window: Grid): void {
    this.window = window;
    this.refresh();
  }

  /** The guest was told a size. */
  fitted({ rows, cols }: Grid): void {
    this.guest = { rows, cols };
    store(this.boot, this.guest);
    this.refresh();
  }

  private refresh(): void {
    const { guest, settings, view, window } = this;
    const mayFit = view?.attachment !== undefined && describeNoPaste(view) === undefined;
    const differs = window && (guest.rows !== window.rows || guest.cols !== window.cols);
    this.line.hidden = !differs || !mayFit || settings.sizes.value === 'hidden';
    if (window) {
      element('sizes-text', HTMLElement).textContent = `guest ${words(guest)} · window ${words(window)}`;
    }
  }
}

function words({ rows, cols }: Grid): string {
  return `${cols}×${rows}`;
}

/** Kept by this tab, for a reload. */
const STORE = 'serialproxy.guest-size';

function store(boot: string, grid: Grid): void {
  try {
    sessionStorage.setItem(STORE, JSON.stringify({ boot, ...grid }));
  } catch {
    // Storage can be switched off; then a reload takes the usual size for granted.
  }
}

function load(boot: string): Grid | undefined {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE) ?? 'null') as (Grid & { boot: string }) | null;
    return kept?.boot === boot ? { rows: kept.rows, cols: kept.cols } : undefined;
  } catch {
    return undefined;
  }
}
