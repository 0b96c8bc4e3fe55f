// One WebSocket to the proxy, from its opening to its close code. It never retries, and knows nothing of the terminal.

import { Code, SUBPROTOCOL, parseMessage } from './messages';
import type { ClientMessage, ServerMessage } from './messages';
import type { Reach } from './reach';

/** Maximum bytes of input per frame: far below the proxy's limit for a message. */
const FRAME_BYTES = 16 * 1024;

/**
 * Milliseconds after which opening a WebSocket fails, which is longer than the proxy waits for Nova, and after which
 * the page says that there is no answer yet.
 */
const OPEN_WAIT = 30_000;
const SLOW = 5000;

/** Milliseconds to wait for the proxy's answer to a close. */
const CLOSE_WAIT = 2000;

/** Receives the events of a connection. */
export interface Listener {
  onMessage(message: ServerMessage): void;
  onBytes(bytes: Uint8Array): void;
  /** The WebSocket has not opened within `SLOW`. */
  onSlow(): void;
  /** Called exactly once, unless `close` or `abandon` was called before. */
  onClose(code: number, reason: string): void;
}

export class Connection {
  private socket: WebSocket | undefined;
  private listener: Listener | undefined;
  private opened = false;
  private timers: ReturnType<typeof setTimeout>[] = [];

  constructor(
    private readonly url: string,
    private readonly reach: Reach,
    listener: Listener,
  ) {
    this.listener = listener;
    try {
      this.socket = new WebSocket(url, SUBPROTOCOL);
    } catch {
      // A browser without WebSockets, or an extension or policy that forbids them.
      setTimeout(() => this.listener?.onClose(Code.unsupported, ''));
      return;
    }
    this.timers = [
      setTimeout(() => this.listener?.onSlow(), SLOW),
      setTimeout(() => void this.fail(true), OPEN_WAIT),
    ];
    this.listen(this.socket);
  }

  /** Sends input. Drops it unless the connection is open. */
  sendBytes(bytes: Uint8Array<ArrayBuffer>): void {
    const { socket } = this;
    if (socket?.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
      socket.send(bytes.subarray(at, at + FRAME_BYTES));
    }
  }

  sendMessage(message: ClientMessage): void {
    const { socket } = this;
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  /** Leaves the connection. Another one resumes its session. */
  abandon(): void {
    this.leave();
    this.socket?.close(Code.comingBack);
  }

  /** Ends the session. Resolves when the proxy confirms it, or after `CLOSE_WAIT`. */
  close(): Promise<void> {
    this.leave();
    const { socket } = this;
    return new Promise((resolve) => {
      if (!socket || socket.readyState === WebSocket.CLOSED) return resolve();
      setTimeout(resolve, CLOSE_WAIT);
      socket.onclose = () => resolve();
      socket.close(Code.normal);
    });
  }

  private leave(): void {
    this.listener = undefined;
    for (const timer of this.timers) clearTimeout(timer);
  }

  private listen(socket: WebSocket): void {
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this.opened = true;
      this.reach.opened();
      for (const timer of this.timers) clearTimeout(timer);
    };
    socket.onmessage = ({ data }) => this.receive(data as string | ArrayBuffer);
    socket.onclose = ({ code, reason }) => {
      if (this.opened) this.listener?.onClose(code, reason);
      else void this.fail(false);
    };
  }

  /** The WebSocket did not open. `late`: it got no answer within `OPEN_WAIT`. */
  private async fail(late: boolean): Promise<void> {
    const { listener } = this;
    for (const timer of this.timers) clearTimeout(timer);
    if (this.socket) this.socket.onclose = null;
    this.socket?.close();
    const code = await this.reach.why(new URL(this.url).pathname, late);
    // The connection may have been left meanwhile.
    if (this.listener === listener) listener?.onClose(code, '');
  }

  private receive(data: string | ArrayBuffer): void {
    if (typeof data !== 'string') return this.listener?.onBytes(new Uint8Array(data));
    const message = parseMessage(data);
    if (message) this.listener?.onMessage(message);
  }
}
