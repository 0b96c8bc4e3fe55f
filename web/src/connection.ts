// One WebSocket to the proxy, from its opening to its close code. Never retries and knows nothing of
// the terminal.

import { Code, SUBPROTOCOL, parseMessage } from './messages';
import type { ClientMessage, ServerMessage } from './messages';

/** Bytes of input per frame: far below what a proxy takes as one message. */
const FRAME_BYTES = 16 * 1024;

/** Milliseconds that the other side has to answer our close. */
const CLOSE_WAIT = 2000;

/** Who hears what arrives. */
export interface Listener {
  onMessage(message: ServerMessage): void;
  onBytes(bytes: Uint8Array): void;
  /** Comes exactly once, unless `close` was called before. */
  onClose(code: number, reason: string): void;
}

export class Connection {
  private readonly socket: WebSocket;
  private listener: Listener | undefined;

  constructor(url: string, listener: Listener) {
    this.listener = listener;
    this.socket = new WebSocket(url, SUBPROTOCOL);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onmessage = ({ data }) => this.receive(data as string | ArrayBuffer);
    this.socket.onclose = ({ code, reason }) => this.listener?.onClose(code, reason);
  }

  /** Whether what is sent now goes out. */
  get open(): boolean {
    return this.socket.readyState === WebSocket.OPEN;
  }

  /** Sends input. After the connection's end it goes nowhere. */
  sendBytes(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < bytes.length; at += FRAME_BYTES) {
      this.socket.send(bytes.subarray(at, at + FRAME_BYTES));
    }
  }

  sendMessage(message: ClientMessage): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Leaves a connection whose session is to come back over another. */
  abandon(): void {
    this.listener = undefined;
    this.socket.close(Code.comingBack);
  }

  /** Ends the session; resolves when the proxy knows, or when it doesn't answer. */
  close(): Promise<void> {
    this.listener = undefined;
    return new Promise((resolve) => {
      if (this.socket.readyState === WebSocket.CLOSED) return resolve();
      setTimeout(resolve, CLOSE_WAIT);
      this.socket.onclose = () => resolve();
      this.socket.close(Code.normal);
    });
  }

  private receive(data: string | ArrayBuffer): void {
    if (typeof data !== 'string') return this.listener?.onBytes(new Uint8Array(data));
    const message = parseMessage(data);
    if (message) this.listener?.onMessage(message);
  }
}
