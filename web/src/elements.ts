// Finds the elements that serial.html promises.

/** The element with this id. Throws if serial.html and the code disagree. */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`serial.html has no ${type.name} #${id}`);
  return found;
}

/** A button that does one thing. */
export function button(label: string, onClick: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = label;
  made.addEventListener('click', onClick);
  return made;
}
