// What the page knows of all servers and their ports. It asks for all of it from time to time, and in
// between only for the ports that changed.

import type { All, Api, Line, Server } from './api';
import { key } from './seen';

/** Milliseconds after which everything is asked for again: what has gone is in no list of changes. */
const WHOLE = 10_000;

/** Seconds that a question for changes goes back further than the last one. */
const OVERLAP = 2;

/** A port, and when it printed last, by the clock of this browser. */
export interface Port {
  line: Line;
  printed: number | undefined;
}

/** Everything at one time. It is replaced as a whole and never changed. */
export interface Fleet {
  at: Date;
  /** When the servers were so, where they are not known to be so now. */
  serversAt: Date | undefined;
  servers: readonly Server[];
  ports: ReadonlyMap<string, Port>;
  /** Hosts whose lines are missing, because they did not respond. */
  unreachable: readonly string[];
}

export class Fleets {
  private wholeAt = 0;
  private askedAt = 0;

  /** Asks for everything the next time. */
  renew(): void {
    this.wholeAt = 0;
  }

  /** The fleet as it is now, after the one that was known before. */
  async next(api: Api, before: Fleet | undefined): Promise<Fleet> {
    const now = Date.now();
    // A clock that was set back tells nothing.
    if (before && now >= this.askedAt && now - this.wholeAt < WHOLE) {
      const within = Math.ceil((now - this.askedAt) / 1000) + OVERLAP;
      const fleet = await this.changed(await api.lines(within), before);
      this.askedAt = now;
      if (fleet) return fleet;
    }
    const [servers, lines] = await Promise.all([api.servers(), api.lines()]);
    this.askedAt = this.wholeAt = now;
    return whole(servers, lines, before);
  }

  /** The fleet with these changes; none where they may be of the servers too. */
  private changed({ items, unreachable }: All<Line>, before: Fleet): Fleet | undefined {
    if (String(named(unreachable)) !== String(before.unreachable)) return undefined;
    const ports = new Map(before.ports);
    for (const line of items) {
      const known = ports.get(key(line));
      if (known?.line.state !== line.state || known.line.cause !== line.cause) return undefined;
      ports.set(key(line), portOf(line, known));
    }
    return { ...before, at: new Date(), ports };
  }
}

function whole(servers: All<Server>, lines: All<Line>, before: Fleet | undefined): Fleet {
  return {
    at: new Date(),
    serversAt: servers.asOf === undefined ? undefined : new Date(servers.asOf),
    servers: servers.items,
    ports: new Map(lines.items.map((line) => [key(line), portOf(line, before?.ports.get(key(line)))])),
    unreachable: named(lines.unreachable),
  };
}

/** The API says how many whole seconds ago a line printed: the time stays until it prints again. */
function portOf(line: Line, known: Port | undefined): Port {
  const isSame = known?.line.line === line.line && known.line.offset === line.offset;
  if (isSame && known.printed !== undefined) return { line, printed: known.printed };
  return { line, printed: line.idle === undefined ? undefined : Date.now() - line.idle * 1000 };
}

function named(hosts: string[]): string[] {
  return [...new Set(hosts)].sort();
}
