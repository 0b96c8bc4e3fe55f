//! Who is attached to a line, may come back, or is about to attach; and whether anybody may.

use std::sync::Arc;

use serialproxy_proto::id::SessionId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::members::Members;
use crate::ordered::Locked;
use crate::ordered::Ordered;
use crate::session::Session;

#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: Ordered<Members>,
    /// Somebody asks for the line.
    asked: Notify,
    /// Cancelled once nobody joins any more and all sessions are ended, so that attaches stop waiting.
    closed: CancellationToken,
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
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Lets all attachments look whether there is something for them.
    pub(crate) fn ring(&self) {
        self.members().ring();
    }

    /// Says that the line is closed, and its sessions are ended.
    pub(crate) fn set_closed(&self) {
        self.closed.cancel();
    }

    /// Waits until the line is closed.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}
