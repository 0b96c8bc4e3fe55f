// Asks before something that may harm.

import { element } from '../elements';
import type { Question } from './words';

/** Whether the user wants to go on. */
export async function ask(question: Question): Promise<boolean> {
  return (await show(question, false)) !== undefined;
}

/** The reason in the user's words, which may be empty; none when they do not want to go on. */
export function askForReason(question: Question): Promise<string | undefined> {
  return show(question, true);
}

/** The dialog keeps the focus inside and gives it back. */
function show(question: Question, wantsReason: boolean): Promise<string | undefined> {
  const dialog = element('question', HTMLDialogElement);
  const reason = element('reason', HTMLInputElement);
  const no = element('question-no', HTMLButtonElement);
  element('question-title', HTMLElement).textContent = question.title;
  element('question-text', HTMLElement).textContent = question.text;
  element('question-reason', HTMLElement).hidden = !wantsReason;
  element('question-yes', HTMLButtonElement).textContent = question.yes;
  reason.value = '';
  dialog.returnValue = '';
  element('question-yes', HTMLButtonElement).value = 'yes';
  no.onclick = () => dialog.close('');
  dialog.showModal();
  (wantsReason ? reason : no).focus();
  return new Promise((resolve) => {
    const answer = () =>
      resolve(dialog.returnValue === 'yes' ? reason.value.trim() : undefined);
    dialog.addEventListener('close', answer, { once: true });
  });
}
