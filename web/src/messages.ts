// The control messages of the `console.v1` subprotocol and the close codes, as the proxy speaks
// them. Binary frames beside them carry the bytes of the line.

export const SUBPROTOCOL = 'console.v1';

/** `watch` reads; `write` reads, and types while it holds the pen. */
export type Mode = 'watch' | 'write';

/** What a page asks for: `auto` types where nobody else does, and otherwise watches. */
export type AskedMode = Mode | 'auto';

/** Why no bytes flow, or why typed input waits. The proxy has more of them. */
export type Cause = 'stopped' | 'gone' | 'paused' | 'crashed' | 'unreachable' | 'held';

/** Where the line's connection to the guest stands. */
export type LineState = 'waiting' | 'connected' | 'failed';

/** What a user may do beside watching. `force` is taking over from the user who types. */
export type Action = 'write' | 'force' | 'power';

/** Always the first message of a session that was let in. */
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
  epoch: number;
  /** Where the output of the last boot begins. */
  epoch_offset?: number;
  /** Offset in the line of the first byte that follows. */
  offset: number;
  /** Input bytes of this session that the server has. */
  input: number;
  /** Key for one come-back. */
  resume?: string;
  /** Seconds after the last sign of life for which the session can come back. */
  grace?: number;
  can: Action[];
  /** Whether Nova creates the console URLs: then there are neither links nor serialproxy's commands. */
  nova?: boolean;
  /** Whether a shared link opened the session: then there are no further links. */
  shared?: boolean;
  /** What the line wants of terminals. */
  terminal?: TerminalSettings;
}

/** What an operator set for a line; what a user sets goes before. */
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

/** The guest started again. */
export interface Epoch {
  type: 'epoch';
  epoch: number;
  offset: number;
}

/** The bytes from offset `from` up to `to` will not come. */
export interface Gap {
  type: 'gap';
  from: number;
  to: number;
}

/** The next `bytes` bytes are replay; the live bytes go on at `offset`. */
export interface Replay {
  type: 'replay';
  /** A screen's bytes do not count as offset, those of the history do. */
  kind: 'screen' | 'history';
  bytes: number;
  offset: number;
  /** Of a screen: where the output begins that it was painted from. */
  from?: number;
  /** Of a screen: the boots that it shows, and how many of its bytes come before each. */
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
  /** The session that holds it or, where it is `requested`, the one that asks. */
  session?: string;
  holder?: string;
  /** Since when (RFC 3339). */
  since?: string;
  by?: string;
  reason?: string;
  /** Why it changed; the proxy has more of them. */
  cause?: 'moved' | 'denied' | 'detached';
  /** Where it is `requested`: seconds of silence after which it is granted. */
  seconds?: number;
  /** Where its holder lost the connection: seconds until it is free. */
  free_in?: number;
  /** In this case: seconds since its last sign of life. */
  seen_ago?: number;
  /** Whether its holder is another session of this page's user. */
  own?: boolean;
  /** Before a refusal: what this page's user may do. */
  can?: Action[];
}

/** How many sessions are attached, the one that types included. */
export interface Viewers {
  type: 'viewers';
  count: number;
  /** The first of them; the one that types comes first. */
  who?: Viewer[];
}

/** One who is attached, as the others see it. */
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

/** Rows, and columns, of a grid at most: as the proxy has it. */
const GRID = 500;

/** Characters of a reason at most: as the proxy has it. */
const REASON = 200;

/** A grid as it is told to others, and as it is taken from them. */
export function sizeMessage(rows: number, cols: number): Size {
  const clamp = (cells: number): number => Math.min(GRID, Math.max(1, Math.trunc(cells) || 1));
  return { type: 'size', rows: clamp(rows), cols: clamp(cols) };
}

/** A request about who types. */
export function penMessage(action: PenAction, reason?: string): ClientMessage {
  const why = [...(reason?.trim() ?? '')].slice(0, REASON).join('');
  return { type: 'pen', do: action, ...(why ? { reason: why } : {}) };
}

/** Input up to this count was handed to the guest's port. */
export interface InputAck {
  type: 'ack';
  input: number;
}

/** The answer to a ping. */
export interface Pong {
  type: 'pong';
  id: number;
}

/** A console URL with which anyone watches this port, for so many seconds. */
export interface Link {
  type: 'link';
  url: string;
  seconds: number;
}

/** Something that could not be done, or that is good to know; the session goes on. */
export interface Notice {
  type: 'error' | 'notice';
  message: string;
}

/** What the server says, as far as this page uses it. */
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

/** `take` is for what nobody or this page's own user holds. */
export type PenAction = 'request' | 'release' | 'grant' | 'deny' | 'take' | 'force';

export type PowerAction = 'start' | 'stop' | 'reboot' | 'reset' | 'nmi' | 'pause' | 'resume';

/** What this page says. */
export type ClientMessage =
  /** Flow control: how far this page has shown the line. */
  | { type: 'ack'; offset: number }
  | { type: 'pen'; do: PenAction; reason?: string }
  /** First after coming back: where the next byte of input belongs in the session's count. */
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

/** A text frame's message, or nothing for a message of a newer server. */
export function parseMessage(text: string): ServerMessage | undefined {
  try {
    const message = JSON.parse(text) as ServerMessage | null;
    return message !== null && KNOWN.includes(message.type) ? message : undefined;
  } catch {
    return undefined;
  }
}

/** The close codes that this page tells apart: RFC 6455 section 7.4 and the proxy's own. */
export const Code = {
  normal: 1000,
  /** Ours, to leave a connection whose session comes back over another one. */
  comingBack: 3000,
  /** Ours: the proxy answers over HTTP, and no WebSocket gets to it. */
  blocked: 3001,
  /** Ours: this browser makes no WebSocket. */
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
