//! The sessions of a line, and who may join them: what the lock of its roster guards.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use tokio::time::Instant;

use crate::ordered::Place;
use crate::ordered::Placed;
use crate::session::Session;
use crate::visitor::Visitor;

/// Sessions of one line at most. The last place is for one who types, and the one before it for one who may
/// take the pen, so that neither is locked out by those who watch.
pub(crate) const SESSIONS: usize = 1000;

/// Sessions without a connection that those who have the same token may have on a line at most.
const DETACHED: usize = 32;

/// How long somebody who asks for a line counts as waiting for it.
const ASKED: Duration = Duration::from_secs(5);

/// Whoever joins is judged under the same lock under which the line is closed or comes to another
/// project: who joined before is ended, who comes later is refused.
#[derive(Debug, Default)]
pub(crate) struct Members {
    sessions: Vec<Arc<Session>>,
    /// The project that the line's server belongs to; none where grants name none.
    project: Option<String>,
    /// Why nobody joins or comes back any more.
    closed: Option<Box<Refusal>>,
    /// How many are about to join.
    expected: usize,
    /// When somebody last asked for the line, whose port another client may hold.
    asked_at: Option<Instant>,
}

impl Members {
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
    pub(crate) fn bound_detached(&mut self, token: TokenDigest, holder: Option<SessionId>) -> bool {
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
        oldest.presence().leave();
        tracing::info!(session = %oldest.id, user = oldest.user, "a lost session was ended to \
                 make room");
        self.take_out(oldest.id)
    }

    pub(crate) fn refuse_when_closed(&self) -> Result<(), Refusal> {
        self.closed.as_deref().cloned().map_or(Ok(()), Err)
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

    /// Lets their attachments look whether there is something for them.
    pub(crate) fn ring(&self) {
        self.sessions.iter().for_each(|session| session.ring());
    }

    /// Counts one more who is about to join, or one less.
    pub(crate) fn expect(&mut self, joins: bool) {
        self.expected = if joins { self.expected + 1 } else { self.expected.saturating_sub(1) };
    }

    /// The line's server belongs to this project now; returns whether it was another's.
    pub(crate) fn move_to(&mut self, project: &str) -> bool {
        let moved = self.project.as_deref() != Some(project);
        if moved {
            self.project = Some(project.to_owned());
        }
        moved
    }

    /// The project that the line's server belongs to.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Lets nobody join or come back any more; the first reason counts.
    pub(crate) fn close(&mut self, refusal: &Refusal) {
        self.closed.get_or_insert_with(|| Box::new(refusal.clone()));
    }

    pub(crate) fn is_used(&self) -> bool {
        self.expected > 0 || !self.sessions.is_empty()
    }

    /// Somebody asks for the line now.
    pub(crate) fn note_asked(&mut self) {
        self.asked_at = Some(Instant::now());
    }

    /// Whether somebody uses the line, or asked for it a moment ago. A session of the process before does
    /// not count until its client resumes.
    pub(crate) fn is_wanted(&self) -> bool {
        let asked = self.asked_at.is_some_and(|at| at.elapsed() < ASKED);
        asked || self.sessions.iter().any(|session| !session.presence().restored)
    }
}

impl Placed for Members {
    const PLACE: Place = Place::Members;
}

impl Deref for Members {
    type Target = [Arc<Session>];

    fn deref(&self) -> &Self::Target {
        &self.sessions
    }
}
