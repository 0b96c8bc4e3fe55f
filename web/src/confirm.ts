// Asks before someone else's session is ended.

import { element } from './elements';

/** Whether the user wants to go on. The dialog keeps the focus inside and gives it back. */
export function confirm(title: string, text: string, yes: string): Promise<boolean> {
  const dialog = element('confirm', HTMLDialogElement);
  element('confirm-title', HTMLElement).textContent = title;
  element('confirm-text', HTMLElement).textContent = text;
  element('confirm-yes', HTMLButtonElement).textContent = yes;
  dialog.returnValue = 'cancel';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
