// Every sentence that tells why a session ended: what happened, and what to do. Pure functions of what
// the proxy said.

import type { Attachment } from './attachment';
import { describeUrlCommand } from './commands';
import type { Console } from './commands';
import { Code } from './messages';
import type { Action, Mode } from './messages';
import { named } from './names';
import { plain } from './plain';
import { because, describeSince } from './words';

/** What the page can offer after a session ended. */
export type Offer =
  | 'reconnect'
  | 'watch'
  | 'ask'
  | 'force'
  /** Resume the session that is open in another window. */
  | 'here'
  /** Type here instead of the user's other session, which lost its connection. */
  | 'back'
  | 'dismiss'
  /** Open the console with a fresh token. */
  | 'reopen'
  /** The same while the guest is off: the new session waits for it. */
  | 'wait'
  /** Go to the servers page. */
  | 'servers'
  /** Copy the command that makes a console URL. */
  | 'command';

/** Offers to a user who needs a new console URL. */
const NEW_URL: Offer[] = ['servers', 'command'];

/** How a session ended, in words. */
export interface Ending {
  /** For the status line, after `closed:` or before `, trying again`. */
  short: string;
  /** Whole sentences. */
  text: string;
  offers: Offer[];
  /** Whether the page reconnects by itself. */
  retry: boolean;
  /** Whether a new session needs a fresh token. */
  isExpired?: boolean;
  /** File name of a document that helps. */
  document?: string;
}

/** Who types on a console that refused this page, and since when (RFC 3339). */
export interface Holder {
  user: string;
  session?: string | undefined;
  since?: string | undefined;
  /** Whether it is another session of this page's user. */
  own?: boolean | undefined;
  /** If its connection is lost: when the console becomes free, in milliseconds since 1970. */
  freeAt?: number | undefined;
  /** What this page's user may do, if the proxy said so. */
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
  /** Who types, if that is why this page was refused. */
  holder: Holder | undefined;
  /** The mode that this page asked for. Undefined: `auto`, or the token's own mode. */
  mode: Mode | undefined;
  /** Whether the holder is the session that this page had before it lost the connection. */
  earlier: boolean;
  /** Whether the page can get a fresh token. */
  mayReopen: boolean;
  /** Whether this page's user is known to be allowed to take over. */
  mayForce: boolean;
  now: Date;
}

/** Reads `busy: alice since 2026-11-22T09:00:00Z`, and ignores what follows in parentheses. */
export function parseBusy(reason: string): Holder | undefined {
  const match = /^busy: (.+?)(?: since (\S+)(?: \(.+\))?)?$/.exec(reason);
  return match?.[1] ? { user: match[1], since: match[2] } : undefined;
}

/** Why a session ended and what to do next. */
export function describeEnd(end: End): Ending {
  const why = end.reason.replace(/^(busy|stopped|unreachable|held|draining|host lost|too many sessions): /, '');
  const describe = ENDINGS[end.code] ?? unknownCode;
  const { offers, ...ending } = describe(end, because(plain(why)));
  const applies = (offer: Offer): boolean => {
    if (offer === 'force') return end.mayForce;
    return offer !== 'command' || end.console !== undefined;
  };
  return { ...ending, offers: [...new Set<Offer>([...offers.filter(applies), 'servers'])] };
}

type Describe = (end: End, why: string) => Ending;

const restart: Describe = () =>
  retry('the proxy restarts', 'The proxy is restarting. This page reconnects by itself.');

const ENDINGS: Record<number, Describe> = {
  [Code.normal]: (_, why) =>
    stay('the console ended', `The console has ended${why} Reconnect to open it again.`),
  [Code.goingAway]: restart,
  [Code.serviceRestart]: restart,
  [Code.tryAgainLater]: restart,
  [Code.draining]: restart,
  [Code.connectionLost]: ({ attachment }) =>
    attachment
      ? retry('connection lost', 'The connection was lost. This page reconnects by itself.')
      : retry('no connection', 'The proxy cannot be reached. Check your network.'),
  [Code.protocolError]: (end, why) =>
    end.mayReopen
      ? stay('refused', `The proxy does not understand this page's request${why}`, ['reopen'])
      : stay(
          'refused',
          `The proxy does not understand this page's request${why} Get a new console URL.`,
          NEW_URL,
        ),
  [Code.blocked]: () => ({
    ...retry(
      'WebSockets are blocked',
      `WebSockets to ${location.host} are blocked, perhaps by a reverse proxy. It must use HTTP/1.1 ` +
        'and pass on the Upgrade and Connection headers; a firewall, an antivirus program or a browser ' +
        'extension can block WebSockets too. Show this message to the administrator of your network.',
    ),
    document: 'proxies.txt',
  }),
  [Code.unsupported]: () =>
    stay(
      'no WebSockets',
      'This browser cannot open WebSockets: it is too old, or a policy or an extension blocks them. ' +
        'Allow WebSockets for this site, or use another browser.',
    ),
  [Code.tooBig]: () =>
    stay(
      'too much at once',
      'This page sent more at once than the proxy accepts. Reconnect, and paste less at a time.',
    ),
  [Code.internalError]: (_, why) =>
    retry(
      'error in the proxy',
      `The proxy had an internal error${why} If this goes on, tell its administrator.`,
    ),
  [Code.token]: ({ console, mayReopen }) =>
    mayReopen
      ? {
          ...stay('URL expired', 'This console URL has expired or was revoked.', ['reopen']),
          isExpired: true,
        }
      : stay(
          'URL expired',
          `This console URL has expired or was revoked. Get a new one: ${describeUrlCommand(console)}`,
          NEW_URL,
        ),
  // Only a request to type is refused because the URL only allows watching.
  [Code.forbidden]: ({ mode }, why) =>
    stay(
      'not allowed',
      `The proxy refused to open this console${why}`,
      mode === 'write' ? ['watch', 'reconnect'] : ['reconnect'],
    ),
  [Code.noSuchLine]: ({ console }, why) =>
    stay(
      'no such console',
      `This server or serial port does not exist${why} ` +
        `Check the server's name, then get a new console URL: ${describeUrlCommand(console)}`,
      NEW_URL,
    ),
  [Code.busy]: busy,
  [Code.takenOver]: () =>
    stay('open in another window', 'This session is now open in another window.', ['here', 'watch']),
  [Code.disconnected]: thrownOff,
  [Code.idle]: (_, why) =>
    stay('idle too long', `The session was idle for too long${why} Reconnect to continue.`),
  [Code.sessionLimit]: sessionLimit,
  [Code.guestStopped]: ({ mayReopen }, why) =>
    mayReopen
      ? stay('guest stopped', `The guest is not running${why}`, ['wait'])
      : stay('guest stopped', `The guest is not running${why} Start it, then reconnect.`),
  [Code.tooSlow]: () =>
    stay(
      'too slow',
      'This browser was too slow for the output, and some of it may be missing. Reconnect to continue.',
    ),
  [Code.unreachable]: (_, why) =>
    stay(
      'guest unreachable',
      `The guest is running, but its serial port cannot be reached${why} ` +
        'Reconnect in a minute. If this goes on, tell the administrator.',
    ),
  [Code.hostLost]: ({ console }) => {
    const session = console ? 'your session goes on if the host is back in time' : 'it opens the console then';
    return retry(
      'host lost',
      'The host of this server does not respond; the server itself may still run. This page goes on trying ' +
        `until the host is back: ${session}.`,
    );
  },
  [Code.hostDraining]: () =>
    stay(
      'host is drained',
      'The host of this server takes no new sessions, because it is being drained. Reconnect later, or ask its ' +
        'administrator.',
    ),
};

