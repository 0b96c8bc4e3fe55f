// Asks before something that others notice or that can't be undone.

import { element } from './elements';

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
}

/** What the user said. */
export interface Answer {
  reason: string;
  choice: string;
}

/** The answer, or nothing for no. The dialog keeps the focus inside and gives it back. */
export function ask(question: Question): Promise<Answer | undefined> {
  const dialog = element('ask', HTMLDialogElement);
  if (dialog.open) return Promise.resolve(undefined);
  const reason = element('ask-reason', HTMLInputElement);
  const choice = element('ask-choice', HTMLSelectElement);
  const cancel = element('ask-cancel', HTMLButtonElement);
  fill(question, reason, choice);
  dialog.showModal();
  if (question.reason === undefined || question.danger) cancel.focus();
  else reason.focus();
  return new Promise((resolve) => {
    // Not by the event `close` alone: it comes late, and then may belong to the question before.
    element('ask-form', HTMLFormElement).onsubmit = (event) => {
      // First, since closing gives the focus back, and who asked may want it elsewhere.
      event.preventDefault();
      dialog.close();
      const yes = event.submitter?.id === 'ask-yes';
      resolve(yes ? { reason: reason.value, choice: choice.value } : undefined);
    };
    dialog.onclose = () => dialog.open || resolve(undefined);
  });
}

function fill(question: Question, reason: HTMLInputElement, choice: HTMLSelectElement): void {
  const { title, text, yes, preview = '', choices = [] } = question;
  element('ask-title', HTMLElement).textContent = title;
  element('ask-text', HTMLElement).textContent = text;
  const button = element('ask-yes', HTMLButtonElement);
  button.textContent = yes;
  button.classList.toggle('danger', question.danger ?? false);
  const shown = element('ask-preview', HTMLElement);
  shown.hidden = preview === '';
  shown.textContent = preview;
  reason.value = '';
  element('ask-reason-label', HTMLElement).textContent = question.reason ?? '';
  element('ask-reason-row', HTMLElement).hidden = question.reason === undefined;
  choice.replaceChildren(...choices.map(([value, words]) => new Option(words, value)));
  element('ask-choice-row', HTMLElement).hidden = choices.length === 0;
  // Enter in the field means yes, not the first button.
  reason.onkeydown = (event) => {
    if (event.key !== 'Enter' || event.isComposing) return;
    event.preventDefault();
    button.click();
  };
}
