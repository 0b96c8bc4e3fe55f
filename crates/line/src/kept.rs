//! Sessions that outlive the process: what is kept of them, and how they come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::kept::KeptSession;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ResumeKey;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::detached::give_up;
use crate::line::Line;
use crate::members::SESSIONS;
use crate::registry::Lines;
use crate::session::Session;
use crate::shared::Shared;

/// How long a client that resumes waits for its line, which the hypervisor has yet to name after a
/// restart. A proxy in front waits for 5 s.
const FOUND: Duration = Duration::from_secs(3);

/// Sessions of the process before, whose lines are not known yet.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    sessions: BTreeMap<LineKey, Vec<KeptSession>>,
    /// Until when their clients may resume.
    until: Option<Instant>,
}

impl Restored {
    /// Those of a line, which is known now, and until when their clients may resume.
    pub(crate) fn take(&mut self, line: LineKey) -> Option<(Vec<KeptSession>, Instant)> {
        let sessions = self.sessions.remove(&line)?;
        self.until.filter(|until| Instant::now() < *until).map(|until| (sessions, until))
    }

    fn waiting(&self) -> impl Iterator<Item = &KeptSession> {
        let waits = self.until.is_some_and(|until| Instant::now() < until);
        self.sessions.values().flatten().filter(move |_| waits)
    }
}

impl Lines {
    /// Takes in the sessions of the process before, as [`Self::kept`] gave them. Each is there again as
    /// soon as its line is added, lost for now, with its pen; its client has the grace time from now on
    /// to resume. To be called before lines are added.
    pub fn restore(&self, sessions: Vec<KeptSession>) {
        let mut restored = self.restored();
        restored.until = Some(Instant::now() + self.grace());
        for session in sessions {
            let of_line = restored.sessions.entry(session.line).or_default();
            if of_line.len() < SESSIONS {
                of_line.push(session);
            }
        }
    }

    /// What is to be kept of all sessions now. Once [`Self::drain`] was called, what was to be kept just
    /// before.
    pub fn kept(&self) -> Vec<KeptSession> {
        if let Some(kept) = self.kept_at_drain() {
            return kept.clone();
        }
        let mut kept: Vec<_> = self.restored().waiting().cloned().collect();
        kept.extend(self.all().iter().flat_map(Line::kept));
        kept
    }

    /// The line whose session has this key. After a restart it may take a moment until a line is known.
    ///
    /// # Errors
    ///
    /// When there is no such line, or its guest is not found again in time.
    pub async fn of_key(&self, key: &ResumeKey) -> Result<Line, Refusal> {
        let found = async {
            loop {
                let mut added = std::pin::pin!(self.added().notified());
                added.as_mut().enable();
                let waits = self.restored().waiting().any(|kept| kept.keys.contains(&key.digest()));
                // In this order: a line is added before its sessions are taken.
                if let Some(line) = self.get(key.line()) {
                    return Ok(line);
                }
                if !waits {
                    return Err(Refusal::Resume);
                }
                added.await;
            }
        };
        let missing = "the server of this session is not known yet: try again".to_owned();
        timeout(FOUND, found).await.unwrap_or(Err(Refusal::Unavailable(missing)))
    }
}

impl Line {
    pub(crate) fn kept(&self) -> Vec<KeptSession> {
        let desk = self.0.input.desk();
        let holder = desk.pen().holder().map(|holder| holder.session);
        let sessions = self.0.roster.all();
        drop(desk);
        sessions.iter().filter_map(|session| session.kept(self.0.key, holder)).collect()
    }

    /// Takes in the line's sessions of the process before.
    pub(crate) fn restore(&self, sessions: &[KeptSession], until: Instant) {
        let restored: Vec<_> = {
            let mut desk = self.0.input.desk();
            let mut members = self.0.roster.members();
            let now = Timestamp::now();
            let of_project = |kept: &&KeptSession| kept.project.as_deref() == members.project();
            let sessions = sessions.iter().filter(of_project).filter(|kept| !kept.is_over(now));
            let restored: Vec<_> = sessions
                .map(|kept| {
                    let session = Arc::new(Session::restored(kept, until));
                    if kept.writes {
                        // Only one of them held it.
                        let _ = desk.take_pen(session.holder(now));
                    }
                    session
                })
                .collect();
            restored.iter().for_each(|session| members.push(Arc::clone(session)));
            restored
        };
        for session in restored {
            tracing::info!(line = self.0.name(), server = %self.0.key.server, session = %session.id,
                user = session.user, "session of the process before");
            let giving_up = give_up(Arc::clone(&self.0), Arc::clone(&session), 0, None, until);
            session.presence().waiting = Some(self.0.runtime.spawn(giving_up).abort_handle());
        }
        self.0.publish_presence();
    }
}

impl Shared {
    /// Says that a session began, resumed or ended, or got or lost the pen.
    pub(crate) fn note_kept(&self) {
        self.kept_changed.notify_one();
    }
}
