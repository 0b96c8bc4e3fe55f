// What the page knows of all servers and their ports. From time to time it asks for everything, and in between only for
// the ports that changed.

import type { All, Api, Line, Server } from './api';
import { key } from './seen';

/** Milliseconds after which it asks for everything again: a list of changes does not show what has gone. */
const WHOLE = 10_000;

/** Seconds by which a request for changes overlaps with the one before. */
const OVERLAP = 2;

/** A port, and when it printed last, in milliseconds since 1970 by the clock of this browser. */
export interface Port {
  line: Line;
  printed: number | undefined;
}

/** Everything at one time. It is replaced as a whole and never changed. */
export interface Fleet {
  at: Date;
  /** The time of the list of servers, if it is not current. */
  serversAt: Date | undefined;
  servers: readonly Server[];
  ports: ReadonlyMap<string, Port>;
  /** Hosts whose lines are missing, because they did not respond. */
  unreachable: readonly string[];
}

export class Fleets {
  private wholeAt = 0;
  private askedAt = 0;

  /** Makes the next request ask for everything. */
  renew(): void {
    this.wholeAt = 0;
  }

  /** The fleet as it is now. `before` is the fleet that was known so far. Throws a `Fault`. */
  async next(api: Api, before: Fleet | undefined): Promise<Fleet> {
    const now = Date.now();
    // If the clock was set back, the time since the last request is unknown.
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

  /** The fleet with these changes; undefined if the servers may have changed, too. */
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

/** The API gives the time of the last output in whole seconds, so that time is kept until the line prints again. */
function portOf(line: Line, known: Port | undefined): Port {
  const isSame = known?.line.line === line.line && known.line.offset === line.offset;
  if (isSame && known.printed !== undefined) return { line, printed: known.printed };
  return { line, printed: line.idle === undefined ? undefined : Date.now() - line.idle * 1000 };
}

function named(hosts: string[]): string[] {
  return [...new Set(hosts)].sort();
}
