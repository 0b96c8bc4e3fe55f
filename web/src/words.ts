// Every sentence that tells how a session stands or why it ended: what happened, and what to do.
// Pure functions of what the proxy said.

import type { Attachment } from './attachment';
import { Code } from './messages';

/** What the page can offer after an end. */
export type Offer = 'reconnect' | 'watch' | 'force';

/** How a session ended, in words. */
export interface Ending {
  /** For the status line, after `closed`. */
  short: string;
  /** Whole sentences. */
  text: string;
  offers: Offer[];
  /** Whether the page comes back by itself. */
  retry: boolean;
}

/** Who writes on a console that refused us, and since when as an RFC 3339 time. */
export interface Holder {
  user: string;
  since?: string | undefined;
}

/** What is known about a session that ended. */
export interface End {
  code: number;
  reason: string;
  /** The session, if the proxy let it in. */
  attachment: Attachment | undefined;
  /** The name of the server, if this page ever was attached. */
  server: string | undefined;
  /** Who writes, if that is why we were refused. */
  holder: Holder | undefined;
  now: Date;
}

/** The line's state, for the status line. */
export function describeState({ state, reason }: Attachment): string {
  const word = state === 'waiting' ? 'waiting for the guest' : state;
  return state === 'connected' || reason === '' ? word : `${word}: ${reason}`;
}

/** Who types, for the status line. */
export function describePen(attachment: Attachment): string {
  if (attachment.writes) return 'you write';
  if (attachment.writer === undefined) return 'you watch';
  return `${attachment.writer ?? 'nobody'} writes, you watch`;
}

function describeLoss({ loss }: Attachment): string | undefined {
  if (!loss) return undefined;
  return `${loss.by ?? 'Someone else'} took over typing${because(loss.reason)} You watch now.`;
}

/** What a session that goes on has to be told: that it lost the pen, or may not take it. */
export function describeNotice(attachment: Attachment): string | undefined {
  if (!attachment.mayNotForce) return describeLoss(attachment);
  const { writer } = attachment;
  const from = writer ? ` from ${writer}` : '';
  return `You may not take over${from}: that needs an administrator's console URL. You watch now.`;
}

/** Reads `busy: alice since 2026-11-22T09:00:00Z`. */
export function parseBusy(reason: string): Holder | undefined {
  const match = /^busy: (.+?)(?: since (\S+))?$/.exec(reason);
  return match?.[1] ? { user: match[1], since: match[2] } : undefined;
}

/** `since 09:00 (for 12 minutes)`, in the reader's own clock; the day too when it isn't today. */
export function describeSince(since: string | undefined, now: Date): string {
  const start = new Date(since ?? '');
  if (Number.isNaN(start.getTime())) return '';
  const today = start.toDateString() === now.toDateString();
  const day = today ? '' : `${format(start, { day: 'numeric', month: 'short' })}, `;
  const time = format(start, { hour: '2-digit', minute: '2-digit' });
  return ` since ${day}${time} (for ${duration(now.getTime() - start.getTime())})`;
}

/** Why a session ended and what to do next. */
export function describeEnd(end: End): Ending {
  const why = end.reason.replace(/^(busy|stopped|unreachable|draining|too many sessions): /, '');
  const describe = ENDINGS[end.code] ?? unknownCode;
  return describe(end, because(why));
}

type Describe = (end: End, why: string) => Ending;

const restart: Describe = () => retry('the proxy restarts', 'The proxy is restarting.');

