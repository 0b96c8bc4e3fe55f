//! The sessions of a line, and who may join them.

use std::ops::Deref;
use std::sync::Arc;

use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;

use crate::desk::Desk;
use crate::line::Line;
use crate::line::Shared;
use crate::lock;
use crate::session::Session;
use crate::visitor::Visitor;

/// Sessions of one line at most. The last place is for one who types, and the one before it for one who may
/// take the pen, so that neither is locked out by those who watch.
const SESSIONS: usize = 1000;

/// Sessions without a connection that those who have the same token may have on a line at most.
const DETACHED: usize = 32;

/// Whoever joins is judged under the same lock under which the line is closed or comes to another
/// project: who joined before is ended, who comes later is refused.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    sessions: Vec<Arc<Session>>,
    /// The project that the line's server belongs to; none where grants name none.
    project: Option<String>,
    /// Why nobody joins or comes back any more.
    closed: Option<Refusal>,
    /// How many are about to join.
    expected: usize,
}

impl Roster {
    /// Refuses who may not join.
    pub(crate) fn admit(&self, visitor: &Visitor) -> Result<(), Refusal> {
        self.refuse_when_closed()?;
        if self.project != visitor.project {
            return Err(Refusal::Token);
        }
        Ok(())
    }

    /// Makes room for one more. On a full line a session without a connection makes way, but for the one
    /// that holds the pen.
    pub(crate) fn make_room(
        &mut self,
        visitor: &Visitor,
        holder: Option<SessionId>,
    ) -> Result<(), Refusal> {
        let most = match visitor.mode {
            Mode::Write => SESSIONS,
            Mode::Watch if visitor.operator => SESSIONS - 1,
            Mode::Watch => SESSIONS - 2,
        };
        if self.sessions.len() < most || self.evict(holder, |_| true, 0) {
            return Ok(());
        }
        Err(Refusal::TooMany(format!("this console has {most} sessions, which is the maximum")))
    }

    /// Bounds the sessions without a connection of those who have this token.
    fn bound_detached(&mut self, token: TokenDigest, holder: Option<SessionId>) -> bool {
        self.evict(holder, |session| session.token == token, DETACHED)
    }

    /// Takes the oldest session without a connection out, of those that count and do not hold the pen,
    /// when there are more than `most`.
    fn evict(
        &mut self,
        holder: Option<SessionId>,
        counts: impl Fn(&Session) -> bool,
        most: usize,
    ) -> bool {
        let counts = |session: &&Arc<Session>| {
            holder != Some(session.id) && counts(session) && session.is_detached()
        };
        let all = self.sessions.iter().filter(counts);
        let (count, oldest) = (all.clone().count(), all.min_by_key(|session| session.alive()));
        let Some(oldest) = oldest.filter(|_| count > most).cloned() else { return false };
        oldest.set_end(&Close::new(CloseCode::SessionLimit, "another session needed its place"));
        lock(&oldest.presence).leave();
        tracing::info!(session = %oldest.id, user = oldest.user, "a lost session was ended to \
                 make room");
        self.take_out(oldest.id)
    }

    pub(crate) fn refuse_when_closed(&self) -> Result<(), Refusal> {
        self.closed.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn push(&mut self, session: Arc<Session>) {
        self.sessions.push(session);
    }

    /// Takes a session out; false when it is not there.
    pub(crate) fn take_out(&mut self, id: SessionId) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|session| session.id != id);
        self.sessions.len() < before
    }

    fn is_used(&self) -> bool {
        self.expected > 0 || !self.sessions.is_empty()
    }
}

impl Deref for Roster {
    type Target = [Arc<Session>];

    fn deref(&self) -> &Self::Target {
        &self.sessions
    }
}

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
        lock(&self.0.0.sessions).expected -= 1;
    }
}

impl Line {
    /// Announces that somebody is about to attach.
    pub fn expect(&self) -> Expected {
        lock(&self.0.sessions).expected += 1;
        Expected(self.clone())
    }

    /// Whether a session is attached, may come back, or is about to attach.
    pub fn is_used(&self) -> bool {
        lock(&self.0.sessions).is_used()
    }

    /// Whether the line's server belongs to a project for which this holds.
    pub fn is_of(&self, holds: impl FnOnce(&str) -> bool) -> bool {
        lock(&self.0.sessions).project.as_deref().is_some_and(holds)
    }

    /// The line's server belongs to this project. When it was another's, that one's sessions end, and
    /// its grants are good no more.
    pub fn belongs_to(&self, project: &str) {
        let reason = "disconnected by serialproxy: the server belongs to another project now";
        let close = Close::new(CloseCode::Disconnected, reason);
        self.0.end_all(&close, |desk, sessions| {
            if sessions.project.as_deref() == Some(project) {
                return false;
            }
            sessions.project = Some(project.to_owned());
            desk.expropriate();
            true
        });
    }

    /// Ends all sessions, and lets nobody attach or come back any more.
    pub(crate) fn close(&self, refusal: &Refusal) {
        self.0.end_all(&refusal.close(), |_, sessions| {
            sessions.closed.get_or_insert_with(|| refusal.clone());
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
        sessions.closed.get_or_insert_with(|| refusal.clone());
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
}
