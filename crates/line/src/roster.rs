//! Who is attached to a line, may come back, or is about to attach.

use std::sync::Arc;

use serialproxy_proto::id::SessionId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::members::Members;
use crate::ordered::Locked;
use crate::ordered::Ordered;
use crate::session::Session;

#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: Ordered<Members>,
    /// Somebody asks for the line.
    asked: Notify,
}

impl Roster {
    pub(crate) fn members(&self) -> Locked<'_, Members> {
        self.members.lock()
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.members().iter().find(|session| session.id == id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.members().to_vec()
    }

    /// Says that somebody wants the line connected now.
    pub(crate) fn ask(&self) {
        self.members().note_asked();
        self.asked.notify_one();
    }

    /// Waits until somebody does.
    pub(crate) fn asked(&self) -> Notified<'_> {
        self.asked.notified()
    }

    /// Lets all attachments look whether there is something for them.
    pub(crate) fn ring(&self) {
        self.members().ring();
    }
}
