//! What a line's owner task and its sessions share.
//!
//! It has a part for each concern, and each part keeps its locks and its wake-ups to itself. Here is
//! what concerns more than one of them. `ordered` says in which order locks are taken.

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
    /// Where the owner and the sessions run.
    pub(crate) runtime: Handle,
    pub(crate) guest: Guest,
    pub(crate) output: Output,
    pub(crate) input: Input,
    pub(crate) roster: Roster,
    pub(crate) news: News,
    /// Cancelled when the owner is to let go of the port.
    pub(crate) stop: CancellationToken,
    /// What is to be kept of the sessions is another.
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

    /// As people call it: `demo:0`.
    pub(crate) fn name(&self) -> String {
        self.key.named(&self.guest.name())
    }

    pub(crate) fn server(&self) -> ServerRef {
        ServerRef { id: self.key.server, name: self.guest.name() }
    }

    /// What the user of a session may do here, beside watching.
    pub(crate) fn allows(&self, session: &Session) -> Vec<Action> {
        let server = self.server();
        session.can(!server.id.is_static(&server.name))
    }

    /// Ends a session. One whose connection is there learns it from its attachment, which then
    /// takes it out; one whose connection is gone is taken out here.
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

    /// Takes a session out that is over: its pen is free, or of who asked for it. One that found
    /// no room among the others may hold the pen too.
    pub(crate) fn remove(&self, session: &Session) {
        session.presence().leave();
        let was_there = {
            let mut members = self.roster.members();
            let was_there = members.take_out(session.id);
            if was_there {
                self.publish_viewers(&members);
            }
            was_there
        };
        {
            let mut desk = self.input.desk();
            desk.withdraw_request(session.id);
            desk.release_pen(session.id, Timestamp::now());
            self.publish_pen(&desk, None);
        }
        if !was_there {
            return;
        }
        // The owner may wait for this session to catch up.
        self.output.note_left();
        let close = session.progress().end.clone();
        tracing::info!(line = self.name(), server = %self.key.server, session = %session.id, user = session.user,
            code = close.as_ref().map(|close| close.code.number()),
            reason = close.map(|close| close.reason), "session ended");
    }

    /// Tells everyone how the pen stands. Called under the desk's lock, so that what is told comes
    /// in the order in which it happened.
    pub(crate) fn publish_pen(&self, desk: &Desk, change: Option<Change>) {
        let holder = desk.pen().holder().and_then(|holder| self.roster.get(holder.session));
        let (size, free_at) = holder.map_or((None, None), |session| {
            let presence = session.presence();
            (presence.size, presence.absence.map(|absence| absence.pen_until))
        });
        self.news.set_pen(desk.pen(), change, size, free_at);
        self.input.tell_of_room();
        self.roster.ring();
        self.note_kept();
    }

    /// Tells everyone who is attached. Called under the roster's lock, as [`Self::publish_pen`].
    pub(crate) fn publish_viewers(&self, members: &Members) {
        let first = members.iter().take(VIEWERS).map(|session| session.viewer());
        self.news.set_viewers(members.len(), first);
        members.ring();
        self.note_kept();
    }

    /// Tells everyone whose connection is lost, and whose is back.
    pub(crate) fn publish_presence(&self) {
        let desk = self.input.desk();
        self.publish_pen(&desk, None);
        self.publish_viewers(&self.roster.members());
    }

    /// Tells everyone how the connection stands; raw sessions end where it is not there.
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
                    // What the port said last comes first.
                    session.set_end_behind(&close, end);
                }
            }
        }
    }

    /// Whether the session's client is lost.
    pub(crate) fn is_absent(&self, session: SessionId) -> bool {
        self.roster.get(session).is_some_and(|session| session.absence().is_some())
    }

    /// Logs what a session did, and to whose cost.
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
