// What the user set for all consoles, kept by this browser.

/** The kept value. Undefined if there is none, or if storage is switched off. */
export function kept(name: string): string | undefined {
  try {
    return localStorage.getItem(`serialproxy.${name}`) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a value, unless storage is switched off or full. */
export function keep(name: string, value: string): void {
  try {
    localStorage.setItem(`serialproxy.${name}`, value);
  } catch {
    // The value is not kept.
  }
}
