// The boots of the guest: marks in the scroll bar for them and for kernel panics and login prompts, and the way from
// one to the other. For a line without boots, none of this is shown.

import type { IDecoration, IMarker } from '@xterm/xterm';

import { element } from './elements';
import type { Landmark } from './landmarks';
import type { Boots, GuestBoot } from './messages';
import type { Screen } from './terminal';
import type { Theme } from './theme';
import { describeBoot, describeBootFully } from './words';

/** Maximum number of marks. The oldest are dropped, and boots last. */
const MARKS = 200;

interface Mark {
  kind: Landmark | 'boot';
  epoch?: number;
  marker: IMarker;
  tick: IDecoration | undefined;
}

export class Timeline {
  private readonly nav = element('boots', HTMLElement);
  private readonly label = element('boot', HTMLElement);
  private readonly previous = element('previous-boot', HTMLButtonElement);
  private readonly next = element('next-boot', HTMLButtonElement);
  private marks: Mark[] = [];
  private epochs = 0;
  /** Offset of the oldest byte that the proxy keeps, and the boots that it knows. */
  private kept: { first: number; boots: GuestBoot[] } = { first: 0, boots: [] };

  /** `load` loads all output that the proxy keeps into the terminal, and returns whether it did. */
  constructor(
    private readonly screen: Screen,
    private readonly theme: Theme,
    private readonly load: () => Promise<boolean>,
  ) {
    this.previous.addEventListener('click', () => void this.goBack());
    this.next.addEventListener('click', () => this.goOn());
    screen.term.onRender(() => this.show());
    screen.term.onWriteParsed(() => this.show());
  }

  /** How many times the guest has booted. */
  set epoch(epoch: number) {
    this.epochs = epoch;
    this.show();
  }

  know(kept: Boots): void {
    this.kept = kept;
    this.show();
  }

  get boots(): GuestBoot[] {
    return this.kept.boots;
  }

  /** Offset of the oldest byte that the proxy keeps. */
  get first(): number {
    return this.kept.first;
  }

  /** Whether there are boots. */
  get exists(): boolean {
    return this.epochs > 0;
  }

  /** A boot begins where the cursor is. */
  begin(epoch: number): void {
    this.epochs = Math.max(this.epochs, epoch);
    this.mark('boot', epoch);
  }

  /** Marks the row of the cursor. */
  mark(kind: Mark['kind'], epoch?: number): void {
    if (!this.exists || this.screen.term.buffer.active.type === 'alternate') return;
    const marker = this.screen.term.registerMarker(0);
    this.marks.push({ kind, marker, tick: this.tick(kind, marker), ...(epoch === undefined ? {} : { epoch }) });
    marker.onDispose(() => (this.marks = this.marks.filter((mark) => mark.marker !== marker)));
    // Boots are dropped last, so that repeated login prompts take none away.
    const oldest = this.marks.find((mark) => mark.kind !== 'boot') ?? this.marks[0];
    if (this.marks.length > MARKS) oldest?.marker.dispose();
  }

  /** The terminal was emptied. */
  forget(): void {
    for (const { marker } of this.marks.splice(0)) marker.dispose();
  }

  /** The colors changed. */
  paint(): void {
    for (const mark of this.marks) {
      mark.tick?.dispose();
      mark.tick = this.tick(mark.kind, mark.marker);
    }
  }

  has(kind: Landmark): boolean {
    return this.marks.some((mark) => mark.kind === kind);
  }

  /** Scrolls to the last landmark of this kind, a few rows below the top. */
  goTo(kind: Landmark): void {
    const mark = this.marks.filter((one) => one.kind === kind).at(-1);
    if (mark) this.screen.term.scrollToLine(Math.max(0, mark.marker.line - 3));
  }

  /** Scrolls to the previous boot, after loading older output if the terminal does not hold it. */
  async goBack(): Promise<void> {
    const { term } = this.screen;
    const start = (): number | undefined => this.starts()
      .filter((line) => line < term.buffer.active.viewportY)
      .at(-1);
    if (start() === undefined && this.hasOlder) await this.load();
    const line = start();
    if (line !== undefined) term.scrollToLine(line);
  }

  /** Scrolls to the next boot or, after the last one, to the end. */
  goOn(): void {
    const { term } = this.screen;
    const { viewportY, baseY } = term.buffer.active;
    const line = this.starts().find((start) => start > viewportY && start < baseY);
    if (line === undefined) term.scrollToBottom();
    else term.scrollToLine(line);
  }

  private tick(kind: Mark['kind'], marker: IMarker): IDecoration | undefined {
    const position = kind === 'login' ? 'left' : 'full';
    const overviewRulerOptions = { color: this.theme.ticks[kind], position } as const;
    return this.screen.term.registerDecoration({ marker, overviewRulerOptions });
  }

  private starts(): number[] {
    return this.marks.filter(({ kind }) => kind === 'boot').map(({ marker }) => marker.line);
  }

  /** Whether the proxy keeps the beginning of a boot that the terminal does not hold. */
  private get hasOlder(): boolean {
    const held = this.marks.flatMap(({ epoch }) => epoch ?? []);
    return this.kept.boots.some(({ epoch, offset }) => offset >= this.kept.first && !held.includes(epoch));
  }

  /** The number of the boot at the top of the window; at the end of the output, of the last one. */
  private get present(): number {
    const { viewportY, baseY } = this.screen.term.buffer.active;
    if (viewportY === baseY) return this.epochs;
    const boots = this.marks.filter(({ kind }) => kind === 'boot');
    const before = boots.filter(({ marker }) => marker.line <= viewportY).at(-1)?.epoch;
    return before ?? Math.max(0, (boots[0]?.epoch ?? this.epochs + 1) - 1);
  }

  private show(): void {
    this.nav.hidden = !this.exists;
    if (!this.exists) return;
    const { viewportY, baseY } = this.screen.term.buffer.active;
    const { present } = this;
    const boot = this.kept.boots.find(({ epoch }) => epoch === present);
    const words = describeBoot(present, boot?.time, new Date());
    if (this.label.textContent !== words) this.label.textContent = words;
    this.label.title = describeBootFully(boot);
    this.previous.disabled = !this.hasOlder && !this.starts().some((line) => line < viewportY);
    this.next.disabled = viewportY === baseY;
  }
}
