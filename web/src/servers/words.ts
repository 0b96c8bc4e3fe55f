// Every sentence about servers, lines and sessions. Pure functions of what the API said.

import type { Line, Power, Server, Session } from './api';
import { count, duration, format } from '../times';

const STATUS: Record<Server['status'], string> = {
  ACTIVE: 'running',
  ERROR: 'in error',
  PAUSED: 'paused',
  SHUTOFF: 'off',
  SUSPENDED: 'suspended to disk',
};

export function describeStatus({ status }: Server): string {
  return STATUS[status] ?? status;
}

export function describeState({ state, reason }: Line): string {
  const word = state === 'waiting' ? 'waiting for the guest' : state;
  return state === 'connected' || reason === '' ? word : `${word}: ${reason}`;
}

/** `alice writes since 09:00 (for 12 minutes), 2 watch` */
export function describePeople({ writer, watchers }: Line, now: Date): string {
  const writes = writer ? `${writer.user} writes ${since(writer.since, now)}` : 'nobody writes';
  if (watchers === 0) return writes;
  return `${writes}, ${watchers} ${watchers === 1 ? 'watches' : 'watch'}`;
}

export function describeEndpoint({ endpoint }: Line): string {
  return endpoint ? `${endpoint.kind} ${endpoint.address}` : 'no endpoint';
}

export function describeSession(session: Session, now: Date): string {
  const does = session.mode === 'write' ? 'writes' : 'watches';
  const lost = session.state === 'detached' ? ', connection lost' : '';
  return `${does} ${since(session.since, now)}, from ${session.address} (${session.protocol})${lost}`;
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
  stop: 'stopping…',
  reboot: 'asking it to reboot…',
};

export function describeDone({ name }: Server, power: Power): string {
  if (power === 'start') return `${name} was started.`;
  if (power === 'stop') return `${name} is off.`;
  return `${name} was asked to reboot.`;
}

/** A question before something that may harm. */
export interface Question {
  title: string;
  text: string;
  yes: string;
}

/** Nobody is thrown out of a running server without seeing who works on it. */
export function askPower({ name }: Server, power: 'stop' | 'reboot', lines: Line[]): Question {
  const busy = lines.flatMap(({ writer, port }) =>
    writer ? [`${writer.user} writes on port ${port}.`] : [],
  );
  if (power === 'reboot') {
    const text = 'The guest is asked to reboot. Consoles stay open and show the boot.';
    return { title: `Reboot ${name}?`, text: [text, ...busy].join(' '), yes: 'Reboot' };
  }
  const text =
    'The guest is asked to shut down; if it has not after 60 s, its power is cut. ' +
    'Consoles wait until it starts again.';
  return { title: `Stop ${name}?`, text: [text, ...busy].join(' '), yes: 'Stop' };
}

export function askDisconnect(session: Session, now: Date): Question {
  const { user, server, port, mode } = session;
  const does = mode === 'write' ? 'writes' : 'watches';
  return {
    title: `Disconnect ${user}?`,
    text:
      `${user} ${does} on port ${port} of ${server.name} ${since(session.since, now)}. ` +
      'The session ends at once, and they read who ended it.',
    yes: 'Disconnect',
  };
}
