//! The state that a line's owner task and its sessions share.
//!
//! It has a part for each concern, with its own locks and notifications. This module has the
//! operations that involve several parts. `ordered` defines the order in which locks are taken.

use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::console::VIEWERS;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::SessionId;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::desk::Desk;
use crate::guest::Guest;
use crate::history::Limits;
use crate::input::Input;
use crate::members::Members;
use crate::news::News;
use crate::output::Output;
use crate::painter::Painters;
use crate::roster::Roster;
use crate::session::Session;
use crate::settings::Settings;
use crate::status::Change;
use crate::status::Connection;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) key: LineKey,
    pub(crate) id: Uuid,
    pub(crate) settings: Arc<Settings>,
    /// The runtime of the owner and the sessions.
    pub(crate) runtime: Handle,
    pub(crate) guest: Guest,
    pub(crate) output: Output,
    pub(crate) input: Input,
    pub(crate) roster: Roster,
    pub(crate) news: News,
    /// Canceled when the owner must close the port.
    pub(crate) stop: CancellationToken,
    /// Notified when the stored form of the sessions may have changed.
    pub(crate) kept_changed: Arc<Notify>,
}

impl Shared {
    pub(crate) fn new(
        server: &ServerRef,
        port: u8,
        settings: &Arc<Settings>,
        runtime: Handle,
        painters: Painters,
        kept_changed: Arc<Notify>,
    ) -> Self {
        let limits = Limits { head: settings.history_head, tail: settings.history_tail };
        Self {
            key: LineKey { server: server.id, port },
            id: Uuid::new_v4(),
            news: News::new(settings.pen_request_timeout),
            settings: Arc::clone(settings),
            runtime,
            guest: Guest::new(server.name.clone()),
            output: Output::new(limits, painters),
            input: Input::default(),
            roster: Roster::default(),
            stop: CancellationToken::new(),
            kept_changed,
        }
    }

    /// The line's name for people: `demo:0`.
    pub(crate) fn name(&self) -> String {
        self.key.named(&self.guest.name())
    }

    pub(crate) fn server(&self) -> ServerRef {
        ServerRef { id: self.key.server, name: self.guest.name() }
    }

    /// The actions that the user of a session may take here besides watching.
    pub(crate) fn allows(&self, session: &Session) -> Vec<Action> {
        let server = self.server();
        session.can(!server.id.is_static(&server.name))
    }

    /// Ends a session. If it has a connection, its attachment notices and then removes it;
    /// otherwise it is removed here.
    pub(crate) fn end_session(&self, session: &Session, close: &Close) {
        let detached = {
            let presence = session.presence();
            session.set_end(close);
            presence.detached
        };
        if detached {
            self.remove(session);
        }
    }

    /// Removes a session that has ended. Its pen becomes free, or goes to the session that asked
    /// for it. This also applies to a session that found no room on the line but holds the pen.
    pub(crate) fn remove(&self, session: &Session) {
        session.presence().leave();
        let was_there = {
            // Whoever has this lock finds in the roster who has the pen, and who asks for it.
            let mut desk = self.input.desk();
            desk.withdraw_request(session.id);
            desk.release_pen(session.id, Timestamp::now());
            self.publish_pen(&desk, None);
            let mut members = self.roster.members();
            let was_there = members.take_out(session.id);
            if was_there {
                self.publish_viewers(&members);
            }
            was_there
        };
        if !was_there {
            return;
        }
        // The owner may be waiting for this session to read.
        self.output.note_left();
        self.record_end(session);
        let close = session.progress().end.clone();
        tracing::info!(line = self.name(), server = %self.key.server, session = %session.id, user = session.user,
            code = close.as_ref().map(|close| close.code.number()),
            reason = close.map(|close| close.reason), "session ended");
    }

    /// Publishes the state of the pen. Called under the desk's lock, so that changes are published
    /// in their order.
    pub(crate) fn publish_pen(&self, desk: &Desk, change: Option<Change>) {
        let holder = desk.pen().holder().and_then(|holder| self.roster.get(holder.session));
        let (size, absence) = holder.map_or((None, None), |session| {
            let presence = session.presence();
            (presence.size, presence.absence)
        });
        let before = self.news.now().holder.clone();
        let why = change.as_ref().map(|change| change.cause);
        self.news.set_pen(desk.pen(), change, size, absence);
        self.record_pen(before.as_ref(), desk.pen().holder(), why);
        self.input.tell_of_room();
        self.roster.ring();
        self.note_kept();
    }

    /// Publishes the attached sessions. Called under the roster's lock, for the same reason as
    /// [`Self::publish_pen`].
    pub(crate) fn publish_viewers(&self, members: &Members) {
        let first = members.iter().take(VIEWERS).map(|session| session.viewer());
        self.news.set_viewers(members.len(), first);
        members.ring();
        self.note_kept();
    }

    /// Publishes which sessions' clients are lost or back.
    pub(crate) fn publish_presence(&self) {
        let desk = self.input.desk();
        self.publish_pen(&desk, None);
        self.publish_viewers(&self.roster.members());
    }

    /// Publishes the state of the connection; raw sessions end where it is not connected.
    pub(crate) fn publish_connection(&self, connection: &Connection) {
        if !connection.is_connected() {
            self.input.close();
        }
        let changed = self.news.set_connection(connection);
        self.roster.ring();
        if !changed {
            return;
        }
        let (state, reason, _) = self.news.now().in_words();
        let (line, server) = (self.name(), self.key.server);
        match state {
            LineState::Failed => tracing::warn!(line, %server, ?state, reason, "line"),
            _ => tracing::info!(line, %server, ?state, reason, "line"),
        }
        if let Some(close) = connection.end_of_raw() {
            let end = self.output.end();
            for session in self.roster.members().iter() {
                if session.protocol == Protocol::Raw {
                    // After the port's last output.
                    session.set_end_behind(&close, end);
                }
            }
        }
    }

    /// Whether the session's client is lost.
    pub(crate) fn is_absent(&self, session: SessionId) -> bool {
        self.roster.get(session).is_some_and(|session| session.absence().is_some())
    }

    /// Logs what a session did, and which user it affected.
    pub(crate) fn log(
        &self,
        session: &Session,
        what: &str,
        loser: Option<&str>,
        reason: Option<&str>,
    ) {
        let address = session.presence().address.clone();
        tracing::info!(line = self.name(), server = %self.key.server, session = %session.id, user = session.user, address, loser,
            reason, "{what}");
    }
}
