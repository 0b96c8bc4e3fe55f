//! Changes that affect all sessions of a line: its project, its end, and whether it is in use.

use std::ops::Deref;

use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::TokenDigest;

use crate::desk::Desk;
use crate::line::Line;
use crate::members::Members;
use crate::shared::Shared;

/// A line to which a session is about to be attached. The line counts as used until this is
/// dropped.
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
        self.0.0.roster.members().expect(false);
    }
}

impl Line {
    /// Announces a session that is about to attach.
    pub fn expect(&self) -> Expected {
        self.0.roster.members().expect(true);
        Expected(self.clone())
    }

    /// Whether a session is attached, may come back, or is about to attach.
    pub fn is_used(&self) -> bool {
        self.0.roster.members().is_used()
    }

    /// Whether `holds` is true for the project of the line's server.
    pub fn is_of(&self, holds: impl FnOnce(&str) -> bool) -> bool {
        self.0.roster.members().project().is_some_and(holds)
    }

    /// Sets the project of the line's server. When it was another, that project's sessions end, and
    /// its grants are not valid any more.
    pub fn belongs_to(&self, project: &str) {
        let reason = "disconnected by serialproxy: the server belongs to another project now";
        let close = Close::new(CloseCode::Disconnected, reason);
        self.0.end_all(&close, |desk, members| {
            let moved = members.move_to(project);
            if moved {
                desk.expropriate();
            }
            moved
        });
    }

    /// Ends all sessions, and refuses new and resumed ones.
    pub(crate) fn close(&self, refusal: &Refusal) {
        self.0.end_all(&refusal.close(), |_, members| {
            members.close(refusal);
            true
        });
        self.0.news.set_closed();
    }

    /// Closes a line that is not in use; false where it is.
    pub(crate) fn close_unused(&self, refusal: &Refusal) -> bool {
        let mut members = self.0.roster.members();
        if members.is_used() {
            return false;
        }
        members.close(refusal);
        self.0.news.set_closed();
        true
    }
}

impl Shared {
    /// Limits the sessions without a connection that have this token, now that there is one more.
    pub(crate) fn bound_detached(&self, token: TokenDigest) {
        let desk = self.input.desk();
        let holder = desk.pen().holder().map(|holder| holder.session);
        let mut members = self.roster.members();
        if let Some(ended) = members.bound_detached(token, holder) {
            self.publish_viewers(&members);
            self.record_end(&ended);
        }
    }

    /// Ends all sessions if `change` returns true. No session joins or gets the pen in between.
    fn end_all(&self, close: &Close, change: impl FnOnce(&mut Desk, &mut Members) -> bool) {
        let ended = {
            let mut desk = self.input.desk();
            let mut members = self.roster.members();
            if !change(&mut desk, &mut members) {
                return;
            }
            members.iter().for_each(|session| session.set_end(close));
            let ended = members.to_vec();
            drop(members);
            self.publish_pen(&desk, None);
            ended
        };
        ended.iter().for_each(|session| self.end_session(session, close));
    }
}
