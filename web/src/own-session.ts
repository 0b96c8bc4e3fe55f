// The session that this tab has or had: its resume key, and whether a session that types is this tab's
// own.

import { keepSession, keptSession } from './address';
import type { Access, Kept } from './address';
import type { Holder } from './endings';
import { Handover } from './handover';
import type { Hello } from './messages';

/** Milliseconds for which a proxy may take our own broken session for alive, and some to spare. */
const FADES = 75_000;

export class OwnSession {
  private readonly handover = new Handover();
  private kept: Kept | undefined;
  /** The last session, whether or not it can come back. */
  private last: string | undefined;
  private user: string | undefined;
  /** Whether another window has it. */
  private elsewhere = false;
  private lostAt: number | undefined;

  constructor(private readonly access: Access) {
    this.kept = keptSession(access);
    this.last = this.kept?.session;
  }

  /** The key with which it can come back. */
  get key(): string | undefined {
    return this.kept?.resume;
  }

  /** Whether a session that was let in is the one that can come back. */
  isBack({ session }: Hello): boolean {
    return session === this.kept?.session;
  }

  /** A session was let in. */
  begin({ session, resume, user }: Hello): void {
    this.last = session;
    this.user = user;
    this.lostAt = undefined;
    this.keep(resume === undefined ? undefined : { session, resume });
    if (this.kept) this.handover.announce(this.kept);
  }

  /** Its connection is lost. */
  lose(): void {
    this.lostAt ??= Date.now();
  }

  /** It can't come back. */
  forget(): void {
    this.keep(undefined);
  }

  /** It is over, or goes on in another window. */
  end(elsewhere: boolean): void {
    this.elsewhere = elsewhere;
    this.lostAt = undefined;
    this.forget();
  }

  /** Asks for it back where another window has it. */
  reclaim(): void {
    if (this.elsewhere && this.last !== undefined) this.kept = this.handover.newest(this.last);
    this.elsewhere = false;
  }

  /** A proxy that names no session is believed for as long as a broken one may be alive. */
  holds({ session, user }: Holder): boolean {
    if (session !== undefined) return session === this.last;
    const recently = this.lostAt !== undefined && Date.now() - this.lostAt < FADES;
    return recently && user === this.user;
  }

  private keep(kept: Kept | undefined): void {
    this.kept = kept;
    keepSession(this.access, kept);
  }
}
