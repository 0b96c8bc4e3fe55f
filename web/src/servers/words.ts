// The sentences about servers, ports and sessions. Pure functions of what the API said.

import type { Question } from '../ask';
import { named } from '../names';
import type { Line, Power, Server, Session } from './api';
import { count, duration, format } from '../times';

/** Maximum number of hosts that are named. */
const HOSTS = 5;

const STATUS: Record<Server['status'], string> = {
  ACTIVE: 'running',
  ERROR: 'in error',
  HOST_LOST: 'host lost',
  PAUSED: 'paused',
  SHUTOFF: 'off',
  SUSPENDED: 'suspended',
};

/** What a port's row says of its state. */
export interface State {
  state: string;
  tone: Tone;
  group: 'running' | 'off' | 'failed' | 'other';
}

/** The state of a port, or of a server without one. */
export function stateOf(server: Server, line: Line | undefined, underWay: Power | undefined): State {
  if (underWay) return { state: UNDER_WAY[underWay], tone: 'wait', group: 'other' };
  const { status } = server;
  const isLost = status === 'HOST_LOST' || status === 'ERROR';
  if (isLost) return { state: STATUS[status], tone: 'bad', group: 'failed' };
  if (line?.state === 'failed') return { state: 'failed', tone: 'bad', group: 'failed' };
  if (line?.cause === 'crashed') return { state: 'crashed', tone: 'bad', group: 'failed' };
  if (server.static && line) {
    const isReached = line.state === 'connected';
    return isReached ? running('connected') : { state: 'connecting', tone: 'wait', group: 'other' };
  }
  if (status === 'SHUTOFF') return { state: STATUS[status], tone: 'off', group: 'off' };
  if (status !== 'ACTIVE') return { state: STATUS[status] ?? status, tone: 'wait', group: 'other' };
  if (line?.state === 'waiting') return { state: 'connecting', tone: 'wait', group: 'running' };
  return running(STATUS[status]);
}

const running = (state: string): State => ({ state, tone: 'good', group: 'running' });

/** `20 of 61 ports` */
export function countPorts(shown: number, all: number): string {
  return shown === all ? count(all, 'port') : `${shown} of ${count(all, 'port')}`;
}

/** Why a server has no port here. */
export function describePortless({ host }: Server, silent: boolean): string {
  if (!silent) return 'This server has no serial port with a console.';
  const name = host ? `Its host, ${host},` : 'Its host';
  return `${name} does not respond. Its consoles come back when the host does; the server itself may still run.`;
}

/** Which hosts did not respond; empty if all did. */
export function describeSilent(hosts: readonly string[]): string {
  if (hosts.length === 0) return '';
  const first = hosts.slice(0, HOSTS).join(', ');
  const more = hosts.length > HOSTS ? ` and ${hosts.length - HOSTS} more` : '';
  const does = hosts.length === 1 ? `The host ${first} does` : `These hosts do`;
  const names = hosts.length === 1 ? '' : `: ${first}${more}`;
  return `${does} not respond${names}. Consoles and sessions there are missing in this list.`;
}

/** How old the list of servers is; empty if it is current. */
export function describeStale(at: Date | undefined): string {
  if (!at) return '';
  return (
    `The servers are listed as of ${clock(at)}, and may have changed since: the store of the cluster does ` +
    'not respond. Open consoles go on; new ones have to wait.'
  );
}

/** Colors of the dots. */
export type Tone = 'good' | 'wait' | 'bad' | 'off' | 'unknown';

/** What follows the name of the user who types: `lost the connection · 2 watching`. */
export function describeOthers({ writer, watchers }: Line): string {
  const lost = writer?.free_in === undefined ? '' : 'lost the connection';
  const watching = watchers === 0 ? '' : `${watchers} watching`;
  return [lost, watching].filter(Boolean).join(' · ');
}

/** `alice has been typing since 09:00 (for 12 minutes)` */
export function describeTypist({ writer }: Line, now: Date): string {
  if (!writer) return '';
  const lost = writer.free_in === undefined ? '' : `, lost the connection, free in ${writer.free_in} s`;
  return `${named(writer.user)} has been typing ${since(writer.since, now)}${lost}`;
}

/** Time since the last output, short enough for a column. */
export function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 5) return 'now';
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / (24 * 3600))} d`;
}

export function describeSession(session: Session, now: Date): string {
  const does = session.mode === 'write' ? 'typing' : 'watching';
  const ends = session.ends_in === undefined ? '' : `, ends in ${session.ends_in} s`;
  const lost = session.state === 'detached' ? `, connection lost${ends}` : '';
  return `has been ${does} ${since(session.since, now)}, from ${session.address} (${session.protocol})${lost}`;
}

/** `since 09:00 (for 12 minutes)`, in the reader's time zone; with the day, if that is not today. */
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
  reboot: 'rebooting…',
};

/** Why a server cannot do this now; empty if it can. */
export function whyNot(power: Power, { status }: Server, causes: readonly (string | undefined)[]): string {
  const isSuspended = status === 'SUSPENDED';
  // The causes of a suspended guest's lines show whether it is suspended to memory (resume) or to disk (start).
  const can: Record<Power, boolean> = {
    start: ['SHUTOFF', 'ERROR'].includes(status) || (isSuspended && !causes.includes('paused')),
    resume: status === 'PAUSED' || (isSuspended && !causes.includes('stopped')),
    pause: status === 'ACTIVE',
    reboot: status === 'ACTIVE',
    stop: status === 'ACTIVE' || status === 'ERROR',
  };
  if (can[power]) return '';
  return status === 'HOST_LOST' ? 'its host does not respond' : `it is ${STATUS[status] ?? status}`;
}

export function describeDone(server: Server, power: Power): string {
  const name = named(server.name);
  if (power === 'start') return `${name} was started.`;
  if (power === 'stop') return `${name} is off.`;
  if (power === 'pause') return `${name} is paused.`;
  if (power === 'resume') return `${name} was resumed.`;
  return `${name} was asked to reboot.`;
}

/** The question before a change of power, which names everybody who types there; undefined if none is needed. */
export function askPower(server: Server, power: Power, lines: Line[]): Question | undefined {
  if (power === 'start' || power === 'resume') return undefined;
  const name = named(server.name);
  const busy = lines.flatMap(({ writer, port }) =>
    writer ? [`${named(writer.user)} is typing on port ${port}.`] : [],
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
    title: `Disconnect ${named(user)}?`,
    text:
      `${named(user)} has been ${does} on port ${port} of ${named(server.name)} ${since(session.since, now)}. ` +
      'The session ends at once, and they see who ended it.',
    yes: 'Disconnect',
  };
}
