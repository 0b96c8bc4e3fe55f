// The sentences about the state of a session. Pure functions of what the proxy said.

import type { Attachment } from './attachment';
import { plain } from './plain';
import { duration, format } from './times';
import type { View } from './view';

/** Names in the status line. */
const NAMES = 4;

/** The line's state, for the status line. */
export function describeState({ state, reason, halted }: Attachment): string {
  if (halted) return plain(reason) || 'the guest is paused';
  const word = state === 'waiting' ? 'waiting for the guest' : state;
  return state === 'connected' || reason === '' ? word : `${word}: ${plain(reason)}`;
}

/** Who is typing, for the status line. */
export function describeTyping(attachment: Attachment): string {
  if (attachment.writes) return 'you are typing';
  if (attachment.writer === undefined) return 'you are watching';
  const lost = attachment.freeAt !== undefined && attachment.writer;
  if (lost) return `${lost} lost the connection, you are watching`;
  return `${attachment.writer ?? 'nobody'} is typing, you are watching`;
}

/** Who else is there, for the status line; nothing where nobody is. */
export function describeViewers({ viewers, who, hello }: Attachment): string {
  if (viewers < 2) return '';
  const others = who.filter(({ session }) => session !== hello.session).map(({ user }) => user);
  const named = others.slice(0, NAMES);
  const more = viewers - 1 - named.length;
  if (named.length > 0 && more > 0) named.push(`${more} more`);
  return `${viewers} attached${named.length > 0 ? `: you, ${named.join(', ')}` : ''}`;
}

/** Everyone who is known to be there, one a line. */
export function listViewers({ viewers, who, hello }: Attachment): string {
  const lines = who.map(({ session, user, mode, detached }) => {
    const you = session === hello.session ? ' (you)' : '';
    const lost = detached ? ', connection lost' : '';
    return `${user}${you} is ${mode === 'write' ? 'typing' : 'watching'}${lost}`;
  });
  if (viewers > who.length && lines.length > 0) lines.push(`and ${viewers - who.length} more`);
  return lines.join('\n');
}

/** That the user who types lost the connection, and when the console is free; nothing where it is not so. */
export function describeLostWriter(
  { freeAt, own, user }: { freeAt: number | undefined; own: boolean; user: string },
  now: number,
): string | undefined {
  if (freeAt === undefined) return undefined;
  const free = describeFree(freeAt, now).replace('Free', 'the console is free');
  if (own) return `Your other session here lost its connection: ${free}, or type here instead.`;
  return `${user} was typing here and lost the connection: ${free}.`;
}

/** When a console is free whose user lost the connection. */
export function describeFree(freeAt: number | undefined, now: number): string {
  if (freeAt === undefined) return '';
  const left = Math.ceil((freeAt - now) / 1000);
  return left > 0 ? `Free in ${left} s` : 'Free at any moment now';
}

function describeLoss({ loss, writer, hello }: Attachment): string | undefined {
  if (!loss) return undefined;
  if (loss.by === hello.user && writer && writer !== hello.user) {
    return `You let ${writer} type${because(loss.reason)} You are watching now.`;
  }
  return `${loss.by ?? 'Someone else'} took over typing${because(loss.reason)} You are watching now.`;
}

/** What a session that goes on has to be told: that it may type no more, or may not take over. */
export function describeNotice(attachment: Attachment): string | undefined {
  const { writer, refusal } = attachment;
  if (refusal) return `${refusal.by} keeps typing${because(refusal.reason)} You are still watching.`;
  if (!attachment.mayNotForce) return describeLoss(attachment);
  const from = writer ? ` from ${writer}` : '';
  const needed = "of an administrator, or of a member of the server's project";
  return `You may not take over${from}: that needs a console URL ${needed}. You are watching now.`;
}

/** Who asks to type, for the user who types and for the one who asks; nothing for others. */
export function describeRequest(attachment: Attachment, now: number): string | undefined {
  const { request, writes, asks, writer } = attachment;
  if (!request || (!writes && !asks)) return undefined;
  const left = Math.ceil((request.until - now) / 1000);
  const time = left > 0 ? `in ${left} s` : 'at any moment now';
  if (asks) {
    const typist = writer ?? 'the user who types';
    return `You asked ${typist} to let you type. Without an answer, you can type ${time}.`;
  }
  const what = `${request.by} asks to type${because(request.reason)}`;
  return `${what} Without your answer, ${request.by} can type ${time}.`;
}

/** Why what is typed reaches no guest; nothing where it does. */
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
  if (!attachment.mayAskToWrite) return `${watches} To type, open a console URL that allows typing.`;
  if (attachment.asks) return `${watches} Wait for the answer.`;
  return `${watches} Press “${typeLabel(attachment)}” first.`;
}

/** The button by which a watcher comes to type. */
export function typeLabel({ writer }: Attachment): string {
  return writer ? 'Ask to type' : 'Start typing';
}

/** Why nothing can be pasted now; nothing where it can. What is pasted is dropped without a guest. */
export function describeNoPaste({ attachment, takesInput }: View): string | undefined {
  if (!takesInput) return attachment ? 'you are watching' : 'you are not connected';
  const open = !attachment || attachment.state === 'connected';
  return open ? undefined : 'the serial port is not connected';
}

/** In the terminal, where input may be missing. */
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

/** `since 09:00 (for 12 minutes)`, in the reader's own clock; the day too when it isn't today. */
export function describeSince(since: string | undefined, now: Date): string {
  const start = new Date(since ?? '');
  if (Number.isNaN(start.getTime())) return '';
  const today = start.toDateString() === now.toDateString();
  const day = today ? '' : `${format(start, { day: 'numeric', month: 'short' })}, `;
  const time = format(start, { hour: '2-digit', minute: '2-digit' });
  return ` since ${day}${time} (for ${duration(now.getTime() - start.getTime())})`;
}

/** `: reason.`, or only the full stop. */
export function because(reason: string | undefined): string {
  const words = reason?.trim().replace(/\.$/, '');
  return words ? `: ${words}.` : '.';
}
