// What the user set for all consoles, kept by this browser.

/** What storage did not take, because it is switched off or full. It lasts as long as the page. */
const unkept = new Map<string, string>();

/** The kept value. Undefined if there is none. */
export function kept(name: string): string | undefined {
  try {
    return unkept.get(name) ?? localStorage.getItem(`serialproxy.${name}`) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a value. */
export function keep(name: string, value: string): void {
  try {
    localStorage.setItem(`serialproxy.${name}`, value);
    unkept.delete(name);
  } catch {
    unkept.set(name, value);
  }
}
