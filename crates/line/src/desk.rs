//! The desk: the pen and the input that waits to be written under it.
//!
//! Both stand under one lock, and the owner writes to the hypervisor while it holds that lock
//! (such a write never waits). So a change of the pen falls between two writes. That is the fence:
//! what a holder typed who was forced off, and was not written by then, is dropped.

use std::collections::VecDeque;
use std::io;

use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::pen::Pen;

use crate::endpoint::Stream;

/// Bytes of input that wait for the guest at most. A session that has more waits, and so does
/// whoever sends to it.
const ROOM: usize = 64 * 1024;

/// An empty queue that was larger than this gives its memory back.
const IDLE: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Desk {
    pen: Pen,
    input: VecDeque<u8>,
    open: bool,
    written: u64,
}

/// What became of bytes that a session typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Accepted {
    /// So many bytes are in the queue; 0 when it is full.
    Bytes(usize),
    /// The session does not hold the pen.
    NotHolder,
    /// No guest is connected; nothing is kept for later, since a guest that starts must not find
    /// keys that were meant for the one before.
    Closed,
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
        !self.input.is_empty()
    }

    /// Gives a free pen to `candidate`, or says who holds it.
    pub(crate) fn take_pen(&mut self, candidate: Holder) -> Result<(), Holder> {
        self.pen.take(candidate)
    }

    /// Gives the pen to `candidate`, whoever holds it.
    pub(crate) fn force_pen(&mut self, candidate: Holder) -> Option<Holder> {
        self.drop_input();
        self.pen.force(candidate)
    }

    /// Frees the pen if `session` holds it. What it typed before was accepted, and is still
    /// written, before anything that the next holder types.
    pub(crate) fn release_pen(&mut self, session: SessionId) -> Option<Holder> {
        self.pen.release(session)
    }

    /// Frees the pen if `session` holds it and drops what it typed.
    pub(crate) fn revoke_pen(&mut self, session: SessionId) -> Option<Holder> {
        let holder = self.pen.release(session);
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
        self.drop_input();
    }

    /// Queues what a session typed, as far as there is room.
    pub(crate) fn accept(&mut self, session: SessionId, bytes: &[u8]) -> Accepted {
        if !self.pen.is_held_by(session) {
            return Accepted::NotHolder;
        }
        if !self.open {
            return Accepted::Closed;
        }
        let room = ROOM.saturating_sub(self.input.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.input.extend(taken);
        Accepted::Bytes(taken.len())
    }

    /// Puts bytes before all others; false where no guest is connected.
    pub(crate) fn press(&mut self, bytes: &[u8]) -> bool {
        if self.open {
            for byte in bytes.iter().rev() {
                self.input.push_front(*byte);
            }
        }
        self.open
    }

    /// Writes as much as the hypervisor takes now.
    pub(crate) fn write_to(&mut self, stream: &Stream) -> io::Result<()> {
        while !self.input.is_empty() {
            match stream.try_write(self.input.as_slices().0) {
                Ok(written) => {
                    self.input.drain(..written);
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
