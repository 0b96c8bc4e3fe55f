// A dialog with a question, for example before an action that others notice or that cannot be undone.

import { buttons, openDialog } from './dialog';
import { button, make } from './elements';

/** What the dialog shows. */
export interface Question {
  title: string;
  text: string;
  /** Label of the button that confirms. */
  yes: string;
  /** Whether confirming may do harm: then the focus starts on Cancel. */
  danger?: boolean;
  /** A text that is shown verbatim. */
  preview?: string;
  /** Label of a field for a reason that others see. */
  reason?: string;
  /** Options to choose from: values and their labels. */
  choices?: [value: string, words: string][];
  /** Label of the options. Default: `Command`. */
  choice?: string;
  /** The value that is selected at first. */
  chosen?: string;
}

/** The user's answer. */
export interface Answer {
  reason: string;
  choice: string;
}

/** Maximum characters of a reason. */
const REASON = 200;

let isAsking = false;

/** The answer. Undefined if the user cancels, or if another question is open. */
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
  // Enter in the field presses the button that confirms.
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
