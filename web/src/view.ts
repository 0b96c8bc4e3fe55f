// The state of the console that the page shows. It has one owner, the session, and nobody changes a view: a change
// makes a new one.

import type { Attachment } from './attachment';
import type { Ending, Holder } from './endings';
import type { Boots, Hello, Times } from './messages';
import type { Progress } from './power';

/** The state of the console. */
export interface View {
  /** The session, while there is one. */
  readonly attachment: Attachment | undefined;
  /** The last session's greeting: what the console is called. */
  readonly hello: Hello | undefined;
  /** The guest's last boot that this page knows of. */
  readonly epoch: number | undefined;
  /** How the last session ended, until there is one again. */
  readonly ending: Ending | undefined;
  /** Whether an attempt is under way. */
  readonly connecting: boolean;
  /** Whether that attempt has had no answer for some time. */
  readonly slow: boolean;
  /** Who types, if that is why this page was refused. */
  readonly holder: Holder | undefined;
  /** When the next attempt starts by itself, in milliseconds since 1970. */
  readonly retryAt: number | undefined;
  /** Until when the proxy keeps a lost session, in milliseconds since 1970. */
  readonly keptUntil: number | undefined;
  /** Whether input is taken: sent, or kept for the session that comes back. */
  readonly takesInput: boolean;
  /** Since when the proxy has answered nothing, in milliseconds since 1970, where it should have. */
  readonly unansweredSince: number | undefined;
  /** What the guest's machine was asked for and has not done yet. */
  readonly progress: Progress | undefined;
}

/** Before anything is known. */
export const NOTHING: View = {
  attachment: undefined,
  hello: undefined,
  epoch: undefined,
  ending: undefined,
  connecting: false,
  slow: false,
  holder: undefined,
  retryAt: undefined,
  keptUntil: undefined,
  takesInput: false,
  unansweredSince: undefined,
  progress: undefined,
};

/** Receives changes of the session. */
export interface Listener {
  onChange(view: View, before: View): void;
  /** A request that could not be met, in words. */
  onNotice(message: string): void;
  /** The proxy acknowledged input. */
  onInputTaken(): void;
  onBoot(): void;
  /** The boots of which the proxy knows, and how much output it keeps. */
  onBoots(boots: Boots): void;
  /** When output arrived, as was asked for. */
  onTimes(times: Times): void;
  onLatency(milliseconds: number | undefined): void;
  /** The watch link came that was asked for. */
  onLink(url: string): void;
  /** Whether this browser is logged in, so that the page can get a fresh token. */
  mayReopen(): boolean;
}
