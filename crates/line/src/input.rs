//! What sessions type, on its way to the guest of a line.

use std::io;

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
    /// Input came: the owner looks at the desk again.
    typed: Notify,
    /// Input was written or dropped: a session that waits for room looks again.
    room: Notify,
}

impl Input {
    pub(crate) fn desk(&self) -> Locked<'_, Desk> {
        self.desk.lock()
    }

    /// Takes what a session sent over its connection of this number, as [`Desk::accept`] does.
    pub(crate) fn accept(&self, session: &Session, connection: u64, bytes: &[u8]) {
        if self.desk().accept(session, connection, bytes) {
            self.typed.notify_one();
        }
    }

    /// Puts bytes before all others; false where no guest is connected.
    pub(crate) fn press(&self, bytes: &[u8]) -> bool {
        let pressed = self.desk().press(bytes);
        self.typed.notify_one();
        pressed
    }

    /// Waits until there is input that the owner has yet to look at.
    pub(crate) fn typed(&self) -> Notified<'_> {
        self.typed.notified()
    }

    /// Writes what the hypervisor takes of the input that waits.
    pub(crate) fn write_to(&self, stream: &Stream) -> io::Result<()> {
        self.desk().write_to(stream)?;
        self.tell_of_room();
        Ok(())
    }

    /// The guest's connection is gone, and with it what was typed for it.
    pub(crate) fn close(&self) {
        self.desk().close();
        self.tell_of_room();
    }

    /// Whether a session's input is read now.
    pub(crate) fn has_room(&self, session: SessionId) -> bool {
        self.desk().has_room(session)
    }

    /// Waits until it is.
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

    /// Lets those who wait for room look again.
    pub(crate) fn tell_of_room(&self) {
        self.room.notify_waiters();
    }
}
