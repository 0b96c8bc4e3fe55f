//! The sessions of a line, and who may join them. The lock of the line's roster guards this.

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

/// Most sessions of one line. The last place is for a session that types, and the one before it for
/// one that may take the pen, so that watchers cannot lock either out.
pub(crate) const SESSIONS: usize = 1000;

/// Most sessions of a line without a connection that have the same token.
const DETACHED: usize = 32;

/// How long a request for a line counts as waiting for it.
const ASKED: Duration = Duration::from_secs(5);

/// Joining, closing and the change of the project happen under one lock: a session that joined
/// before such a change is ended, one that comes later is refused.
#[derive(Debug, Default)]
pub(crate) struct Members {
    sessions: Vec<Arc<Session>>,
    /// The project that the line's server belongs to; none where grants name none.
    project: Option<String>,
    /// The reason why sessions may neither join nor resume any more.
    closed: Option<Box<Refusal>>,
    /// How many sessions are about to join.
    expected: usize,
    /// When a client last asked for the line, whose port another program may hold.
    asked_at: Option<Instant>,
}

impl Members {
    /// Refuses visitors that may not join.
    pub(crate) fn admit(&self, visitor: &Visitor) -> Result<(), Refusal> {
        self.refuse_when_closed()?;
        match visitor.project.is_some() && self.project != visitor.project {
            true => Err(Refusal::Token),
            false => Ok(()),
        }
    }

    /// Makes room for one more session, with this mode and these rights of its user. On a full line, a session without a connection is ended,
    /// unless it holds the pen, and returned.
    pub(crate) fn make_room(
        &mut self,
        mode: Mode,
        operator: bool,
        holder: Option<SessionId>,
    ) -> Result<Option<Arc<Session>>, Refusal> {
        let most = match mode {
            Mode::Write => SESSIONS,
            Mode::Watch if operator => SESSIONS - 1,
            Mode::Watch => SESSIONS - 2,
        };
        if self.sessions.len() < most {
            return Ok(None);
        }
        if let Some(evicted) = self.evict(holder, |_| true, 0) {
            return Ok(Some(evicted));
        }
        Err(Refusal::TooMany(format!("this console has {most} sessions, which is the maximum")))
    }

    /// Limits the sessions without a connection that have this token; returns one that was ended.
    pub(crate) fn bound_detached(
        &mut self,
        token: TokenDigest,
        holder: Option<SessionId>,
    ) -> Option<Arc<Session>> {
        self.evict(holder, |session| session.token == token, DETACHED)
    }

    /// Removes the oldest session without a connection that counts and does not hold the pen, when
    /// there are more than `most`.
    fn evict(
        &mut self,
        holder: Option<SessionId>,
        counts: impl Fn(&Session) -> bool,
        most: usize,
    ) -> Option<Arc<Session>> {
        let counts = |session: &&Arc<Session>| {
            holder != Some(session.id) && counts(session) && session.is_detached()
        };
        let all = self.sessions.iter().filter(counts);
        let (count, oldest) = (all.clone().count(), all.min_by_key(|session| session.alive()));
        let oldest = oldest.filter(|_| count > most).cloned()?;
        oldest.set_end(&Close::new(CloseCode::SessionLimit, "another session needed its place"));
        oldest.presence().leave();
        tracing::info!(session = %oldest.id, user = oldest.user, "a lost session was ended to \
                 make room");
        self.take_out(oldest.id).then_some(oldest)
    }

    pub(crate) fn refuse_when_closed(&self) -> Result<(), Refusal> {
        self.closed.as_deref().cloned().map_or(Ok(()), Err)
    }

    pub(crate) fn push(&mut self, session: Arc<Session>) {
        self.sessions.push(session);
    }

    /// Removes a session; false when it is not there.
    pub(crate) fn take_out(&mut self, id: SessionId) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|session| session.id != id);
        self.sessions.len() < before
    }

    /// Makes their attachments check for news.
    pub(crate) fn ring(&self) {
        self.sessions.iter().for_each(|session| session.ring());
    }

    /// Counts one more session that is about to join, or one fewer.
    pub(crate) fn expect(&mut self, joins: bool) {
        self.expected = if joins { self.expected + 1 } else { self.expected.saturating_sub(1) };
    }

    /// Sets the project that the line's server belongs to; returns whether it was another.
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

    /// Refuses all sessions from now on, also those that would resume; the first reason counts.
    pub(crate) fn close(&mut self, refusal: &Refusal) {
        self.closed.get_or_insert_with(|| Box::new(refusal.clone()));
    }

    pub(crate) fn is_used(&self) -> bool {
        self.expected > 0 || !self.sessions.is_empty()
    }

    /// Records that a client asks for the line now.
    pub(crate) fn note_asked(&mut self) {
        self.asked_at = Some(Instant::now());
    }

    /// Whether the line is in use, or was asked for a moment ago. A session of the earlier process
    /// does not count until its client resumes.
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
