// Tells the user that keys do not reach the guest, once for each reason.

import type { View } from './view';
import { describeUnsent } from './words';

/** Keys without a character that mean input; the last two are those of an on-screen keyboard and of an input method. */
const NAMED = /^(Enter|Backspace|Delete|Escape|Insert|Home|End|Arrow\w+|F\d+|Unidentified|Process)$/;

/** Whether a key would be input for the guest. */
export function isInput({ key, metaKey, type }: KeyboardEvent): boolean {
  return type === 'keydown' && !metaKey && ([...key].length === 1 || NAMED.test(key));
}

export class UnsentHint {
  private said: string | undefined;

  constructor(private readonly say: (words: string) => void) {}

  /** Tells the user why input in this state does not reach the guest, unless that was the last thing told. */
  typed(view: View): void {
    const words = describeUnsent(view);
    if (words && words !== this.said) this.say(words);
    this.said = words;
  }
}
