// Changes of the page that touch only what differs, so that the focus, a selection, and what a screen reader is about
// to read are kept.

export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: HTMLElement, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Runs a change. If it takes away the element that has the focus, the focus moves to its closest ancestor that is still
 * there and can take it (`tabindex="-1"`), not to the top of the page.
 */
export function keepFocus(change: () => void): void {
  const focused = document.activeElement;
  const around: HTMLElement[] = [];
  for (let at = focused; at && at !== document.body; at = at.parentElement) {
    if (at instanceof HTMLElement && (at === focused || at.hasAttribute('tabindex'))) around.push(at);
  }
  change();
  if (around.length === 0) return;
  const refuge = around.find((element) => element.isConnected && !element.closest('[hidden]'));
  if (refuge && document.activeElement !== refuge) refuge.focus({ preventScroll: true });
}
