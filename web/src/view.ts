// The state of the console that the page shows. The session owns it. A view is immutable: a change makes a new one.

import type { Attachment } from './attachment';
import type { Ending, Holder } from './endings';
import type { Boots, Hello, Times } from './messages';
import type { Progress } from './power';

export interface View {
  /** The session, while there is one. */
  readonly attachment: Attachment | undefined;
  /** The `hello` of the last session, which names the console. */
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
  /** Whether input is taken: sent, or kept until the session is resumed. */
  readonly takesInput: boolean;
  /** Since when the proxy has not answered, in milliseconds since 1970, if it should have. */
  readonly unansweredSince: number | undefined;
  /** The change of power that is under way. */
  readonly progress: Progress | undefined;
}

/** The view before anything is known. */
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
  /** A message for the user, for example that a request failed. */
  onNotice(message: string): void;
  /** The proxy acknowledged input. */
  onInputTaken(): void;
  onBoot(): void;
  /** The proxy's answer: the boots that it knows, and the oldest output that it keeps. */
  onBoots(boots: Boots): void;
  /** The proxy's answer: when output arrived. */
  onTimes(times: Times): void;
  onLatency(milliseconds: number | undefined): void;
  /** The proxy's answer: the watch link. */
  onLink(url: string): void;
  /** Whether this browser is logged in, so that the page can get a fresh token. */
  mayReopen(): boolean;
}
