//! The sessions of a line: attached, lost, or about to attach.

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
    /// Notified when a client asks for the line.
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

    /// A client wants the line to be connected now.
    pub(crate) fn ask(&self) {
        self.members().note_asked();
        self.asked.notify_one();
    }

    /// Waits until a client asks for the line.
    pub(crate) fn asked(&self) -> Notified<'_> {
        self.asked.notified()
    }

    /// Makes all attachments check for news.
    pub(crate) fn ring(&self) {
        self.members().ring();
    }
}
