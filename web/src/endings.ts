// Every sentence that tells why a session ended: what happened, and what to do. Pure functions of what
// the proxy said.

import type { Attachment } from './attachment';
import { urlCommand } from './commands';
import type { Console } from './commands';
import { Code } from './messages';
import type { Action, Mode } from './messages';
import { because, describeSince } from './words';

/** What the page can offer after an end. */
export type Offer =
  | 'reconnect'
  | 'watch'
  | 'ask'
  | 'force'
  | 'here'
  /** Take typing back from a lost session of one's own. */
  | 'back'
  | 'dismiss'
  /** Go to the servers page, to log in and open the console anew. */
  | 'servers'
  /** Copy the command that makes a console URL. */
  | 'command';

/** For who needs a new console URL. */
const NEW_URL: Offer[] = ['servers', 'command'];

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
  session?: string | undefined;
  since?: string | undefined;
  /** Whether it is another session of this page's user. */
  own?: boolean | undefined;
  /** Where its connection is lost: when the console is free, in milliseconds since 1970. */
  freeAt?: number | undefined;
  /** What this page's user may do, where the proxy said so. */
  can?: Action[] | undefined;
}

/** What is known about a session that ended. */
export interface End {
  code: number;
  reason: string;
  /** The session, if the proxy let it in. */
  attachment: Attachment | undefined;
  /** The console, if this page ever was attached. */
  console: Console | undefined;
  /** Who writes, if that is why we were refused. */
  holder: Holder | undefined;
  /** What this page asked for; without it the URL's own mode counted. */
  mode: Mode | undefined;
  /** Whether that is the session that this page had before it lost the connection. */
  earlier: boolean;
  /** Whether this page's user is known to be allowed to take over. */
  mayForce: boolean;
  now: Date;
}

/** Reads `busy: alice since 2026-11-22T09:00:00Z`, and passes over what may follow in parentheses. */
export function parseBusy(reason: string): Holder | undefined {
  const match = /^busy: (.+?)(?: since (\S+)(?: \(.+\))?)?$/.exec(reason);
  return match?.[1] ? { user: match[1], since: match[2] } : undefined;
}

/** Why a session ended and what to do next. */
export function describeEnd(end: End): Ending {
  const why = end.reason.replace(/^(busy|stopped|unreachable|held|draining|too many sessions): /, '');
  const describe = ENDINGS[end.code] ?? unknownCode;
  const { offers, ...ending } = describe(end, because(why));
  return { ...ending, offers: offers.filter((offer) => offer !== 'force' || end.mayForce) };
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
      NEW_URL,
    ),
  [Code.blocked]: () =>
    retry(
      'WebSockets are blocked',
      'The proxy answers, but no WebSocket gets through to it. A reverse proxy on the way must speak ' +
        'HTTP/1.1 and pass the Upgrade and Connection headers on; a firewall, an antivirus program or ' +
        'an extension of this browser may block WebSockets too. Show this to whoever runs them.',
    ),
  [Code.unsupported]: () =>
    stay(
      'no WebSockets',
      'This browser opens no WebSocket: it is too old, or a policy or an extension forbids them. ' +
        'Allow them for this site, or use another browser.',
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
  [Code.token]: ({ console }) =>
    stay(
      'URL expired',
      `This console URL has expired or was revoked. Ask for a new one: ${urlCommand(console)}`,
      NEW_URL,
    ),
  // A page that did not ask to type is not refused because its URL only allows watching.
  [Code.forbidden]: ({ mode }, why) =>
    stay(
      'not allowed',
      `That is not allowed${why}`,
      mode === 'write' ? ['watch', 'reconnect'] : ['reconnect'],
    ),
  [Code.noSuchLine]: ({ console }, why) =>
    stay(
      'no such console',
      `This server or serial port does not exist (any more)${why} ` +
        `Check its name, then ask for a new one: ${urlCommand(console)}`,
      NEW_URL,
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
function sessionLimit({ reason, console }: End, why: string): Ending {
  if (reason.startsWith('too many sessions')) {
    const text = `This console has as many sessions as it may have${why}`;
    return stay('too many sessions', `${text} Close one of them, then reconnect.`);
  }
  const text = `This session's time is over${why}`;
  const again = `Reconnect, or ask for a new URL: ${urlCommand(console)}`;
  return stay('time is over', `${text} ${again}`, ['reconnect', ...NEW_URL]);
}

function busy(end: End): Ending {
  const holder = end.holder ?? parseBusy(end.reason);
  const offers: Offer[] = ['watch', 'ask', 'force', 'reconnect'];
  const choices = end.mayForce ? 'Watch, ask to write, or take over.' : 'Watch, or ask to write.';
  if (!holder) return stay('busy', `Someone is typing here. ${choices}`, offers);
  if (holder.freeAt !== undefined) return lost(holder);
  if (end.earlier) return EARLIER_SESSION;
  const since = describeSince(holder.since, end.now);
  const text = `${holder.user} has been typing here${since}.`;
  return stay(`${holder.user} writes`, `${text} ${choices}`, offers);
}

/** The writer lost the connection. The page tries on until they are back, or their time is over. */
function lost({ user, own }: Holder): Ending {
  if (own) {
    const text = 'Your other session here lost its connection. Take it back, or wait for it to end.';
    const short = 'your other session lost its connection';
    return { short, text, offers: ['back', 'watch'], retry: true };
  }
  const text = `${user} was typing here and lost the connection. You can type if they do not come back.`;
  const offers: Offer[] = ['reconnect', 'watch', 'ask', 'force'];
  return { short: `${user} lost the connection`, text, offers, retry: true };
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
const EARLIER_SESSION: Ending = {
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
