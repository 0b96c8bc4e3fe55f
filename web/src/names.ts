// Names that users chose, for use within the page's sentences.

/** Letters that are written from right to left. */
const FROM_RIGHT = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/** Characters that change the direction of what follows. */
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * A name for use in a sentence, without characters that change its direction. A name that is written from right to left
 * is isolated (UAX #9): punctuation around it would otherwise move to its other side.
 */
export function named(name: string): string {
  const plain = name.replace(TURNS, '');
  return FROM_RIGHT.test(plain) ? `\u2068${plain}\u2069` : plain;
}
