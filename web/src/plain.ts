// Reasons of the API and the proxy, in plain words.

/**
 * The reason of a state in plain words, without the state itself: `the server is shut off` for `the server is
 * SHUTOFF`, `the guest is paused` for `connected; the guest is paused`.
 */
export function plain(reason: string): string {
  return reason.replace(/^connected; /, '').replace(/(?<=\bserver is )[A-Z_]+\b/, (status) =>
    status === 'SHUTOFF' ? 'shut off' : status.toLowerCase().replaceAll('_', ' '),
  );
}
