// The control messages of the `console.v1` subprotocol and the close codes, as docs/protocol.md describes them. Binary
// frames carry the bytes of the line.

export const SUBPROTOCOL = 'console.v1';

/** `watch` reads; `write` reads, and types while it holds the pen. */
export type Mode = 'watch' | 'write';

/** What a page asks for: `auto` types if nobody else does, and otherwise watches. */
export type AskedMode = Mode | 'auto';

/** Why no output flows, or why input waits. The proxy sends other causes, too, which this page does not use. */
export type Cause = 'stopped' | 'gone' | 'paused' | 'crashed' | 'unreachable' | 'held';

/** The state of the line's connection to the guest. */
export type LineState = 'waiting' | 'connected' | 'failed';

/** What a user may do besides watching. `force`: take over from the user who types. */
export type Action = 'write' | 'force' | 'power';

/** The first message of every session that the proxy accepts. */
export interface Hello {
  type: 'hello';
  session: string;
  line: string;
  server: { id: string; name: string };
  port: number;
  user: string;
  mode: Mode;
  state: LineState;
  reason: string;
  cause?: Cause;
  /** How many times the guest has booted. */
  epoch: number;
  /** Where the output of the last boot begins. */
  epoch_offset?: number;
  /** Offset of the first byte of output that follows, not counting a painted screen. */
  offset: number;
  /** Number of input bytes of this session that the proxy has received. */
  input: number;
  /** The key that resumes this session, once. */
  resume?: string;
  /** Seconds after the last sign of life for which the session can be resumed. */
  grace?: number;
  can: Action[];
  /** Whether Nova creates the console URLs: then there are neither links nor serialproxy's commands. */
  nova?: boolean;
  /** Whether a shared link opened the session: then there are no further links. */
  shared?: boolean;
  /** What an operator configured for terminals of this line. */
  terminal?: TerminalSettings;
}

/** Defaults that an operator set for a line. The user's own settings override them. */
export interface TerminalSettings {
  backspace?: string;
  newline?: string;
  line_feed?: string;
}

/** The line's connection to the guest changed. */
export interface State {
  type: 'state';
  state: LineState;
  reason: string;
  cause?: Cause;
}

/** The guest booted, and its output begins at `offset`. */
export interface Epoch {
  type: 'epoch';
  epoch: number;
  offset: number;
}

/** The bytes from offset `from` up to `to` are no longer kept, and will not come. */
export interface Gap {
  type: 'gap';
  from: number;
  to: number;
}

/** The next `bytes` bytes are replay. After them, the output continues at `offset`. */
export interface Replay {
  type: 'replay';
  /** The bytes of a screen have no offsets; those of the history do. */
  kind: 'screen' | 'history';
  bytes: number;
  offset: number;
  /** Of a screen: the offset from which the output was painted. */
  from?: number;
  /** Of a screen: the boots whose rows it shows, and how many of its bytes come before each. */
  boots?: { epoch: number; at: number }[];
}

/** The last boots of the guest, and the offset of the oldest byte kept. */
export interface Boots {
  type: 'boots';
  first: number;
  boots: GuestBoot[];
}

export interface GuestBoot {
  epoch: number;
  /** Where its output begins. */
  offset: number;
  /** RFC 3339. */
  time: string;
  kernel?: string;
}

/** When the kept output from `from` up to `to` arrived. */
export interface Times {
  type: 'times';
  from: number;
  to: number;
  times: Arrival[];
}

/** From this offset on, output arrived at this time (RFC 3339), if that is known. */
export interface Arrival {
  offset: number;
  time?: string;
}

/** Who may type, as this session sees it. */
export interface Pen {
  type: 'pen';
  state: 'free' | 'held' | 'requested' | 'lost';
  /** The session that holds the pen or, if `requested`, the one that asks for it. */
  session?: string;
  holder?: string;
  /** Since when the holder has it (RFC 3339). */
  since?: string;
  by?: string;
  reason?: string;
  /** Why it changed. The proxy sends other causes, too. */
  cause?: 'moved' | 'denied' | 'detached';
  /** If `requested`: seconds without an answer after which it is granted. */
  seconds?: number;
  /** If the holder lost the connection: seconds until the pen is free. */
  free_in?: number;
  /** If the holder lost the connection: seconds since its last sign of life. */
  seen_ago?: number;
  /** Whether the holder is another session of this page's user. */
  own?: boolean;
  /** Before a refusal: what this page's user may do. */
  can?: Action[];
}

