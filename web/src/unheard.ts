// Keys that reach nobody: says so, once for each reason.

import type { View } from './view';
import { describeUnheard } from './words';

/** Keys without a character that mean input. */
const NAMED = /^(Enter|Backspace|Delete|Escape|Insert|Home|End|Arrow\w+|F\d+)$/;

/** Whether a key would be input for the guest. */
export function isInput({ key, metaKey, type }: KeyboardEvent): boolean {
  return type === 'keydown' && !metaKey && ([...key].length === 1 || NAMED.test(key));
}

export class Unheard {
  private said: string | undefined;

  constructor(private readonly say: (words: string) => void) {}

  /** Something was typed while the console stood like this. */
  typed(view: View | undefined): void {
    const words = view && describeUnheard(view);
    if (words && words !== this.said) this.say(words);
    this.said = words;
  }
}
