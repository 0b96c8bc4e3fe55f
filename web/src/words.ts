// Every sentence that tells how a session stands or why it ended: what happened, and what to do.
// Pure functions of what the proxy said.

import type { Attachment } from './attachment';
import { Code } from './messages';

/** What the page can offer after an end. */
export type Offer = 'reconnect' | 'watch' | 'ask' | 'force' | 'here' | 'dismiss';

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

/** Names in the status line. */
const NAMES = 4;

/** Who writes on a console that refused us, and since when as an RFC 3339 time. */
export interface Holder {
  user: string;
  session?: string | undefined;
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

/** Who else is there, for the status line; nothing where nobody is. */
export function describeViewers({ viewers, who, hello }: Attachment): string {
  if (viewers < 2) return '';
  const others = who.filter(({ session }) => session !== hello.session).map(({ user }) => user);
  const named = others.slice(0, NAMES);
  const more = viewers - 1 - named.length;
  if (named.length > 0 && more > 0) named.push(`${more} more`);
  return `${viewers} attached${named.length > 0 ? `: you, ${named.join(', ')}` : ''}`;
}

/** Everyone who is known to be there, one a line. */
export function listViewers({ viewers, who, hello }: Attachment): string {
  const lines = who.map(({ session, user, mode }) => {
    const you = session === hello.session ? ' (you)' : '';
    return `${user}${you} ${mode === 'write' ? 'writes' : 'watches'}`;
  });
  if (viewers > who.length && lines.length > 0) lines.push(`and ${viewers - who.length} more`);
  return lines.join('\n');
}

function describeLoss({ loss, writer, hello }: Attachment): string | undefined {
  if (!loss) return undefined;
  if (loss.by === hello.user && writer && writer !== hello.user) {
    return `You gave ${writer} the pen${because(loss.reason)} You watch now.`;
  }
  return `${loss.by ?? 'Someone else'} took over typing${because(loss.reason)} You watch now.`;
}

/** What a session that goes on has to be told: that it lost the pen, or may not have it. */
export function describeNotice(attachment: Attachment): string | undefined {
  const { writer, refusal } = attachment;
  if (refusal) return `${refusal.by} keeps the pen${because(refusal.reason)} You watch on.`;
  if (!attachment.mayNotForce) return describeLoss(attachment);
  const from = writer ? ` from ${writer}` : '';
  return `You may not take over${from}: that needs an administrator's console URL. You watch now.`;
}

/** Who asks for the pen, for its holder or for who asked; nothing for others. */
export function describeWish(attachment: Attachment, now: number): string | undefined {
  const { wish, writes, asks, writer } = attachment;
  if (!wish || (!writes && !asks)) return undefined;
  const left = Math.ceil((wish.until - now) / 1000);
  if (asks) {
    const time = left > 0 ? `${left} s left to refuse` : 'the answer is due at any moment';
    return `Asked ${writer ?? 'the writer'} to let you write: ${time}.`;
  }
  const time = left > 0 ? `in ${left} s` : 'at any moment';
  return `${wish.by} asks to write${because(wish.reason)} Without an answer, ${wish.by} gets the pen ${time}.`;
}

/** In the terminal, where input may be missing. */
export function describeLostInput(bytes: number): string {
  const what = bytes === 1 ? '1 byte that you typed' : `${bytes} bytes that you typed`;
  return `[… ${what} may not have reached the guest: not sent again …]`;
}

/** When the page tries again, and for how long its place is kept, in milliseconds since 1970. */
export function describeRetry(
  retryAt: number | undefined,
  keptUntil: number | undefined,
  now: number,
): string {
  const left = (until: number): number => Math.max(0, Math.ceil((until - now) / 1000));
  const parts = retryAt === undefined ? [] : [`Trying again in ${left(retryAt)} s`];
  if (keptUntil !== undefined) {
    const kept = left(keptUntil);
    parts.push(kept > 0 ? `your place is kept for ${kept} s more` : 'your place may be gone');
  }
  return parts.join('; ');
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
      ? retry('connection lost', 'The connection was lost.')
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
    retry(
      'a fault of the proxy',
      `The proxy had a fault${why} If it stays so, tell its administrator.`,
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
  [Code.takenOver]: () =>
    stay('open in another window', 'This session goes on in another window.', ['here', 'watch']),
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
  const offers: Offer[] = ['watch', 'ask', 'force', 'reconnect'];
  if (!holder) {
    return stay('busy', 'Someone is typing here. Watch, ask to write, or disconnect them.', offers);
  }
  const since = describeSince(holder.since, end.now);
  const text = `${holder.user} has been typing here${since}. Watch, ask to write, or disconnect them.`;
  return stay(`${holder.user} writes`, text, offers);
}

/** The proxy says who and why in a `pen` message, or in the reason of the close. */
function thrownOff({ attachment, reason }: End): Ending {
  const match = /^disconnected by ([^:]+)(?:: (.*))?$/.exec(reason);
  const by = attachment?.loss?.by ?? match?.[1];
  const why = attachment?.loss?.reason ?? (match ? match[2] : reason);
  const who = by ? `An administrator (${by})` : 'An administrator';
  return stay('disconnected', `${who} disconnected you${because(why)}`, ['reconnect', 'watch']);
}

/** The user left. */
export const LEFT: Ending = {
  short: 'you left',
  text: 'You left the console, and someone else may write. Reconnect to open it again.',
  offers: ['reconnect'],
  retry: false,
};

/** The token's session meets the one before it, whose key went astray. */
export const OWN_OLD_SESSION: Ending = {
  short: 'your earlier session is still there',
  text: 'The proxy still holds the session that you had before the connection was lost. It fades within a minute.',
  offers: ['reconnect', 'watch', 'force'],
  retry: true,
};

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
