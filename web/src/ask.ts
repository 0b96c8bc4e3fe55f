// Asks before something that others notice or that can't be undone.

import { buttons, openDialog } from './dialog';
import { button, make } from './elements';

/** What is asked. */
export interface Question {
  title: string;
  text: string;
  /** The button that goes on. */
  yes: string;
  /** Whether going on may do harm. */
  danger?: boolean;
  /** Shown as it is. */
  preview?: string;
  /** The label of a field for words to others. */
  reason?: string;
  /** Something to choose from: values and their words. */
  choices?: [value: string, words: string][];
  /** What they are called; without it a command. */
  choice?: string;
  /** The value that is chosen at first. */
  chosen?: string;
}

/** What the user said. */
export interface Answer {
  reason: string;
  choice: string;
}

/** Characters of a reason at most. */
const REASON = 200;

let isAsking = false;

/** The answer, or nothing for no, as while something else is asked. */
export async function ask(question: Question): Promise<Answer | undefined> {
  if (isAsking) return undefined;
  const { title, danger = false, preview, reason, choices, choice } = question;
  const words = make('input', '');
  words.maxLength = REASON;
  words.autocomplete = 'off';
  const select = make('select', '', ...(choices ?? []).map(([value, label]) => new Option(label, value)));
  if (question.chosen !== undefined) select.value = question.chosen;
  const text = make('p', '', question.text);
  text.id = 'ask-text';
  const cancel = button('Cancel', () => dialog.close());
  const yes = make('button', danger ? 'danger' : '', question.yes);
  const form = make('form', '', make('h2', '', title), text);
  if (preview) form.append(previewOf(preview));
  if (reason !== undefined) form.append(labelled(reason, words));
  if (choices) form.append(labelled(choice ?? 'Command', select));
  form.append(buttons(cancel, yes));
  isAsking = true;
  const first = reason === undefined || danger ? cancel : words;
  const dialog = openDialog(title, [form], first);
  dialog.element.setAttribute('aria-describedby', text.id);
  // Enter in the field presses the button that goes on.
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    dialog.close('yes');
  });
  const said = await dialog.closed;
  isAsking = false;
  return said ? { reason: words.value.trim(), choice: select.value } : undefined;
}

function previewOf(text: string): HTMLElement {
  const preview = make('pre', '', text);
  preview.ariaLabel = 'Text to paste';
  preview.tabIndex = 0;
  return preview;
}

function labelled(label: string, field: HTMLElement): HTMLElement {
  return make('p', '', make('label', '', `${label} `, field));
}
