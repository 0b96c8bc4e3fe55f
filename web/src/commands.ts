// The commands that the page shows and copies, as words of a POSIX shell.

/** A serial port of a server. */
export interface Console {
  server: { id: string; name: string };
  port: number;
  /** Whether Nova creates its URLs. */
  nova?: boolean;
}

/** The command for a new console URL, for a text. Before the proxy has named the console, there are two. */
export function describeUrlCommand(console: Console | undefined): string {
  if (console) return urlCommand(console);
  return (
    'serialproxy get-serial-console SERVER serial ' +
    "(with OpenStack's Nova: openstack console url show --serial SERVER)"
  );
}

/** Makes a console URL. */
export function urlCommand({ server, port, nova }: Console): string {
  if (nova) return `openstack console url show --serial ${word(server)}`;
  return `serialproxy get-serial-console ${word(server)} serial${port === 0 ? '' : ` --port ${port}`}`;
}

/** Watches a console in a terminal. */
export function watchCommand({ server, port }: Console): string {
  return `serialproxy connect ${word(server)} --port ${port} --watch`;
}

/**
 * A server as one word: its id where the name could be taken for an option, or holds characters that a
 * terminal or its reader would take for something else.
 */
function word({ id, name }: Console['server']): string {
  if (name.startsWith('-') || /^$|\p{C}/u.test(name)) return id;
  return /^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}
