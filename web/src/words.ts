// The sentences about the state of a session. Pure functions of what the proxy said.

import type { Attachment } from './attachment';
import type { GuestBoot, Viewer } from './messages';
import { named } from './names';
import { plain } from './plain';
import { duration, format } from './times';
import type { View } from './view';

/** The line's state, for the status line. */
export function describeState({ state, reason, halted }: Attachment): string {
  if (halted) return plain(reason) || 'the guest is paused';
  const word = state === 'waiting' ? 'waiting for the guest' : state;
  return state === 'connected' || reason === '' ? word : `${word}: ${plain(reason)}`;
}

/** Whether this session types, for the status line; the strip says more to those who watch. */
export function describeTyping({ writes }: Attachment): string {
  return writes ? 'you are typing' : '';
}

/** The time that the status line counts: since the proxy last answered, or since the action under way was requested. */
export function describeClock({ attachment, progress, unansweredSince }: View, now: number): string {
  const seconds = (since: number): number => Math.max(0, Math.floor((now - since) / 1000));
  if (!attachment) return '';
  if (unansweredSince !== undefined) return ` for ${seconds(unansweredSince)} s`;
  return progress ? ` asked ${seconds(progress.askedAt)} s ago` : '';
}

/** An attached session: its user, and what they do. */
export function describePerson({ user, mode, detached }: Viewer, isMe: boolean): string {
  const does = mode === 'write' ? 'typing' : 'watching';
  return `${named(user)}${isMe ? ' (you)' : ''} is ${does}${detached ? ', connection lost' : ''}`;
}

/** Up to two letters that stand for a name: those of its first two words. */
export function initials(name: string): string {
  const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = words.slice(0, 2).map((word) => [...word][0] ?? '');
  return letters.join('').toLocaleUpperCase() || '?';
}

/** What the strip above the terminal says. */
export interface StripWords {
  /** A user's name, before `told`. */
  who?: string;
  /** Who types. */
  told?: string;
  /** What needs an answer. */
  alarm?: string;
  /** What changes as time passes. */
  clock?: string;
}

/** The words of the strip; undefined for the user who types, unless somebody asks. */
export function describeStrip(attachment: Attachment, now: Date): StripWords | undefined {
  const { request, writes, asks, writer, ownHolder, hello } = attachment;
  const answer = request && describeAnswer(request.until, now.getTime());
  if (writes) {
    return request && {
      alarm: `${named(request.by)} asks to type${because(request.reason)}`,
      clock: `Without your answer, ${named(request.by)} can type ${answer}.`,
    };
  }
  if (asks) {
    const told = `You asked ${writer ? named(writer) : 'the user who types'} to let you type.`;
    return { told, clock: `Without an answer, you can type ${answer}.` };
  }
  if (writer === undefined) return { told: 'You are watching.' };
  if (writer === null) {
    const may = hello.can.includes('write');
    return { told: may ? 'Nobody is typing.' : 'Nobody is typing. You are watching.' };
  }
  if (ownHolder) {
    const told = 'You have this console open in another window.';
    return { told, ...clockOf(describeSeen(attachment, now.getTime())) };
  }
  const { freeAt } = attachment;
  if (freeAt !== undefined) {
    const clock = [describeSeen(attachment, now.getTime()), `${describeFree(freeAt, now.getTime())}.`];
    return { who: writer, told: ' lost the connection. You are watching.', ...clockOf(clock.filter(Boolean).join(' ')) };
  }
  return { who: writer, told: ` is typing${describeFrom(attachment.since, now)}. You are watching.` };
}

/** Leaves out an empty clock: an optional property must not be undefined. */
function clockOf(clock: string): StripWords {
  return clock ? { clock } : {};
}

/** When an unanswered request is granted. */
function describeAnswer(until: number, now: number): string {
  const left = Math.ceil((until - now) / 1000);
  return left > 0 ? `in ${left} s` : 'at any moment now';
}

/** When the session that types was last seen, if its connection is lost. */
function describeSeen({ freeAt, seenAt }: Attachment, now: number): string {
  if (freeAt === undefined) return '';
  if (seenAt === undefined) return 'Its connection is lost.';
  return `Last seen ${Math.max(0, Math.round((now - seenAt) / 1000))} s ago.`;
}

/** ` (since 09:04)`, in the reader's time zone; with the day, if that is not today. */
function describeFrom(since: string | undefined, now: Date): string {
  const time = describeTime(since, now);
  return time ? ` (since ${time})` : '';
}

/** When the console of a user who lost the connection becomes free. */
export function describeFree(freeAt: number | undefined, now: number): string {
  if (freeAt === undefined) return '';
  const left = Math.ceil((freeAt - now) / 1000);
  return left > 0 ? `Free in ${left} s` : 'Free at any moment now';
}

function describeLoss({ loss, writer, hello }: Attachment): string | undefined {
  if (!loss) return undefined;
  if (loss.by === hello.user && writer && writer !== hello.user) {
    return `You let ${named(writer)} type${because(loss.reason)} You are watching now.`;
  }
  return `${loss.by ? named(loss.by) : 'Someone else'} took over typing${because(loss.reason)} You are watching now.`;
}

