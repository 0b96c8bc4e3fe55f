// Finds elements of the page's HTML, and makes others.

/** The element with this id. Throws if the page's HTML has no such element of this type. */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return found;
}

export function button(label: string, onClick: () => void): HTMLButtonElement {
  const made = make('button', '', label);
  made.type = 'button';
  made.addEventListener('click', onClick);
  return made;
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}
