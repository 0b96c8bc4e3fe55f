// What the user set up for all consoles, kept by this browser.

/** The kept value, or nothing. */
export function kept(name: string): string | undefined {
  try {
    return localStorage.getItem(`serialproxy.${name}`) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a value. Storage can be switched off; then it lasts as long as the page. */
export function keep(name: string, value: string): void {
  try {
    localStorage.setItem(`serialproxy.${name}`, value);
  } catch {
    // Said above.
  }
}
