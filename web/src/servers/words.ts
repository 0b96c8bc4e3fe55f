// The sentences about servers, ports and sessions. Pure functions of what the API said.

import type { Line, Power, Server, Session } from './api';
import { plain } from '../plain';
import { count, duration, format } from '../times';

/** Hosts that are named one by one. */
const HOSTS = 5;

const STATUS: Record<Server['status'], string> = {
  ACTIVE: 'running',
  ERROR: 'in error',
  HOST_LOST: 'host lost',
  PAUSED: 'paused',
  SHUTOFF: 'off',
  SUSPENDED: 'suspended',
};

/** The state of a server; for a static one, whether its ports are reached. */
export function describeStatus(server: Server, lines: Line[]): string {
  if (!server.static) return STATUS[server.status] ?? server.status;
  const reached = lines.filter(({ state }) => state === 'connected').length;
  if (reached === lines.length) return 'serial port, reachable';
  if (reached === 0) return 'serial port, unreachable';
  return `serial ports, ${reached} of ${lines.length} reachable`;
}

/** Why a server has no port here. */
export function describePortless({ host }: Server, silent: boolean): string {
  if (!silent) return 'This server has no serial port with a console.';
  const name = host ? `Its host, ${host},` : 'Its host';
  return `${name} does not respond. Its consoles come back when the host does; the server itself may still run.`;
}

/** Which hosts did not respond; nothing where all did. */
export function describeSilent(hosts: string[]): string {
  if (hosts.length === 0) return '';
  const named = hosts.slice(0, HOSTS).join(', ');
  const more = hosts.length > HOSTS ? ` and ${hosts.length - HOSTS} more` : '';
  const does = hosts.length === 1 ? `The host ${named} does` : `These hosts do`;
  const names = hosts.length === 1 ? '' : `: ${named}${more}`;
  return `${does} not respond${names}. Consoles and sessions there are missing in this list.`;
}

/** How old the list of servers is; nothing where it is current. */
export function describeStale(at: Date | undefined): string {
  if (!at) return '';
  return (
    `The servers are listed as of ${clock(at)}, and may have changed since: the store of the cluster does ` +
    'not respond. Open consoles go on; new ones have to wait.'
  );
}

/** Why ports have no console, one a line. */
export function describeUnusable({ unusable_ports: ports = [] }: Server): string {
  return ports.map(({ port, reason }) => `Port ${port} has no console: ${reason}`).join('\n');
}

/** Adds the time of the last answer where the API does not answer now. */
export function dated(words: string, asOf: string | undefined): string {
  return asOf === undefined ? words : `${words} at ${asOf}`;
}

/** Colors of the dots. */
export type Tone = 'good' | 'wait' | 'bad' | 'off' | 'unknown';

export function toneOf(server: Server, lines: Line[]): Tone {
  if (server.static) {
    if (lines.some(({ state }) => state === 'failed')) return 'bad';
    return lines.every(({ state }) => state === 'connected') ? 'good' : 'wait';
  }
  if (server.status === 'ACTIVE') return 'good';
  if (server.status === 'ERROR' || server.status === 'HOST_LOST') return 'bad';
  return server.status === 'SHUTOFF' ? 'off' : 'wait';
}

/** Whether the guest of a connected port reads nothing now. */
function isHalted(cause: Line['cause']): boolean {
  return cause === 'paused' || cause === 'crashed';
}

export function lineTone({ state, cause }: Line): Tone {
  if (state === 'connected') return isHalted(cause) ? 'wait' : 'good';
  return state === 'failed' ? 'bad' : 'off';
}

export function describeState({ state, cause, reason }: Line): string {
  const words = { waiting: 'waiting for the guest', connected: 'connected', failed: 'failed' };
  if (state === 'connected' && !isHalted(cause)) return words.connected;
  return reason === '' ? words[state] : `${words[state]}: ${plain(reason)}`;
}

