// Shows how far a paste is, and lets the user cancel it.

import { element } from './elements';
import type { Progress } from './paste-queue';

/** A paste of at most so many bytes is not shown: it is sent before the user could read the bar. */
const BRIEF = 1024;

export class PasteBar {
  private readonly bar = element('pasting', HTMLElement);
  private readonly text = element('paste-text', HTMLElement);
  private readonly progress = element('paste-bar', HTMLProgressElement);

  constructor(onCancel: () => void) {
    element('cancel-paste', HTMLButtonElement).addEventListener('click', onCancel);
  }

  show(progress: Progress | undefined): void {
    this.bar.hidden = !progress || progress.total <= BRIEF;
    if (!progress) return;
    this.progress.max = progress.total;
    this.progress.value = progress.sent;
    const [sent, total] = [kilobytes(progress.sent), kilobytes(progress.total)];
    this.text.textContent = `Pasting: ${sent} of ${total} kB`;
  }
}

function kilobytes(bytes: number): string {
  return (bytes / 1000).toFixed(1);
}
