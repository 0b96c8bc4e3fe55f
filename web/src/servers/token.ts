// The API token: this tab's storage has it, so that a reload works, and nothing else.

const STORE = 'serialproxy.api-token';

export function keptToken(): string | undefined {
  try {
    return sessionStorage.getItem(STORE) ?? undefined;
  } catch {
    return undefined;
  }
}

export function keepToken(token: string): void {
  try {
    sessionStorage.setItem(STORE, token);
  } catch {
    // Storage can be switched off; then the token lasts as long as the page.
  }
}

/** Forgets the token and all else that this tab kept for the page. */
export function forgetAll(): void {
  try {
    sessionStorage.clear();
  } catch {
    // Then nothing was kept.
  }
}

/** Whether a text can be sent as a token at all: what a header takes. */
export function isSendable(token: string): boolean {
  return /^[\x21-\x7e]{1,4096}$/.test(token);
}
