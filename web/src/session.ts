// The console of this tab: attaches, resumes after a lost connection, and tells the page each change of
// its state.
//
//   connecting ──hello──▶ attached ──close──▶ ended ──retry?──▶ (countdown) ──▶ connecting
//
// A session is resumed with its key, from where its output stopped. When the proxy no longer knows the key,
// the token makes a new session. Input is sent only while this session types (holds the pen), and is kept
// until the proxy acknowledges it.

import { keepAccess, socketUrl } from './address';
import type { Access } from './address';
import { MOST } from './archive';
import type { Piece } from './archive';
import { Attachment, holderOf } from './attachment';
import { Connection } from './connection';
import { LEFT, describeEnd, parseBusy } from './endings';
import type { Ending, Holder } from './endings';
import { fetchHistory, historyPieces } from './history';
import { Code, penMessage, sizeMessage } from './messages';
import type { AskedMode, ClientMessage, GuestBoot, Hello, Mode, PowerAction, ServerMessage, Size } from './messages';
import { Outbox } from './outbox';
import { Output } from './output';
import type { Place, Sink } from './output';
import { OwnSession } from './own-session';
import { Keepalive } from './keepalive';
import { LONGEST, describeUndone, endsProgress } from './power';
import type { Progress } from './power';
import { Reach } from './reach';
import { Retry } from './retry';
import { NOTHING } from './view';
import type { Listener, View } from './view';
import { describeBootRule, describeLostInput, describeNoPaste } from './words';

/** Milliseconds after which a session counts as stable: its end resets the pauses of the retries. */
const STEADY = 5000;

/** How a new session gets the pen from another user. */
export interface Want {
  pen: 'request' | 'force';
  reason?: string | undefined;
}