const ENDINGS: Record<number, Describe> = {
  [Code.normal]: (_, why) =>
    stay('the console ended', `The console has ended${why} Reconnect to open it again.`),
  [Code.goingAway]: restart,
  [Code.serviceRestart]: restart,
  [Code.tryAgainLater]: restart,
  [Code.draining]: restart,
  [Code.connectionLost]: ({ attachment }) =>
    attachment
      ? retry('connection lost', 'The connection was lost. Output in between may be missing.')
      : retry('no connection', 'The proxy cannot be reached.'),
  [Code.protocolError]: (_, why) =>
    stay(
      'refused',
      `The proxy could not make sense of this request${why} Ask for a new console URL.`,
    ),
  [Code.tooBig]: () =>
    stay(
      'too much at once',
      'More was sent at once than the proxy takes. Reconnect, and paste less at a time.',
    ),
  [Code.internalError]: (_, why) =>
    stay(
      'a fault of the proxy',
      `The proxy had a fault${why} Reconnect; if it happens again, tell its administrator.`,
    ),
  [Code.token]: ({ server }) =>
    stay(
      'URL expired',
      `This console URL has expired or was revoked. Ask for a new one: ${command(server)}`,
    ),
  [Code.forbidden]: (_, why) =>
    stay('not allowed', `That is not allowed${why}`, ['watch', 'reconnect']),
  [Code.noSuchLine]: ({ server }, why) =>
    stay(
      'no such console',
      `This server or serial port does not exist (any more)${why} ` +
        `Check its name, then ask for a new one: ${command(server)}`,
    ),
  [Code.busy]: busy,
  [Code.takenOver]: (_, why) =>
    stay(
      'taken over',
      `Someone else took over this console${why} Watch, or reconnect when they are done.`,
      ['watch', 'reconnect'],
    ),
  [Code.disconnected]: thrownOff,
  [Code.idle]: (_, why) =>
    stay('idle too long', `The session was idle for too long${why} Reconnect to go on.`),
  [Code.sessionLimit]: sessionLimit,
  [Code.guestStopped]: (_, why) =>
    stay('guest stopped', `The guest does not run${why} Start it, then reconnect.`),
  [Code.tooSlow]: () =>
    stay(
      'too slow',
      'This browser was too slow for the output. ' +
        'Output in between may be missing: reconnect to go on.',
    ),
  [Code.unreachable]: (_, why) =>
    stay(
      'guest unreachable',
      `The guest runs, but its serial port cannot be reached${why} ` +
        'Reconnect in a while; if it stays so, tell the administrator.',
    ),
};

function unknownCode({ code }: End, why: string): Ending {
  const text = `The proxy closed the connection with code ${code}${why} Reconnect to try again.`;
  return stay(`code ${code}`, text);
}

/** One code for two limits: of sessions at a time, and of a session's time. */
function sessionLimit({ reason, server }: End, why: string): Ending {
  if (reason.startsWith('too many sessions')) {
    const text = `This console has as many sessions as it may have${why}`;
    return stay('too many sessions', `${text} Close one of them, then reconnect.`);
  }
  const text = `This session's time is over${why}`;
  return stay('time is over', `${text} Reconnect, or ask for a new URL: ${command(server)}`);
}

function busy(end: End): Ending {
  const holder = end.holder ?? parseBusy(end.reason);
  if (!holder) {
    return stay('busy', 'Someone is typing here. Watch, or disconnect them.', [
      'watch',
      'force',
      'reconnect',
    ]);
  }
  const text = `${holder.user} has been typing here${describeSince(holder.since, end.now)}. Watch, or disconnect them.`;
  return stay(`${holder.user} writes`, text, ['watch', 'force', 'reconnect']);
}

/** The proxy says who and why in a `pen` message, or in the reason of the close. */
function thrownOff({ attachment, reason }: End): Ending {
  const match = /^disconnected by ([^:]+)(?:: (.*))?$/.exec(reason);
  const by = attachment?.loss?.by ?? match?.[1];
  const why = attachment?.loss?.reason ?? (match ? match[2] : reason);
  const who = by ? `An administrator (${by})` : 'An administrator';
  return stay('disconnected', `${who} disconnected you${because(why)}`, ['reconnect', 'watch']);
}

function stay(short: string, text: string, offers: Offer[] = ['reconnect']): Ending {
  return { short, text, offers, retry: false };
}

function retry(short: string, text: string): Ending {
  return { short, text, offers: ['reconnect'], retry: true };
}

/** `: reason.`, or only the full stop. */
function because(reason: string | undefined): string {
  const words = reason?.trim().replace(/\.$/, '');
  return words ? `: ${words}.` : '.';
}

function command(server: string | undefined): string {
  return `serialproxy get-serial-console ${server ?? 'SERVER'} serial`;
}

function format(date: Date, options: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat(undefined, options).format(date);
}

function duration(milliseconds: number): string {
  const minutes = Math.max(0, Math.floor(milliseconds / 60_000));
  if (minutes < 1) return 'less than a minute';
  if (minutes < 60) return count(minutes, 'minute');
  if (minutes < 48 * 60) return count(Math.floor(minutes / 60), 'hour');
  return count(Math.floor(minutes / (24 * 60)), 'day');
}

function count(number: number, unit: string): string {
  return `${number} ${unit}${number === 1 ? '' : 's'}`;
}
