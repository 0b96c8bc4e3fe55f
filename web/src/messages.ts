// The control messages of the `console.v1` subprotocol and the close codes, as the proxy speaks
// them. Binary frames beside them carry the bytes of the line.

export const SUBPROTOCOL = 'console.v1';

/** `watch` reads; `write` reads and types while it holds the pen. */
export type Mode = 'watch' | 'write';

/** Where the line's connection to the guest stands. */
export type LineState = 'waiting' | 'connected' | 'failed';

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
  epoch: number;
  /** Offset in the line of the first byte that follows. */
  offset: number;
  input: number;
  resume?: string;
  can: ('write' | 'force' | 'power')[];
}

/** The line's connection to the guest changed. */
export interface State {
  type: 'state';
  state: LineState;
  reason: string;
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
}

/** Who may type, as this session sees it. */
export interface Pen {
  type: 'pen';
  state: 'free' | 'held' | 'requested' | 'lost';
  holder?: string;
  by?: string;
  reason?: string;
}

/** How many sessions are attached, the writer included. */
export interface Viewers {
  type: 'viewers';
  count: number;
}

/** Something that could not be done; the session goes on. */
export interface Failure {
  type: 'error';
  message: string;
}

/** What the server says, as far as this page uses it. */
export type ServerMessage = Hello | State | Epoch | Gap | Replay | Pen | Viewers | Failure;

/** Flow control: how far this page has shown the line. */
export interface Ack {
  type: 'ack';
  offset: number;
}

/** Takes the pen from whoever holds it. */
export interface Force {
  type: 'pen';
  do: 'force';
}

/** What this page says. */
export type ClientMessage = Ack | Force;

const KNOWN = ['hello', 'state', 'epoch', 'gap', 'replay', 'pen', 'viewers', 'error'];

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
} as const;
