// The session that this tab has or had: its resume key, and whether a session that types is this tab's
// own.

import { keepSession, keptSession } from './address';
import type { Access, Kept } from './address';
import type { Holder } from './endings';
import { Handover } from './handover';
import type { Hello } from './messages';

/** Milliseconds for which the proxy may count this tab's broken session as alive, with a margin. */
const FADES = 75_000;

export class OwnSession {
  private readonly handover = new Handover();
  private kept: Kept | undefined;
  /** The last session, whether or not it can be resumed. */
  private last: string | undefined;
  private user: string | undefined;
  /** Whether another window has it. */
  private elsewhere = false;
  private lostAt: number | undefined;

  constructor(private readonly access: Access) {
    this.kept = keptSession(access);
    this.last = this.kept?.session;
  }

  /** The resume key; undefined if the session cannot be resumed. */
  get key(): string | undefined {
    return this.kept?.resume;
  }

  /** Whether an accepted session is the one that this tab can resume. */
  isBack({ session }: Hello): boolean {
    return session === this.kept?.session;
  }

  /** The proxy accepted a session. */
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

  /** The session can no longer be resumed. */
  forget(): void {
    this.keep(undefined);
  }

  /** The session is over or, if `elsewhere`, continues in another window. */
  end(elsewhere: boolean): void {
    this.elsewhere = elsewhere;
    this.lostAt = undefined;
    this.forget();
  }

  /** If another window has the session, takes that window's newest resume key. */
  reclaim(): void {
    if (this.elsewhere && this.last !== undefined) this.kept = this.handover.newest(this.last);
    this.elsewhere = false;
  }

  /**
   * Whether the holder of the pen is this tab's session. If the proxy does not name the session, the user's name
   * decides, for as long as a broken session may be alive.
   */
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
