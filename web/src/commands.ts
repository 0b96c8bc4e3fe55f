// The commands that the page shows and copies, quoted for a POSIX shell.

/** A serial port of a server. */
export interface Console {
  server: { id: string; name: string };
  port: number;
  /** Whether Nova creates its console URLs. */
  nova?: boolean;
}

/** The command for a new console URL, for use in a sentence. Before the proxy has named the console, both commands. */
export function describeUrlCommand(console: Console | undefined): string {
  if (console) return urlCommand(console);
  return (
    'serialproxy get-serial-console SERVER serial ' +
    "(with OpenStack's Nova: openstack console url show --serial SERVER)"
  );
}

/** The command that makes a console URL. */
export function urlCommand({ server, port, nova }: Console): string {
  if (nova) return `openstack console url show --serial ${word(server)}`;
  return `serialproxy get-serial-console ${word(server)} serial${port === 0 ? '' : ` --port ${port}`}`;
}

/** The command that watches a console in a terminal. */
export function watchCommand({ server, port }: Console): string {
  return `serialproxy connect ${word(server)} --port ${port} --watch`;
}

/**
 * A server as one word of the shell: its name, or its id if the name is empty, could be taken for an option, or
 * contains invisible characters.
 */
function word({ id, name }: Console['server']): string {
  if (name.startsWith('-') || /^$|\p{C}/u.test(name)) return id;
  return /^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}
