// The rows of the table: one for each port, and one for each server without ports. Pure functions of what the API said.

import { plain } from '../plain';
import type { Line, Power, Server } from './api';
import type { Fleet, Port } from './fleet';
import type { Seen } from './seen';
import * as words from './words';
import type { Tone } from './words';

export interface Row {
  key: string;
  server: Server;
  /** Undefined for a port without a console, and for a server without ports. */
  line: Line | undefined;
  port: number | undefined;
  /** When it printed last, in milliseconds since 1970. */
  printed: number | undefined;
  state: string;
  tone: Tone;
  group: 'running' | 'off' | 'failed' | 'other';
  /** The last printed line, or why there is none. */
  text: string;
  isReason: boolean;
  /** Bytes that were printed since the user looked at it. */
  unseen: number;
  isUsed: boolean;
  /** The change of power that is under way. */
  underWay: Power | undefined;
  /** Whether its current state is unknown, because its host does not respond. */
  isStale: boolean;
}

export const CHIPS = ['all', 'running', 'off', 'failed', 'new', 'used'] as const;
export type Chip = (typeof CHIPS)[number];

export const COLUMNS = ['state', 'name', 'port', 'text', 'user', 'age'] as const;
export type Column = (typeof COLUMNS)[number];

/** Which rows are shown, and in which order. */
export interface View {
  chip: Chip;
  filter: string;
  column: Column;
  descending: boolean;
}

const names = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });

/** All rows, sorted by name and port. */
export function rowsOf(fleet: Fleet, seen: Seen, underWay: ReadonlyMap<string, Power>): Row[] {
  const ports = new Map<string, Port[]>();
  for (const port of fleet.ports.values()) {
    const { id } = port.line.server;
    const others = ports.get(id);
    if (others) others.push(port);
    else ports.set(id, [port]);
  }
  const rows = fleet.servers.flatMap((server) => {
    const about = { server, underWay: underWay.get(server.id), isStale: isSilent(server, fleet) };
    const own = (ports.get(server.id) ?? []).map((port) => rowOf(port, about, seen));
    const unusable = (server.unusable_ports ?? []).map(({ port, reason }) => without(about, port, reason));
    if (own.length + unusable.length > 0) return [...own, ...unusable];
    return [without(about, undefined, words.describePortless(server, about.isStale))];
  });
  return rows.sort(byName);
}

/** How many rows each chip has. */
export function countsOf(rows: readonly Row[]): Record<Chip, number> {
  const counts = { all: 0, running: 0, off: 0, failed: 0, new: 0, used: 0 };
  for (const row of rows) for (const chip of CHIPS) if (belongs(row, chip)) counts[chip] += 1;
  return counts;
}

/** The rows that a view shows, in its order. `rows` are sorted by name. */
export function select(rows: readonly Row[], { chip, filter, column, descending }: View): Row[] {
  const wanted = filter.trim().toLowerCase();
  const shown = rows.filter((row) => belongs(row, chip) && (wanted === '' || matches(row, wanted)));
  // Sorting is stable: equal rows stay sorted by name.
  const order = ORDERS[column];
  return shown.sort((a, b) => (descending ? order(b, a) : order(a, b)));
}

interface About {
  server: Server;
  underWay: Power | undefined;
  isStale: boolean;
}

function rowOf({ line, printed }: Port, about: About, seen: Seen): Row {
  const { state, tone, group } = words.stateOf(about.server, line, about.underWay);
  const isReason = line.state === 'failed' || (line.last_line ?? '') === '';
  return {
    ...about,
    key: `${line.server.id}/${line.port}`,
    line,
    port: line.port,
    printed,
    state,
    tone: about.isStale ? 'unknown' : tone,
    group,
    text: line.state === 'failed' ? plain(line.reason) : (line.last_line ?? ''),
    isReason,
    unseen: seen.unseen(line),
    isUsed: line.writer !== null || line.watchers > 0,
  };
}

function without(about: About, port: number | undefined, reason: string): Row {
  const { state, tone, group } = words.stateOf(about.server, undefined, about.underWay);
  return {
    ...about,
    key: `${about.server.id}/${port ?? ''}`,
    line: undefined,
    port,
    printed: undefined,
    state,
    tone: about.isStale && about.server.status !== 'HOST_LOST' ? 'unknown' : tone,
    group,
    text: reason,
    isReason: true,
    unseen: 0,
    isUsed: false,
  };
}

function isSilent({ host, status }: Server, { unreachable }: Fleet): boolean {
  return status === 'HOST_LOST' || (host !== undefined && unreachable.includes(host));
}

function belongs(row: Row, chip: Chip): boolean {
  if (chip === 'all') return true;
  if (chip === 'new') return row.unseen > 0;
  return chip === 'used' ? row.isUsed : row.group === chip;
}

function matches({ server, text, line }: Row, wanted: string): boolean {
  return [server.name, text, line?.writer?.user ?? ''].some((one) => one.toLowerCase().includes(wanted));
}

function byName(a: Row, b: Row): number {
  return names.compare(a.server.name, b.server.name) || compare(a.server.id, b.server.id) || byPort(a, b);
}

function byPort(a: Row, b: Row): number {
  return (a.port ?? 256) - (b.port ?? 256);
}

const ORDERS: Record<Column, (a: Row, b: Row) => number> = {
  state: (a, b) => compare(a.state, b.state),
  name: byName,
  port: byPort,
  // Rows without text come last.
  text: (a, b) => Number(a.text === '') - Number(b.text === '') || names.compare(a.text, b.text),
  user: (a, b) => users(b) - users(a) || names.compare(typist(a), typist(b)),
  age: (a, b) => (b.printed ?? 0) - (a.printed ?? 0),
};

/** Ports where somebody types come first, then those that somebody watches. */
function users({ line }: Row): number {
  return (line?.writer ? 2 : 0) + (line && line.watchers > 0 ? 1 : 0);
}

function typist({ line }: Row): string {
  return line?.writer?.user ?? '';
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
