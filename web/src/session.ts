// The life of the console in this tab: attaches, comes back after a lost connection, and tells the
// page how it stands.
//
//   connecting ──hello──▶ attached ──close──▶ ended ──retry?──▶ (countdown) ──▶ connecting
//
// Input passes only while this session holds the pen.

import { keepAccess, socketUrl } from './address';
import type { Access } from './address';
import { Attachment } from './attachment';
import { Connection } from './connection';
import { Code } from './messages';
import type { Hello, Mode, ServerMessage } from './messages';
import { Output } from './output';
import type { Sink } from './output';
import { describeEnd, parseBusy } from './words';
import type { Ending, Holder } from './words';

/** Longest pause between two attempts, in milliseconds. */
const RETRY_MAX = 15_000;

/** A session that lasted this many milliseconds was a good one: its end starts the count anew. */
const STEADY = 5000;

/** Milliseconds for which a proxy may take our own broken session for alive, and some to spare. */
const OWN_SESSION_FADES = 75_000;

/** How the console stands. */
export interface View {
  /** The session, while there is one. */
  attachment: Attachment | undefined;
  /** The last session's greeting: what the console is called. */
  hello: Hello | undefined;
  /** How the last session ended, until there is one again. */
  ending: Ending | undefined;
  /** Whether an attempt is under way. */
  connecting: boolean;
  /** Who writes, when that is why we were refused. */
  holder: Holder | undefined;
  /** When the next attempt starts by itself, in milliseconds since 1970. */
  retryAt: number | undefined;
}

export class Session {
  private view: View = {
    attachment: undefined,
    hello: undefined,
    ending: undefined,
    connecting: false,
    holder: undefined,
    retryAt: undefined,
  };
  private connection: Connection | undefined;
  private output: Output | undefined;
  /** Whether the attempt under way is to take over from who writes. */
  private forcing = false;
  private attempts = 0;
  private attachedAt = 0;
  private lostAt: number | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly encoder = new TextEncoder();

  constructor(
    private readonly access: Access,
    private readonly sink: Sink,
    private readonly onChange: (view: View) => void,
    private readonly onError: (message: string) => void,
  ) {}

  /** Attaches, instead of what is there now. A mode given here is kept for later attempts. */
  async attach(request: { mode?: Mode; force?: boolean } = {}): Promise<void> {
    clearTimeout(this.timer);
    if (request.mode) {
      this.access.mode = request.mode;
      keepAccess(this.access);
    }
    const old = this.connection;
    this.connection = undefined;
    this.change({ attachment: undefined, ending: undefined, connecting: true, retryAt: undefined });
    await old?.close();
    if (!this.connection) this.open(request.force ?? false);
  }

  /** Sends what the user typed, as UTF-8. */
  sendText(text: string): void {
    this.send(this.encoder.encode(text));
  }

  /** Sends what is bytes already: each character stands for one. */
  sendBinary(text: string): void {
    this.send(Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff));
  }

  private send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.view.attachment?.writes) this.connection?.sendBytes(bytes);
  }

  private open(force: boolean): void {
    this.forcing = force;
    this.change({ connecting: true, holder: undefined, retryAt: undefined });
    // Who takes over comes in as a watcher: a writer would be refused.
    const mode = force ? 'watch' : this.access.mode;
    this.connection = new Connection(socketUrl(this.access, mode), {
      onMessage: (message) => this.receive(message),
      onBytes: (bytes) => this.output?.push(bytes),
      onClose: (code, reason) => this.end(code, reason),
    });
  }

  private receive(message: ServerMessage): void {
    const { attachment } = this.view;
    if (message.type === 'hello') return this.begin(message);
    if (message.type === 'error') return this.onError(message.message);
    if (!attachment) {
      if (message.type === 'pen' && message.holder) {
        this.view.holder = { user: message.holder, since: message.reason?.replace(/^since /, '') };
      }
      return;
    }
    if (message.type === 'replay') return this.output?.expectReplay(message);
    if (message.type === 'gap') return this.output?.skip(message);
    if (message.type === 'epoch') {
      return this.sink.note(`── ${attachment.hello.server.name} started, boot ${message.epoch} ──`);
    }
    attachment.apply(message);
    this.change({});
  }

  private begin(hello: Hello): void {
    const { connection } = this;
    if (this.view.hello) this.sink.note('── attached again: output in between may be missing ──');
    this.output = new Output(hello, this.sink, (offset) =>
      connection?.sendMessage({ type: 'ack', offset }),
    );
    this.attachedAt = Date.now();
    this.lostAt = undefined;
    const attachment = new Attachment(hello);
    if (this.forcing) this.force(attachment);
    this.change({ attachment, hello, ending: undefined, connecting: false });
  }

  private force(attachment: Attachment): void {
    if (attachment.force()) this.connection?.sendMessage({ type: 'pen', do: 'force' });
    else this.stayWatching();
  }

  /** From now on this tab comes back as a watcher, also after a reload. */
  private stayWatching(): void {
    this.access.mode = 'watch';
    keepAccess(this.access);
  }

  private end(code: number, reason: string): void {
    const { attachment, hello } = this.view;
    const holder = code === Code.busy ? (this.view.holder ?? parseBusy(reason)) : undefined;
    const now = new Date();
    const ending = describeEnd({
      code,
      reason,
      attachment,
      server: hello?.server.name,
      holder,
      now,
    });
    this.connection = undefined;
    this.output = undefined;
    // Coming back must not take the pen from who got it before the connection was lost.
    if (attachment?.loss && ending.retry) this.stayWatching();
    if (attachment && Date.now() - this.attachedAt >= STEADY) this.attempts = 0;
    if (ending.retry) this.lostAt ??= Date.now();
    else if (this.isOwnOldSession(holder)) Object.assign(ending, OWN_OLD_SESSION);
    else this.lostAt = undefined;
    const retryAt = ending.retry ? this.retryLater() : undefined;
    this.change({ attachment: undefined, ending, connecting: false, holder, retryAt });
  }

  /** After a lost connection the proxy may see our broken session as the writer for a while. */
  private isOwnOldSession(holder: Holder | undefined): boolean {
    const { lostAt } = this;
    if (lostAt === undefined || holder?.user !== this.view.hello?.user) return false;
    return holder !== undefined && Date.now() - lostAt < OWN_SESSION_FADES;
  }

  private retryLater(): number {
    const pause = Math.min(RETRY_MAX, 1000 * 2 ** this.attempts);
    this.attempts += 1;
    this.timer = setTimeout(() => this.open(false), pause);
    return Date.now() + pause;
  }

  private change(part: Partial<View>): void {
    this.view = { ...this.view, ...part };
    this.onChange(this.view);
  }
}

const OWN_OLD_SESSION: Ending = {
  short: 'your earlier session is still there',
  text: 'The proxy still holds the session that you had before the connection was lost. It fades within a minute.',
  offers: ['reconnect', 'watch', 'force'],
  retry: true,
};
