//! Sessions that outlive the process: their stored form, and how they are restored.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::kept::KeptSession;
use serialproxy_proto::token::ResumeKey;
use tokio::time::Instant;

use crate::detached::give_up;
use crate::line::Line;
use crate::members::SESSIONS;
use crate::session::Session;
use crate::shared::Shared;

/// Sessions of the earlier process whose lines are not known yet.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    sessions: BTreeMap<LineKey, Vec<KeptSession>>,
    /// Until when their clients may resume.
    until: Option<Instant>,
}

impl Restored {
    /// Sessions whose clients may resume until then.
    pub(crate) fn new(all: Vec<KeptSession>, until: Instant) -> Self {
        let mut sessions: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for session in all {
            let of_line = sessions.entry(session.line).or_default();
            if of_line.len() < SESSIONS {
                of_line.push(session);
            }
        }
        Self { sessions, until: Some(until) }
    }

    /// The sessions of a line that is known now, and until when their clients may resume.
    pub(crate) fn take(&mut self, line: LineKey) -> Option<(Vec<KeptSession>, Instant)> {
        let sessions = self.sessions.remove(&line)?;
        self.until.filter(|until| Instant::now() < *until).map(|until| (sessions, until))
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = &KeptSession> {
        let waits = self.until.is_some_and(|until| Instant::now() < until);
        self.sessions.values().flatten().filter(move |_| waits)
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

    /// Whether a session of the earlier process has this key, and its client has not resumed yet.
    pub(crate) fn awaits(&self, key: &ResumeKey) -> bool {
        let digest = key.digest();
        self.0.roster.all().iter().any(|session| {
            let presence = session.presence();
            presence.restored && presence.keys.open(digest)
        })
    }

    /// Adds the line's sessions of the earlier process.
    pub(crate) fn restore(&self, sessions: &[KeptSession], until: Instant) {
        let restored: Vec<_> = {
            let mut desk = self.0.input.desk();
            let mut members = self.0.roster.members();
            let now = Timestamp::now();
            let of_project = |kept: &&KeptSession| {
                kept.project.is_none() || kept.project.as_deref() == members.project()
            };
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
    /// Reports that a session began, resumed or ended, or that the pen changed hands.
    pub(crate) fn note_kept(&self) {
        self.kept_changed.notify_one();
    }
}