export class Session {
  private state: View = NOTHING;
  private connection: Connection | undefined;
  readonly output: Output;
  private outbox = new Outbox(0);
  private readonly own: OwnSession;
  private readonly keepalive: Keepalive;
  private readonly reach = new Reach();
  private readonly retry = new Retry(() => this.open());
  /** Whether the session typed (held the pen) when it was last connected. */
  private held = false;
  /** What the current attempt asked for. */
  private asked: {
    resume: boolean;
    mode?: AskedMode | undefined;
    grid?: Size | undefined;
    from?: Place | undefined;
    want?: Want | undefined;
  } = { resume: false };
  /** Whether the proxy is too old for the mode `auto`. */
  private isOld = false;
  private size: Size | undefined;
  private attachedAt = 0;
  private progressTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly access: Access,
    private readonly sink: Sink,
    private readonly listener: Listener,
  ) {
    this.own = new OwnSession(access);
    const ack = (offset: number): void => this.request({ type: 'ack', offset });
    this.output = new Output(sink, ack, (epoch) => describeBootRule(this.view.attachment?.hello.server.name ?? '', epoch));
    this.keepalive = new Keepalive({
      ping: (id) => this.request({ type: 'ping', id }),
      onLatency: (milliseconds) => listener.onLatency(milliseconds),
      onUnanswered: (unansweredSince) => this.change({ unansweredSince }),
      onSilence: () => this.breakOff(),
    });
  }

  /** The current state. */
  get view(): View {
    return this.state;
  }

  /** All output of the line that the proxy keeps. Throws an `Error` if there is no session. */
  async history(): Promise<Blob> {
    return fetchHistory(this.access.path, this.key);
  }

  /** The newest bytes of it, at most `newest`, in pieces. Throws an `Error` if there is no session. */
  historyPieces(newest: number): AsyncGenerator<Piece> {
    return historyPieces(this.access.path, this.key, newest);
  }

  private get key(): string {
    const { key } = this.own;
    if (key === undefined) throw new Error('there is no session');
    return key;
  }

  /** Fills the terminal with the output that the proxy keeps, at most `MOST` bytes, and returns whether it did. */
  async showAll(boots: GuestBoot[]): Promise<boolean> {
    const { key } = this.own;
    if (key === undefined || !this.view.attachment) return false;
    return this.output.rebuild(historyPieces(this.access.path, key, MOST), boots);
  }

  /** Number of input bytes that the proxy has not acknowledged yet. */
  get pending(): number {
    return this.outbox.length;
  }

  /** Why nothing can be pasted now; undefined if it can. */
  get noPaste(): string | undefined {
    return describeNoPaste(this.view);
  }

  /** Resumes the session if that is possible; otherwise attaches with the token. */
  reconnect(): void {
    this.connection?.abandon();
    this.own.reclaim();
    this.change({ attachment: undefined, ending: undefined });
    this.open();
  }

  /** Replaces the current session with a new one. */
  async attach(mode: Mode, want?: Want): Promise<void> {
    if (!want) this.prefer(mode);
    this.own.forget();
    const old = this.connection;
    this.connection = undefined;
    this.retry.cancel();
    this.change({ attachment: undefined, ending: undefined, connecting: true, retryAt: undefined });
    await old?.close();
    if (!this.connection) this.open(want);
  }

  /** Ends the session for good, so that others can type. */
  async leave(): Promise<void> {
    const old = this.connection;
    this.connection = undefined;
    this.own.end(false);
    this.finish(LEFT, undefined);
    await old?.close();
  }

  /** Sends input, or keeps it until the session is resumed. Returns whether it was taken. */
  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (!this.view.takesInput) return false;
    if (!this.answer(bytes)) {
      this.listener.onNotice(
        'Not sent: the guest has not read the last 64 KiB that you typed. Wait until it has.',
      );
      return false;
    }
    this.output.hurry();
    if (this.view.attachment) this.keepalive.typed();
    return true;
  }

  /** Like `send`, for answers of the terminal, which nobody typed. */
  answer(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (!this.view.takesInput || !this.outbox.add(bytes)) return false;
    if (this.view.attachment) this.connection?.sendBytes(bytes);
    return true;
  }

  /** Sends a message to the proxy, if there is a session. */
  request(message: ClientMessage): void {
    if (this.view.attachment) this.connection?.sendMessage(message);
  }

  /** Changes the guest's power, and shows that until it is done. */
  power(action: PowerAction): void {
    this.request({ type: 'power', do: action });
    if (action !== 'nmi' && this.view.attachment) this.followProgress({ action, askedAt: Date.now() });
  }

  /** Tells the proxy this page's grid. */
  resize(rows: number, cols: number): void {
    this.size = sizeMessage(rows, cols);
    this.request(this.size);
  }

  /** The user has read the notice. */
  dismiss(): void {
    const { attachment } = this.view;
    if (attachment) this.change({ attachment: attachment.afterNotice() });
  }

  private open(want?: Want): void {
    this.retry.cancel();
    const from = this.output.place;
    const resume = this.own.key;
    // The user who keeps this page out is shown until that changes.
    const holder = this.view.ending?.retry ? this.view.holder : undefined;
    this.change({ connecting: true, slow: false, holder, retryAt: undefined });
    // To take over or to ask, attach as a watcher first: attaching to type would be refused.
    const mode = want ? 'watch' : (this.access.mode ?? (this.isOld ? undefined : 'auto'));
    const grid = this.sink.grid && sizeMessage(this.sink.grid.rows, this.sink.grid.cols);
    this.asked = { resume: resume !== undefined, mode, grid, from, want };
    const url = socketUrl(this.access, { resume, mode, from, grid });
    this.connection = new Connection(url, this.reach, {
      onMessage: (message) => this.receive(message),
      onBytes: (bytes) => {
        this.keepalive.heard();
        this.output.push(bytes);
      },
      onSlow: () => this.change({ slow: true }),
      onClose: (code, reason) => this.end(code, reason),
    });
  }

  private receive(message: ServerMessage): void {
    this.keepalive.heard();
    const { attachment, progress } = this.view;
    if (message.type === 'hello') return this.begin(message);
    if (progress && endsProgress(progress, message)) this.followProgress(undefined);
    if (message.type === 'error' || message.type === 'notice') {
      return this.listener.onNotice(message.message);
    }
    if (!attachment) {
      if (message.type === 'pen' && message.holder) {
        this.state = { ...this.state, holder: holderOf(message, message.holder) };
      }
      return;
    }
    if (message.type === 'replay') return this.output.expectReplay(message, this.asked.grid);
    if (message.type === 'gap') return this.output.skip(message);
    if (message.type === 'link') return this.listener.onLink(message.url);
    if (message.type === 'boots') return this.listener.onBoots(message);
    if (message.type === 'times') return this.listener.onTimes(message);
    if (message.type === 'pong') return this.keepalive.pong(message.id);
    if (message.type === 'ack') {
      this.outbox.acknowledge(message.input);
      if (this.outbox.length === 0) this.keepalive.acknowledged();
      return this.listener.onInputTaken();
    }
    if (message.type === 'epoch') {
      this.boot(message);
      return this.change({});
    }
    this.follow(attachment, message);
  }

  /** The guest may have booted while the connection was lost. */
  private catchUp(hello: Hello): void {
    const { epoch, epoch_offset: offset = hello.offset } = hello;
    if (epoch !== this.view.epoch) this.boot({ epoch, offset });
  }

  private boot({ epoch, offset }: { epoch: number; offset: number }): void {
    this.state = { ...this.state, epoch };
    if (this.view.progress) this.followProgress(undefined);
    this.output.boot(offset, epoch);
    this.request({ type: 'boots' });
    this.listener.onBoot();
  }

  private follow(attachment: Attachment, message: ServerMessage): void {
    const next = attachment.after(message);
    if (next.writes !== attachment.writes) this.prefer(next.writes ? undefined : 'watch');
    this.held = next.writes;
    this.change({ attachment: next });
  }

  private begin(hello: Hello): void {
    const { asked, outbox } = this;
    // After a restart of the proxy, the line has another id, and input counts from 0.
    const sameLine = !asked.from || asked.from.line === hello.line;
    const resumed = asked.resume && sameLine && this.own.isBack(hello);
    const attachment = new Attachment(hello);
    this.state = { ...this.state, attachment };
    this.held = attachment.writes;
    if (resumed) this.sendAgain(hello);
    const lost = resumed && attachment.writes ? 0 : outbox.drop();
    if (!resumed || !attachment.writes) this.outbox = new Outbox(hello.input);
    this.output.begin(hello, asked.from);
    if (asked.from?.line === hello.line) this.catchUp(hello);
    this.tellLost(lost);
    this.own.begin(hello);
    this.attachedAt = Date.now();
    if (this.size) this.request(this.size);
    this.request({ type: 'boots' });
    this.keepalive.start();
    const [keptUntil, holder] = [undefined, undefined];
    this.change({ attachment, hello, epoch: hello.epoch, ending: undefined, connecting: false, keptUntil, holder });
    if (asked.want) this.want(attachment, asked.want);
  }

  /** Sends the bytes that the proxy lacks, after their offset, so that each byte arrives once. */
  private sendAgain(hello: Hello): void {
    const { offset, chunks } = this.outbox.resume(hello.input);
    const writes = hello.mode === 'write';
    this.request({ type: 'input', offset: writes ? offset : hello.input });
    if (writes) for (const chunk of chunks) this.connection?.sendBytes(chunk);
  }

  /** Asks to type, or takes over if that is allowed. */
  private want(attachment: Attachment, { pen, reason }: Want): void {
    if (pen === 'request' || attachment.hello.can.includes('force')) return this.request(penMessage(pen, reason));
    this.prefer('watch');
    this.change({ attachment: attachment.afterRefusedForce() });
  }

  /** Sets the mode in which this tab attaches from now on, also after a reload. Without a mode: `auto`. */
  private prefer(mode: Mode | undefined): void {
    if (mode) this.access.mode = mode;
    else delete this.access.mode;
    keepAccess(this.access);
  }

  /** Ends a silent connection. The browser would notice it only after minutes. */
  private breakOff(): void {
    this.connection?.abandon();
    this.end(Code.connectionLost, '');
  }

  private end(code: number, reason: string): void {
    this.keepalive.stop();
    const { attachment, hello } = this.view;
    this.connection = undefined;
    // The proxy no longer knows the key: the token makes a new session.
    if (code === Code.token && !attachment && this.asked.resume) {
      this.own.forget();
      return this.open();
    }
    // An older host of a cluster does not know `auto`. Without it, a console is refused while somebody else types.
    if (code === Code.protocolError && !attachment && this.asked.mode === 'auto' && !this.asked.resume) {
      this.isOld = true;
      return this.open();
    }
    const holder = code === Code.busy ? (this.view.holder ?? parseBusy(reason)) : undefined;
    const ending = describeEnd({
      code,
      reason,
      attachment,
      console: hello,
      holder,
      mode: this.access.mode,
      earlier: holder !== undefined && this.own.holds(holder),
      mayReopen: this.listener.mayReopen(),
      mayForce: (holder?.can ?? hello?.can)?.includes('force') ?? false,
      now: new Date(),
    });
    if (ending.retry) return this.comeBack(ending, attachment, holder);
    this.own.end(code === Code.takenOver);
    this.finish(ending, holder);
  }

  private finish(ending: Ending, holder: Holder | undefined): void {
    this.retry.cancel();
    this.retry.reset();
    this.keepalive.stop();
    this.tellLost(this.outbox.drop());
    clearTimeout(this.progressTimer);
    this.change({
      progress: undefined,
      attachment: undefined,
      ending,
      connecting: false,
      holder,
      retryAt: undefined,
      keptUntil: undefined,
    });
  }

  private comeBack(ending: Ending, attachment?: Attachment, holder?: Holder): void {
    if (attachment && Date.now() - this.attachedAt >= STEADY) this.retry.reset();
    const keptFor = (attachment?.hello.grace ?? 0) * 1000;
    const keptUntil = keptFor > 0 ? Date.now() + keptFor : this.view.keptUntil;
    this.own.lose();
    const retryAt = this.retry.later();
    this.change({
      attachment: undefined,
      ending,
      connecting: false,
      holder,
      retryAt,
      keptUntil: this.own.key === undefined ? undefined : keptUntil,
    });
  }

  /** Shows the progress of an action. If it is not done within `LONGEST`, says so, and stops waiting. */
  private followProgress(progress: Progress | undefined): void {
    clearTimeout(this.progressTimer);
    this.change({ progress });
    if (!progress) return;
    this.progressTimer = setTimeout(() => {
      this.change({ progress: undefined });
      this.listener.onNotice(describeUndone(progress));
    }, LONGEST);
  }

  /** Tells the user about input that may not have arrived. It is not sent again, since it could arrive twice. */
  private tellLost(bytes: number): void {
    if (bytes > 0) this.sink.note(describeLostInput(bytes));
  }

  private change(part: Partial<View>): void {
    const before = this.state;
    const next = { ...before, ...part };
    const waits = this.own.key !== undefined && this.held;
    this.state = { ...next, takesInput: next.attachment ? next.attachment.writes : waits };
    this.listener.onChange(this.state, before);
  }
}