function unknownCode({ code }: End, why: string): Ending {
  const text = `The proxy closed the connection with code ${code}${why} Reconnect to try again.`;
  return stay(`code ${code}`, text);
}

/** The code stands for two limits: too many sessions, and a session's time limit. */
function sessionLimit({ reason, console, mayReopen }: End, why: string): Ending {
  if (reason.startsWith('too many sessions')) {
    const text = `This console has reached its limit of sessions${why}`;
    return stay('too many sessions', `${text} Close one of them, then reconnect.`);
  }
  const text = `This session has reached its time limit${why}`;
  if (mayReopen) return stay('time limit reached', text, ['reopen']);
  const again = `Reconnect, or get a new URL: ${describeUrlCommand(console)}`;
  return stay('time limit reached', `${text} ${again}`, ['reconnect', ...NEW_URL]);
}

function busy(end: End): Ending {
  const holder = end.holder ?? parseBusy(end.reason);
  const offers: Offer[] = ['watch', 'ask', 'force', 'reconnect'];
  const choices = end.mayForce ? 'Watch, ask to type, or take over.' : 'Watch, or ask to type.';
  if (!holder) return stay('busy', `Someone is typing here. ${choices}`, offers);
  if (holder.freeAt !== undefined) return lost(holder);
  if (end.earlier) return EARLIER_SESSION;
  const since = describeSince(holder.since, end.now);
  const text = `${named(holder.user)} has been typing here${since}.`;
  return stay(`${named(holder.user)} is typing`, `${text} ${choices}`, offers);
}

/** The user who types lost the connection. The page retries until the console is free. */
function lost({ user, own }: Holder): Ending {
  if (own) {
    const text = 'Your other session here lost its connection. Use it here, or wait until it ends.';
    const short = 'your other session lost its connection';
    return { short, text, offers: ['back', 'watch'], retry: true };
  }
  const text = `${named(user)} was typing here and lost the connection. You can type when the console is free.`;
  const offers: Offer[] = ['reconnect', 'watch', 'ask', 'force'];
  return { short: `${named(user)} lost the connection`, text, offers, retry: true };
}

/** The proxy says who and why in a `pen` message, or in the reason of the close. */
function thrownOff({ attachment, reason }: End): Ending {
  const match = /^disconnected by ([^:]+)(?:: (.*))?$/.exec(reason);
  const by = attachment?.loss?.by ?? match?.[1];
  const why = attachment?.loss?.reason ?? (match ? match[2] : reason);
  const text = `${by === undefined ? 'An administrator' : named(by)} disconnected you${because(why)} Reconnect, or watch.`;
  return stay('disconnected', text, ['reconnect', 'watch']);
}

/** The user left. */
export const LEFT: Ending = {
  short: 'you left',
  text: 'You left the console, and others can type. Reconnect to open it again.',
  offers: ['reconnect', 'servers'],
  retry: false,
};

/** A new session of this page is refused because the earlier one, whose resume key is lost, still holds the pen. */
const EARLIER_SESSION: Ending = {
  short: 'your earlier session is still there',
  text:
    'Your session from before the connection was lost is not over yet. It ends within a minute; ' +
    'then this page reconnects.',
  offers: ['reconnect', 'watch', 'force'],
  retry: true,
};

function stay(short: string, text: string, offers: Offer[] = ['reconnect']): Ending {
  return { short, text, offers, retry: false };
}

function retry(short: string, text: string): Ending {
  return { short, text, offers: ['reconnect'], retry: true };
}
