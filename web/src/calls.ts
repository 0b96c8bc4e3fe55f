// API calls of the terminal page and of the page with tiles, through the proxy that serves them. The cookie of a login
// authenticates them; scripts cannot read it.

import { root } from './places';

/** Timeout of a call, in milliseconds. */
const PATIENCE = 20_000;

/** Why a call failed. The message is for the user. */
export class Fault extends Error {
  /** `status` is the HTTP status, or 0 if there was no valid answer. */
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The JSON of the answer, or undefined for 204. Throws a `Fault`. */
export async function call<T = void>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<T> {
  const init: RequestInit = { method, cache: 'no-store', credentials: 'same-origin' };
  if (body) {
    init.body = JSON.stringify(body);
    init.headers = { 'content-type': 'application/json' };
  }
  let answer: Response;
  try {
    answer = await fetch(root() + path, { ...init, signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Fault(0, 'The proxy cannot be reached. Check your network, then try again.');
  }
  if (answer.status === 204) return undefined as T;
  const read: unknown = await answer.json().catch(() => undefined);
  if (!answer.ok || typeof read !== 'object' || read === null) throw faultOf(answer.status, read);
  return read as T;
}

/** Reads `{"conflictingRequest": {"code": 409, "message": "…"}}`. */
function faultOf(status: number, body: unknown): Fault {
  const [fault] = Object.values((body ?? {}) as Record<string, { message?: unknown }>);
  const message = fault?.message;
  if (typeof message !== 'string') return new Fault(status, `The API failed without a reason (status ${status}).`);
  const words = message.charAt(0).toUpperCase() + message.slice(1);
  return new Fault(status, /[.!?]$/.test(words) ? words : `${words}.`);
}
