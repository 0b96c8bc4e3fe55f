// A change of the guest's power, from the request until its effect is seen. Plain values.

import type { PowerAction, ServerMessage } from './messages';

/** An action that takes a while, and whose effect is visible. */
export type Slow = Exclude<PowerAction, 'nmi'>;

/** What was asked for, and when, in milliseconds since 1970. */
export interface Progress {
  action: Slow;
  askedAt: number;
}

/** Milliseconds after which an action counts as not done. The host resets a guest that ignores a reboot for 60 s. */
export const LONGEST = 90_000;

const WORDS: Record<Slow, [doing: string, done: string]> = {
  start: ['Starting…', 'start'],
  stop: ['Stopping…', 'stop'],
  reboot: ['Rebooting…', 'reboot'],
  reset: ['Resetting…', 'restart'],
  pause: ['Pausing…', 'pause'],
  resume: ['Resuming…', 'resume'],
};

/** Whether this message shows that the action is done or failed. A boot ends it, too. */
export function endsProgress({ action }: Progress, message: ServerMessage): boolean {
  if (message.type === 'error') return true;
  if (message.type !== 'state') return false;
  const { cause, state } = message;
  if (cause === 'stopped' || cause === 'gone') return action !== 'start';
  if (action === 'pause') return cause === 'paused';
  return (action === 'start' || action === 'resume') && state === 'connected' && cause !== 'paused';
}

export function describeProgress({ action }: Progress): string {
  return WORDS[action][0];
}

/** Tells the user that the effect was not seen within `LONGEST`. */
export function describeUndone({ action }: Progress): string {
  return `The guest did not ${WORDS[action][1]} within ${LONGEST / 1000} s. Look at its state on the servers page.`;
}
