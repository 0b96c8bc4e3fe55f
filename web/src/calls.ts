// Calls of the API by the terminal page, through the proxy that serves it. The proxy knows who makes them by the
// cookie of a login, which this page never sees.

import { root } from './places';

/** Milliseconds that a call may take. */
const PATIENCE = 20_000;

/** Why a call was not done; the message is for people. */
export class Fault extends Error {
  /** `status` is 0 when nobody answered. */
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The answer to a call, which is JSON; none to what deletes. */
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
