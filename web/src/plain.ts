// Words of the API and the proxy as people say them.

/** A reason with the server's status in plain words: `the server is shut off`. */
export function plain(reason: string): string {
  return reason.replace(/(?<=\bserver is )[A-Z_]+\b/, (status) =>
    status === 'SHUTOFF' ? 'shut off' : status.toLowerCase().replaceAll('_', ' '),
  );
}