/**
 * The notice of an attached session: that it no longer types, that its request was refused, or that it may not take
 * over.
 */
export function describeNotice(attachment: Attachment): string | undefined {
  const { writer, refusal } = attachment;
  if (refusal) return `${named(refusal.by)} keeps typing${because(refusal.reason)} You are still watching.`;
  if (!attachment.mayNotForce) return describeLoss(attachment);
  const from = writer ? ` from ${named(writer)}` : '';
  const needed = "of an administrator, or of a member of the server's project";
  return `You may not take over${from}: that needs a console URL ${needed}. You are watching now.`;
}

/** Why input does not reach the guest; undefined if it does. */
export function describeUnsent({ attachment, takesInput }: View): string | undefined {
  if (!attachment) return takesInput ? undefined : 'You are not connected: what you type is not sent.';
  if (attachment.writes) {
    if (attachment.state !== 'connected') {
      return 'The serial port is not connected: what you type is dropped. Wait until it is connected.';
    }
    if (attachment.crashed) return 'The guest crashed: it reads nothing until you reset it.';
    return attachment.paused
      ? 'The guest is paused: it reads what you type when it is resumed.'
      : undefined;
  }
  const watches = 'You are watching: what you type is not sent.';
  if (!attachment.mayType) return `${watches} To type, open a console URL that allows typing.`;
  if (attachment.asks) return `${watches} Wait for the answer.`;
  if (attachment.mayTakeFromOwn) return `${watches} Press “Use it here” first.`;
  return `${watches} Press “${typeLabel(attachment)}” first.`;
}

/** Label of the button with which a watcher starts to type. */
export function typeLabel({ writer }: Attachment): string {
  return writer ? 'Ask to type' : 'Type';
}

/** Why nothing can be pasted now; undefined if it can. Without a connected guest, a paste would be dropped. */
export function describeNoPaste({ attachment, takesInput }: View): string | undefined {
  if (!takesInput) return attachment ? 'you are watching' : 'you are not connected';
  const open = !attachment || attachment.state === 'connected';
  return open ? undefined : 'the serial port is not connected';
}

/** The note in the terminal about input that may be missing. */
export function describeLostInput(bytes: number): string {
  const what = bytes === 1 ? '1 byte that you typed' : `${bytes} bytes that you typed`;
  return `[… ${what} may not have reached the guest, and will not be sent again …]`;
}

/** When the page tries again, and for how long its session is kept; both in milliseconds since 1970. */
export function describeRetry(
  retryAt: number | undefined,
  keptUntil: number | undefined,
  now: number,
): string {
  const left = (until: number): number => Math.max(0, Math.ceil((until - now) / 1000));
  const parts = retryAt === undefined ? [] : [`Trying again in ${left(retryAt)} s`];
  if (keptUntil !== undefined) {
    const kept = left(keptUntil);
    parts.push(kept > 0 ? `your session is kept for ${kept} s more` : 'your session may be over');
  }
  return parts.join('; ');
}

/** ` since 09:00 (for 12 minutes)`, in the reader's time zone; with the day, if that is not today. */
export function describeSince(since: string | undefined, now: Date): string {
  const time = describeTime(since, now);
  if (!time) return '';
  return ` since ${time} (for ${duration(now.getTime() - new Date(since ?? '').getTime())})`;
}

/** `09:04`, in the reader's time zone; with the day, if that is not today. Empty if it is not a time. */
export function describeTime(since: string | undefined, now: Date): string {
  const start = new Date(since ?? '');
  if (Number.isNaN(start.getTime())) return '';
  const today = start.toDateString() === now.toDateString();
  const day = today ? '' : `${format(start, { day: 'numeric', month: 'short' })}, `;
  return `${day}${format(start, { hour: '2-digit', minute: '2-digit' })}`;
}

/** The line in the terminal above the output of a boot. */
export function describeBootRule(server: string, epoch: number): string {
  return `── ${server} started, boot ${epoch} ──`;
}

/** `Boot 3 · today 04:58`, in the reader's time zone. */
export function describeBoot(epoch: number, time: string | undefined, now: Date): string {
  const start = new Date(time ?? '');
  const words = epoch === 0 ? 'Before boot 1' : `Boot ${epoch}`;
  if (Number.isNaN(start.getTime())) return words;
  const today = start.toDateString() === now.toDateString() ? 'today ' : '';
  return `${words} · ${today}${describeTime(time, now)}`;
}

/** The time of a boot to the second, and its kernel, as far as they are known. */
export function describeBootFully(boot: GuestBoot | undefined): string {
  if (!boot) return '';
  const time = format(new Date(boot.time), { dateStyle: 'medium', timeStyle: 'medium' });
  return boot.kernel ? `${time}, Linux ${plain(boot.kernel)}` : time;
}

/** `: reason.`, or only the full stop. */
export function because(reason: string | undefined): string {
  const words = reason?.trim().replace(/\.$/, '');
  return words ? `: ${words}.` : '.';
}
