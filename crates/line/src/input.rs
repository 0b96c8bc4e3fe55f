//! Input of sessions on its way to the guest of a line.

use std::io;
use std::time::Instant;

use serialproxy_metrics as metrics;
use serialproxy_metrics::Direction;
use serialproxy_proto::id::SessionId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::desk::Desk;
use crate::ordered::Locked;
use crate::ordered::Ordered;
use crate::session::Session;
use crate::stream::Stream;

#[derive(Debug, Default)]
pub(crate) struct Input {
    desk: Ordered<Desk>,
    /// Notified of new input: the owner checks the desk.
    typed: Notify,
    /// Notified when input was written or dropped: sessions that wait for room check again.
    room: Notify,
}

impl Input {
    pub(crate) fn desk(&self) -> Locked<'_, Desk> {
        self.desk.lock()
    }

    /// Accepts input that a session sent over its connection with this number, like
    /// [`Desk::accept`].
    pub(crate) fn accept(&self, session: &Session, connection: u64, bytes: &[u8]) {
        let began = Instant::now();
        let mut desk = self.desk();
        let written = desk.written();
        let tells = desk.accept(session, connection, bytes);
        // What waits does so for the guest.
        if desk.written() != written {
            metrics::ECHO_SECONDS.of(Direction::Input).observe(began.elapsed());
        }
        drop(desk);
        if tells {
            self.typed.notify_one();
        }
    }

    /// Writes input of a session like [`Desk::type_now`].
    pub(crate) fn type_now(&self, session: &Session, bytes: &[u8]) -> Option<usize> {
        let mut desk = self.desk();
        let written = desk.type_now(session, bytes);
        if desk.tells_all() {
            self.typed.notify_one();
        }
        written
    }

    /// Queues bytes before all others; false where no guest is connected.
    pub(crate) fn press(&self, bytes: &[u8]) -> bool {
        let pressed = self.desk().press(bytes);
        self.typed.notify_one();
        pressed
    }

    /// Waits until there is input that the owner has not seen yet.
    pub(crate) fn typed(&self) -> Notified<'_> {
        self.typed.notified()
    }

    /// Writes as much of the waiting input as the hypervisor accepts.
    pub(crate) fn write_to(&self, stream: &Stream) -> io::Result<()> {
        self.desk().write_to(stream)?;
        self.tell_of_room();
        Ok(())
    }

    /// The guest's connection is gone. Input that waits for it is dropped.
    pub(crate) fn close(&self) {
        self.desk().close();
        self.tell_of_room();
    }

    /// Whether a session's input is read now.
    pub(crate) fn has_room(&self, session: SessionId) -> bool {
        self.desk().has_room(session)
    }

    /// Waits until a session's input is read.
    pub(crate) async fn room(&self, session: SessionId) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if self.has_room(session) {
                return;
            }
            room.await;
        }
    }

    /// Makes sessions that wait for room check again.
    pub(crate) fn tell_of_room(&self) {
        self.room.notify_waiters();
    }
}
