// The terminal size that the guest uses, beside the window's. A serial port cannot tell the guest the window's size.

import { element } from './elements';
import type { Settings } from './settings';
import type { View } from './view';
import { describeNoPaste } from './words';

/** The size that a guest assumes by default. */
const USUAL = { rows: 24, cols: 80 };

/** In a window this narrow, the footer has no room for the sizes. */
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
  /** The boot to which `guest` applies: line id and epoch. */
  private boot = '';

  /** `fit` tells the guest the window's size; `onDismiss` runs after `toggle`. */
  constructor(
    private readonly settings: Settings,
    fit: () => void,
    private readonly onDismiss: () => void,
  ) {
    element('fit-guest', HTMLElement).addEventListener('click', fit);
    element('hide-sizes', HTMLElement).addEventListener('click', () => this.toggle());
  }

  /** Whether the footer has room for the sizes. */
  get hasRoom(): boolean {
    return !PHONE.matches;
  }

  /** Shows or hides the sizes, and keeps the choice. */
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
    // Storage can be switched off; then a reload assumes the default size.
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
