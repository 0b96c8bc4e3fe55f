//! The desk: the pen and the input that waits to be written under it.
//!
//! Both are behind one lock, and the owner writes to the hypervisor while it holds that lock (such
//! a write never waits). So a change of the pen happens between two writes. This is the fence: if
//! the pen was taken by force, the previous holder's unwritten input is dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Asked;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::pen::Pen;
use serialproxy_proto::pen::Request;
use tokio::task::AbortHandle;

use crate::endpoint::Permit;
use crate::ordered::Place;
use crate::ordered::Placed;
use crate::session::Session;
use crate::stream::Stream;

/// With so many bytes of input that wait for the guest no more are taken from a client, until they
/// are fewer: so whoever sends waits. What a client sent at once is taken as a whole.
const FULL: usize = 64 * 1024;

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
    /// The connected port; none where no guest is connected.
    stream: Option<Arc<Stream>>,
    /// The right to use it, where one is needed.
    permit: Option<Arc<dyn Permit>>,
    written: u64,
    /// Whether the owner wants to know of all input, also of what was written at once.
    tells_all: bool,
    /// What grants the newest request when nobody answers it.
    overdue: Option<AbortHandle>,
}

impl Placed for Desk {
    const PLACE: Place = Place::Desk;
}

impl Desk {
    pub(crate) fn pen(&self) -> &Pen {
        &self.pen
    }

    /// Bytes written to the hypervisor so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether the owner is told of all input.
    pub(crate) fn tells_all(&self) -> bool {
        self.tells_all
    }

    /// Tells the owner of all input from now on, or only of what waits to be written.
    pub(crate) fn tell_all(&mut self, all: bool) {
        self.tells_all = all;
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

    /// Waits for the answer to the newest request: one at a time is enough.
    pub(crate) fn wait_for_answer(&mut self, overdue: AbortHandle) {
        if let Some(before) = self.overdue.replace(overdue) {
            before.abort();
        }
    }

    /// Hands the pen to who asks for it since the holder does not answer the request of this number.
    pub(crate) fn grant_overdue_pen(&mut self, number: u64, now: Timestamp) -> Option<Holder> {
        let request = self.pen.request()?;
        let loser = if request.number == number { self.pen.grant(now) } else { None };
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

    /// Gives the pen to `candidate`, even if another session holds it.
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

    /// Takes the pen from its holder, withdraws requests for it, and drops unwritten input.
    pub(crate) fn expropriate(&mut self) {
        self.pen.clear();
        self.drop_input();
    }

    /// A guest is connected.
    pub(crate) fn open(&mut self, stream: Arc<Stream>, permit: Option<Arc<dyn Permit>>) {
        self.stream = Some(stream);
        self.permit = permit;
        self.tells_all = false;
    }

    /// The guest's connection is gone, and with it what was typed for it.
    pub(crate) fn close(&mut self) {
        // It goes before the permit.
        self.stream = None;
        self.permit = None;
        self.pressed = VecDeque::new();
        self.drop_input();
    }

    /// Whether a session's input is read now. Input of sessions without the pen is always read, because it
    /// is dropped.
    pub(crate) fn has_room(&self, session: SessionId) -> bool {
        self.input.len() < FULL || !self.pen.is_held_by(session)
    }

    /// Takes input that a session sent over its connection number `connection`, and writes it at
    /// once if no other input waits; returns whether the owner must write. Drops the input if the
    /// session has another connection now, if the session does not hold the pen, or if no guest is
    /// connected: a guest that starts must not get keys that were meant for an earlier boot.
    pub(crate) fn accept(&mut self, session: &Session, connection: u64, bytes: &[u8]) -> bool {
        let mut presence = session.presence();
        if presence.detached || session.connection() != connection {
            return false;
        }
        let repeated = usize::try_from(presence.repeated).unwrap_or(usize::MAX).min(bytes.len());
        presence.repeated -= repeated as u64;
        let bytes = bytes.get(repeated..).unwrap_or_default();
        presence.received += bytes.len() as u64;
        let Some(stream) = self.stream.as_ref().filter(|_| self.pen.is_held_by(session.id)) else {
            return false;
        };
        self.queued += bytes.len() as u64;
        presence.queued_to = self.queued;
        // An error comes again when the owner writes.
        let written = match self.input.is_empty() && self.pressed.is_empty() {
            true if is_good(self.permit.as_ref()) => stream.try_write(bytes).unwrap_or(0),
            _ => 0,
        };
        self.written += written as u64;
        self.input.extend(bytes.get(written..).unwrap_or_default());
        self.has_input() || self.tells_all
    }

    /// How many of the bytes that a session typed need nothing more: they were written to the
    /// hypervisor, or dropped.
    pub(crate) fn settled(&self, session: &Session) -> u64 {
        let presence = session.presence();
        let drained = self.queued - self.input.len() as u64;
        presence.received.saturating_sub(presence.queued_to.saturating_sub(drained))
    }

    /// Puts bytes before all others; false where no guest is connected.
    pub(crate) fn press(&mut self, bytes: &[u8]) -> bool {
        if self.stream.is_some() {
            self.pressed.extend(bytes);
        }
        self.stream.is_some()
    }

    /// Writes as much as the hypervisor takes now.
    pub(crate) fn write_to(&mut self, stream: &Stream) -> io::Result<()> {
        loop {
            let pressed = !self.pressed.is_empty();
            let queue = if pressed { &mut self.pressed } else { &mut self.input };
            if queue.is_empty() {
                break;
            }
            if !is_good(self.permit.as_ref()) {
                return Err(io::ErrorKind::PermissionDenied.into());
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
        if let Some(stream) = self.stream.clone() {
            stream.drop_input();
            // Keys that were pressed may find room now. An error comes again when the owner writes.
            let _ = self.write_to(&stream);
        }
    }
}

/// Whether the port may be used, as far as that needs a permit.
fn is_good(permit: Option<&Arc<dyn Permit>>) -> bool {
    permit.is_none_or(|permit| permit.is_good())
}
