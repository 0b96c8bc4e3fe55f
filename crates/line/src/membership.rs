//! Changes that concern all sessions of a line: its project, its end, and whether it is in use.

use std::ops::Deref;

use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::TokenDigest;

use crate::desk::Desk;
use crate::line::Line;
use crate::line::Shared;
use crate::lock;
use crate::roster::Roster;
use crate::session::Session;

/// A line that somebody is about to attach to: it counts as used until this is dropped.
#[derive(Debug)]
pub struct Expected(Line);

impl Deref for Expected {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.0
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        lock(&self.0.0.sessions).expect(false);
    }
}

impl Line {
    /// Announces that somebody is about to attach.
    pub fn expect(&self) -> Expected {
        lock(&self.0.sessions).expect(true);
        Expected(self.clone())
    }

    /// Whether a session is attached, may come back, or is about to attach.
    pub fn is_used(&self) -> bool {
        lock(&self.0.sessions).is_used()
    }

    /// Whether the line's server belongs to a project for which this holds.
    pub fn is_of(&self, holds: impl FnOnce(&str) -> bool) -> bool {
        lock(&self.0.sessions).project().is_some_and(holds)
    }

    /// The line's server belongs to this project. When it was another's, that one's sessions end, and
    /// its grants are good no more.
    pub fn belongs_to(&self, project: &str) {
        let reason = "disconnected by serialproxy: the server belongs to another project now";
        let close = Close::new(CloseCode::Disconnected, reason);
        self.0.end_all(&close, |desk, sessions| {
            let moved = sessions.move_to(project);
            if moved {
                desk.expropriate();
            }
            moved
        });
    }

    /// Ends all sessions, and lets nobody attach or come back any more.
    pub(crate) fn close(&self, refusal: &Refusal) {
        self.0.end_all(&refusal.close(), |_, sessions| {
            sessions.close(refusal);
            true
        });
        self.0.closed.cancel();
    }

    /// Closes a line that nobody uses; false where somebody does.
    pub(crate) fn close_unused(&self, refusal: &Refusal) -> bool {
        let mut sessions = lock(&self.0.sessions);
        if sessions.is_used() {
            return false;
        }
        sessions.close(refusal);
        self.0.closed.cancel();
        true
    }
}

impl Shared {
    /// Bounds the sessions without a connection, one more of which is now one with this token.
    pub(crate) fn bound_detached(&self, token: TokenDigest) {
        let desk = lock(&self.desk);
        let holder = desk.pen().holder().map(|holder| holder.session);
        let mut sessions = lock(&self.sessions);
        if sessions.bound_detached(token, holder) {
            self.publish_viewers(&sessions);
        }
    }

    /// Ends all sessions for a change that says whether they are to end. Nobody joins or gets the pen in
    /// between.
    fn end_all(&self, close: &Close, change: impl FnOnce(&mut Desk, &mut Roster) -> bool) {
        let ended = {
            let mut desk = lock(&self.desk);
            let mut sessions = lock(&self.sessions);
            if !change(&mut desk, &mut sessions) {
                return;
            }
            sessions.iter().for_each(|session| session.set_end(close));
            let ended = sessions.to_vec();
            drop(sessions);
            self.publish_pen(&desk, None);
            ended
        };
        ended.iter().for_each(|session| self.end_session(session, close));
    }

    /// Logs what a session did, and to whose cost.
    pub(crate) fn log(
        &self,
        session: &Session,
        what: &str,
        loser: Option<&str>,
        reason: Option<&str>,
    ) {
        let address = lock(&session.presence).address.clone();
        tracing::info!(line = self.name(), server = %self.key.server, session = %session.id, user = session.user, address, loser,
            reason, "{what}");
    }
}