/** How many sessions are attached, the one that types included. */
export interface Viewers {
  type: 'viewers';
  count: number;
  /** At most 20 of them, the one that types first. */
  who?: Viewer[];
}

/** An attached session, as others see it. */
export interface Viewer {
  session: string;
  user: string;
  mode: Mode;
  /** Whether its connection is lost. */
  detached?: boolean;
}

/** A terminal's grid: of the session that types, or this page's own. */
export interface Size {
  type: 'size';
  rows: number;
  cols: number;
}

/** Maximum rows, and maximum columns, of a grid, as in the proxy. */
const GRID = 500;

/** Maximum characters of a reason, as in the proxy. */
const REASON = 200;

/** A `size` message within the protocol's bounds. Also applied to a grid that another session sent. */
export function sizeMessage(rows: number, cols: number): Size {
  const clamp = (cells: number): number => Math.min(GRID, Math.max(1, Math.trunc(cells) || 1));
  return { type: 'size', rows: clamp(rows), cols: clamp(cols) };
}

/** A request about who types. Its reason is cut to `REASON` characters. */
export function penMessage(action: PenAction, reason?: string): ClientMessage {
  const why = [...(reason?.trim() ?? '')].slice(0, REASON).join('');
  return { type: 'pen', do: action, ...(why ? { reason: why } : {}) };
}

/** The number of input bytes of this session that were processed: written to the guest's port, or dropped. */
export interface InputAck {
  type: 'ack';
  input: number;
}

/** The answer to a ping. */
export interface Pong {
  type: 'pong';
  id: number;
}

/** A console URL with which anyone can watch this port, and its lifetime in seconds. */
export interface Link {
  type: 'link';
  url: string;
  seconds: number;
}

/** A failed request, or information. The session continues. */
export interface Notice {
  type: 'error' | 'notice';
  message: string;
}

/** The proxy's messages that this page uses. */
export type ServerMessage =
  | Hello
  | State
  | Epoch
  | Gap
  | Replay
  | Pen
  | Viewers
  | Size
  | InputAck
  | Notice
  | Link
  | Boots
  | Times
  | Pong;

/** `take` takes a pen that nobody, or another session of the same user, holds. */
export type PenAction = 'request' | 'release' | 'grant' | 'deny' | 'take' | 'force';

export type PowerAction = 'start' | 'stop' | 'reboot' | 'reset' | 'nmi' | 'pause' | 'resume';

/** The messages of this page. */
export type ClientMessage =
  /** Flow control: the offset up to which this page has shown the output. */
  | { type: 'ack'; offset: number }
  | { type: 'pen'; do: PenAction; reason?: string }
  /** The first message after resuming: the offset of the next byte in the session's input. */
  | { type: 'input'; offset: number }
  | Size
  | { type: 'break' }
  | { type: 'sysrq'; key: string }
  | { type: 'power'; do: PowerAction }
  | { type: 'link' }
  | { type: 'boots' }
  | { type: 'times'; from: number; to: number }
  | { type: 'ping'; id: number };

const KNOWN = [
  'hello',
  'state',
  'epoch',
  'gap',
  'replay',
  'pen',
  'viewers',
  'size',
  'ack',
  'error',
  'notice',
  'link',
  'boots',
  'times',
  'pong',
];

/** The message of a text frame. Undefined for invalid JSON, and for types that only newer proxies know. */
export function parseMessage(text: string): ServerMessage | undefined {
  try {
    const message = JSON.parse(text) as ServerMessage | null;
    return message !== null && KNOWN.includes(message.type) ? message : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The close codes that this page distinguishes: those of RFC 6455 section 7.4, the proxy's own, and this page's own.
 */
export const Code = {
  normal: 1000,
  /** This page sends it to leave a connection whose session it resumes over another one. */
  comingBack: 3000,
  /** Of this page only: the proxy answers over HTTP, but WebSockets do not reach it. */
  blocked: 3001,
  /** Of this page only: the browser cannot open WebSockets. */
  unsupported: 3002,
  goingAway: 1001,
  protocolError: 1002,
  connectionLost: 1006,
  tooBig: 1009,
  internalError: 1011,
  serviceRestart: 1012,
  tryAgainLater: 1013,
  token: 4001,
  forbidden: 4002,
  noSuchLine: 4003,
  busy: 4004,
  takenOver: 4005,
  disconnected: 4006,
  idle: 4007,
  sessionLimit: 4008,
  guestStopped: 4009,
  tooSlow: 4011,
  draining: 4012,
  unreachable: 4013,
  hostLost: 4014,
  hostDraining: 4015,
} as const;
