//! The desk: the pen and the input that waits to be written under it.
//!
//! Both stand under one lock, and the owner writes to the hypervisor while it holds that lock
//! (such a write never waits). So a change of the pen falls between two writes. That is the fence:
//! what a holder typed who was forced off, and was not written by then, is dropped.

use std::collections::VecDeque;
use std::io;

use jiff::Timestamp;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Asked;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::pen::Pen;
use serialproxy_proto::pen::Request;

use crate::lock;
use crate::session::Session;
use crate::stream::Stream;

/// Bytes of input that wait for the guest at most. A session that has more waits, and so does
/// whoever sends to it.
const ROOM: usize = 64 * 1024;

/// An empty queue that was larger than this gives its memory back.
const IDLE: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Desk {
    pen: Pen,
    /// Keys that no session typed; they go first.
    pressed: VecDeque<u8>,
    input: VecDeque<u8>,
    /// Bytes that were ever put into `input`.
    queued: u64,
    open: bool,
    written: u64,
}

/// What became of bytes that a session typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Accepted {
    /// So many bytes are dealt with: queued, or dropped because the session does not hold the pen
    /// or no guest is connected (one that starts must not find keys that were meant for the one
    /// before).
    Bytes(usize),
    /// The queue is full.
    Full,
    /// The connection that it came over is not the session's any more.
    Stale,
}

impl Desk {
    pub(crate) fn pen(&self) -> &Pen {
        &self.pen
    }

    /// Bytes written to the hypervisor so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty() || !self.pressed.is_empty()
    }

    /// Gives a free pen to `candidate`, or says who holds it.
    pub(crate) fn take_pen(&mut self, candidate: Holder) -> Result<(), Holder> {
        self.pen.take(candidate)
    }

    pub(crate) fn ask_for_pen(&mut self, request: Request, now: Timestamp) -> Asked {
        self.pen.ask(request, now)
    }

    /// Hands the pen to who asks for it, with the will of the holder, whose input was accepted and
    /// is still written, before anything that the next holder types.
    pub(crate) fn grant_pen(&mut self, now: Timestamp) -> Option<Holder> {
        self.pen.grant(now)
    }

    /// Hands the pen to who asks for it since the holder does not answer.
    pub(crate) fn grant_overdue_pen(&mut self, now: Timestamp) -> Option<Holder> {
        let loser = self.pen.grant(now);
        if loser.is_some() {
            self.drop_input();
        }
        loser
    }

    pub(crate) fn deny_pen(&mut self) -> Option<Request> {
        self.pen.deny()
    }

    pub(crate) fn withdraw_request(&mut self, session: SessionId) -> bool {
        self.pen.withdraw(session)
    }

    /// Gives the pen to `candidate`, whoever holds it.
    pub(crate) fn force_pen(&mut self, candidate: Holder) -> Option<Holder> {
        if !self.pen.is_held_by(candidate.session) {
            self.drop_input();
        }
        self.pen.force(candidate)
    }

    /// Takes the pen from `session` if it holds it. What it typed before was accepted, and is
    /// still written, before anything that the next holder types.
    pub(crate) fn release_pen(&mut self, session: SessionId, now: Timestamp) -> Option<Holder> {
        self.pen.release(session, now)
    }

    /// Takes the pen from `session` if it holds it, and drops what it typed.
    pub(crate) fn revoke_pen(&mut self, session: SessionId, now: Timestamp) -> Option<Holder> {
        let holder = self.pen.release(session, now);
        if holder.is_some() {
            self.drop_input();
        }
        holder
    }

    /// A guest is connected.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    /// The guest's connection is gone, and with it what was typed for it.
    pub(crate) fn close(&mut self) {
        self.open = false;
        self.pressed = VecDeque::new();
        self.drop_input();
    }

    /// Takes what a session typed over its connection number `connection`, as far as there is room.
    pub(crate) fn accept(&mut self, session: &Session, connection: u64, bytes: &[u8]) -> Accepted {
        let mut standing = lock(&session.standing);
        if standing.detached || session.connection() != connection {
            return Accepted::Stale;
        }
        if standing.repeated > 0 {
            let repeated = usize::try_from(standing.repeated).unwrap_or(usize::MAX);
            let count = repeated.min(bytes.len());
            standing.repeated -= count as u64;
            return Accepted::Bytes(count);
        }
        let count = if self.open && self.pen.is_held_by(session.id) {
            let room = ROOM.saturating_sub(self.input.len());
            let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
            if taken.is_empty() && !bytes.is_empty() {
                return Accepted::Full;
            }
            self.input.extend(taken);
            self.queued += taken.len() as u64;
            standing.queued_to = self.queued;
            taken.len()
        } else {
            bytes.len()
        };
        standing.received += count as u64;
        Accepted::Bytes(count)
    }

    /// How many of the bytes that a session typed need nothing more: they were written to the
    /// hypervisor, or dropped.
    pub(crate) fn settled(&self, session: &Session) -> u64 {
        let standing = lock(&session.standing);
        let drained = self.queued - self.input.len() as u64;
        standing.received.saturating_sub(standing.queued_to.saturating_sub(drained))
    }

    /// Puts bytes before all others; false where no guest is connected.
    pub(crate) fn press(&mut self, bytes: &[u8]) -> bool {
        if self.open {
            self.pressed.extend(bytes);
        }
        self.open
    }

    /// Writes as much as the hypervisor takes now.
    pub(crate) fn write_to(&mut self, stream: &Stream) -> io::Result<()> {
        loop {
            let pressed = !self.pressed.is_empty();
            let queue = if pressed { &mut self.pressed } else { &mut self.input };
            if queue.is_empty() {
                break;
            }
            match stream.try_write(queue.as_slices().0) {
                Ok(written) => {
                    queue.drain(..written);
                    self.written += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.input.capacity() > IDLE {
            self.input = VecDeque::new();
        }
        Ok(())
    }

    fn drop_input(&mut self) {
        self.input = VecDeque::new();
    }
}
