// The one kind of dialog of both pages: modal, it keeps the focus inside and gives it back, and Escape closes it.

import { button, make } from './elements';

export interface Dialog {
  readonly element: HTMLDialogElement;
  /** Resolves with what it was closed with; with '' for Escape. */
  readonly closed: Promise<string>;
  close(value?: string): void;
}

/** Opens a dialog of this name, and puts the focus on `first`. */
export function openDialog(name: string, content: HTMLElement[], first: HTMLElement): Dialog {
  const element = make('dialog', '', ...content);
  element.ariaLabel = name;
  document.body.append(element);
  let close: Dialog['close'] = () => undefined;
  const closed = new Promise<string>((resolve) => {
    close = (value = '') => {
      // First, since closing gives the focus back, and who waits may want it elsewhere.
      element.close();
      element.remove();
      resolve(value);
    };
  });
  element.addEventListener('cancel', (event) => {
    event.preventDefault();
    close();
  });
  element.showModal();
  first.focus();
  return { element, closed, close };
}

/** The row of buttons at the end of a dialog. */
export function buttons(...row: HTMLElement[]): HTMLElement {
  return make('div', 'buttons', ...row);
}

/** Shows something, until it is closed. */
export function showDialog(name: string, ...content: HTMLElement[]): Dialog {
  const end = button('Close', () => dialog.close());
  const dialog = openDialog(name, [make('h2', '', name), ...content, buttons(end)], end);
  return dialog;
}