/** `alice has been typing since 09:00 (for 12 minutes), 2 watching` */
export function describePeople({ writer, watchers }: Line, now: Date): string {
  const lost = writer?.free_in === undefined ? '' : `, lost the connection, free in ${writer.free_in} s`;
  const types = writer
    ? `${writer.user} has been typing ${since(writer.since, now)}${lost}`
    : 'nobody is typing';
  return watchers === 0 ? types : `${types}, ${watchers} watching`;
}

export function describeEndpoint({ endpoint }: Line): string {
  return endpoint ? `${endpoint.kind} ${endpoint.address}` : 'no endpoint';
}

export function describeSession(session: Session, now: Date): string {
  const does = session.mode === 'write' ? 'typing' : 'watching';
  const ends = session.ends_in === undefined ? '' : `, ends in ${session.ends_in} s`;
  const lost = session.state === 'detached' ? `, connection lost${ends}` : '';
  return `has been ${does} ${since(session.since, now)}, from ${session.address} (${session.protocol})${lost}`;
}

export function countSessions(number: number): string {
  return count(number, 'session');
}

/** `since 09:00 (for 12 minutes)`, in the reader's own clock; the day too when it isn't today. */
function since(time: string, now: Date): string {
  const start = new Date(time);
  if (Number.isNaN(start.getTime())) return '';
  const today = start.toDateString() === now.toDateString();
  const day = today ? '' : `${format(start, { day: 'numeric', month: 'short' })}, `;
  const at = format(start, { hour: '2-digit', minute: '2-digit' });
  return `since ${day}${at} (for ${duration(now.getTime() - start.getTime())})`;
}

/** `09:00:07` */
export function clock(time: Date): string {
  return format(time, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
}

/** `1.2 KiB` */
export function size(bytes: number): string {
  if (bytes < 1024) return count(bytes, 'byte');
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

export const UNDER_WAY: Record<Power, string> = {
  start: 'starting…',
  pause: 'pausing…',
  resume: 'resuming…',
  stop: 'stopping…',
  reboot: 'asking it to reboot…',
};

export function describeDone({ name }: Server, power: Power): string {
  if (power === 'start') return `${name} was started.`;
  if (power === 'stop') return `${name} is off.`;
  if (power === 'pause') return `${name} is paused.`;
  if (power === 'resume') return `${name} was resumed.`;
  return `${name} was asked to reboot.`;
}

/** A question before an action that can do harm. */
export interface Question {
  title: string;
  text: string;
  yes: string;
}

/** The question before a server stops, which names everybody who types there. */
export function askPower({ name }: Server, power: Power, lines: Line[]): Question | undefined {
  if (power === 'start' || power === 'resume') return undefined;
  const busy = lines.flatMap(({ writer, port }) =>
    writer ? [`${writer.user} is typing on port ${port}.`] : [],
  );
  if (power === 'reboot') {
    const text = 'The guest is asked to reboot. If it has not after a minute, it is reset. Consoles stay open.';
    return { title: `Reboot ${name}?`, text: [text, ...busy].join(' '), yes: 'Reboot' };
  }
  if (power === 'pause') {
    const text = 'The guest stops where it is until it is resumed. What users type meanwhile waits.';
    return { title: `Pause ${name}?`, text: [text, ...busy].join(' '), yes: 'Pause' };
  }
  const text =
    'The guest is asked to shut down. If it still runs after a minute, its power is cut. ' +
    'Consoles stay open, and wait until it starts again.';
  return { title: `Stop ${name}?`, text: [text, ...busy].join(' '), yes: 'Stop' };
}

export function askDisconnect(session: Session, now: Date): Question {
  const { user, server, port, mode } = session;
  const does = mode === 'write' ? 'typing' : 'watching';
  return {
    title: `Disconnect ${user}?`,
    text:
      `${user} has been ${does} on port ${port} of ${server.name} ${since(session.since, now)}. ` +
      'The session ends at once, and they see who ended it.',
    yes: 'Disconnect',
  };
}
