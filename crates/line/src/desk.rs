//! The desk: the pen and the input that waits to be written under it.
//!
//! Both are behind one lock, and the owner writes to the hypervisor while it holds that lock (such
//! a write never waits). So a change of the pen happens between two writes. This is the fence: if
//! the pen was taken by force, the previous holder's unwritten input is dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Direction;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Asked;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::pen::Pen;
use serialproxy_proto::pen::Request;
use tokio::task::AbortHandle;

use crate::ordered::Place;
use crate::ordered::Placed;
use crate::resolve::Permit;
use crate::session::Session;
use crate::stream::Stream;

/// While this many bytes of input wait for the guest, no more are read from a client, so the client
/// has to wait. A frame that was read is accepted as a whole.
const FULL: usize = 64 * 1024;

/// An empty queue with a larger capacity frees its memory.
const IDLE: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Desk {
    pen: Pen,
    /// Keys that were not typed in a session; they are written first.
    pressed: VecDeque<u8>,
    input: VecDeque<u8>,
    /// How many bytes have been added to `input` so far.
    queued: u64,
    /// The connected port; none where no guest is connected.
    stream: Option<Arc<Stream>>,
    /// The permit for the port, where one is needed.
    permit: Option<Arc<dyn Permit>>,
    written: u64,
    /// Whether the owner is notified of all input, even if it was written at once.
    tells_all: bool,
    /// The timer that grants the newest request when the holder does not respond.
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

    /// Whether the owner is notified of all input.
    pub(crate) fn tells_all(&self) -> bool {
        self.tells_all
    }

    /// Notifies the owner of all input from now on, or only of input that waits.
    pub(crate) fn tell_all(&mut self, all: bool) {
        self.tells_all = all;
    }

    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty() || !self.pressed.is_empty()
    }

    /// Gives a free pen to `candidate`; otherwise the error is the present holder.
    pub(crate) fn take_pen(&mut self, candidate: Holder) -> Result<(), Holder> {
        self.pen.take(candidate)
    }

    pub(crate) fn ask_for_pen(&mut self, request: Request, now: Timestamp) -> Asked {
        self.pen.ask(request, now)
    }

    /// Hands the pen to the session that asks for it, with the holder's consent. The holder's
    /// accepted input is still written, before any input of the next holder.
    pub(crate) fn grant_pen(&mut self, now: Timestamp) -> Option<Holder> {
        self.pen.grant(now)
    }

    /// Keeps the timer of the newest request, and stops that of the one before.
    pub(crate) fn wait_for_answer(&mut self, overdue: AbortHandle) {
        if let Some(before) = self.overdue.replace(overdue) {
            before.abort();
        }
    }

    /// Hands the pen to the session that asks for it, since the holder did not respond to the
    /// request with this number.
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

    /// Takes the pen from `session` if it holds it. Its accepted input is still written, before any
    /// input of the next holder.
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

    /// The guest's connection is gone. Input that waits for it is dropped.
    pub(crate) fn close(&mut self) {
        // The port must be closed before its permit is dropped.
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
        // The owner's next write reports the same error.
        let written = match self.input.is_empty() && self.pressed.is_empty() {
            true if is_good(self.permit.as_ref()) => stream.try_write(bytes).unwrap_or(0),
            _ => 0,
        };
        self.note_written(written);
        self.input.extend(bytes.get(written..).unwrap_or_default());
        self.has_input() || self.tells_all
    }

    /// Writes input of a session that holds the pen, as much as the hypervisor accepts now, and only
    /// where no other input waits; returns how many bytes, or none where the session cannot type any
    /// more.
    pub(crate) fn type_now(&mut self, session: &Session, bytes: &[u8]) -> Option<usize> {
        let is_over = session.is_over() || !self.pen.is_held_by(session.id);
        let stream = self.stream.as_ref().filter(|_| !is_over)?;
        // The owner's next write reports the same error.
        let written = match self.has_input() {
            false if is_good(self.permit.as_ref()) => stream.try_write(bytes).unwrap_or(0),
            _ => 0,
        };
        session.presence().received += written as u64;
        self.note_written(written);
        Some(written)
    }

    /// How many of the bytes that a session typed are settled: written to the hypervisor, or
    /// dropped.
    pub(crate) fn settled(&self, session: &Session) -> u64 {
        let presence = session.presence();
        let drained = self.queued - self.input.len() as u64;
        presence.received.saturating_sub(presence.queued_to.saturating_sub(drained))
    }

    /// Queues bytes before all others; false where no guest is connected.
    pub(crate) fn press(&mut self, bytes: &[u8]) -> bool {
        if self.stream.is_some() {
            self.pressed.extend(bytes);
        }
        self.stream.is_some()
    }

    /// Writes as much as the hypervisor accepts now.
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
                    self.note_written(written);
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

    fn note_written(&mut self, written: usize) {
        self.written += written as u64;
        metrics::LINE_BYTES.of(Direction::Input).add(written as u64);
    }

    fn drop_input(&mut self) {
        self.input = VecDeque::new();
        if let Some(stream) = self.stream.clone() {
            stream.drop_input();
            // Pressed keys may fit now. The owner's next write reports the same error.
            let _ = self.write_to(&stream);
        }
    }
}

/// Whether the port may be used; always, where no permit is needed.
fn is_good(permit: Option<&Arc<dyn Permit>>) -> bool {
    permit.is_none_or(|permit| permit.is_good())
}
