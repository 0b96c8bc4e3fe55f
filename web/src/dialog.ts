// The dialog of all pages. It is modal, keeps the focus inside, returns the focus when it closes, and Escape closes it.

import { button, make } from './elements';

export interface Dialog {
  readonly element: HTMLDialogElement;
  /** Resolves with the value passed to `close`, or with '' for Escape. */
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
      // Before it resolves: closing returns the focus, which the caller may want to move elsewhere.
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

/** Shows content, with a button that closes the dialog. */
export function showDialog(name: string, ...content: HTMLElement[]): Dialog {
  const end = button('Close', () => dialog.close());
  const dialog = openDialog(name, [make('h2', '', name), ...content, buttons(end)], end);
  return dialog;
}
