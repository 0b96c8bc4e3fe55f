//! A line as everyone but its owner task sees it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::api;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::compute::Output;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::console::VIEWERS;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::terminal::TerminalSettings;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::desk::Desk;
use crate::endpoint::Endpoint;
use crate::history::History;
use crate::history::Limits;
use crate::lock;
use crate::painter::Painters;
use crate::painter::Paintings;
use crate::roster::Roster;
use crate::seconds_until;
use crate::session::Session;
use crate::settings::Settings;
use crate::status::Change;
use crate::status::Connection;
use crate::status::Power;
use crate::status::Status;

/// How long somebody who asks for a line counts as waiting for it.
const ASKED: Duration = Duration::from_secs(5);

/// One serial port of one server. Cheap to clone; all clones are the same line.
#[derive(Clone, Debug)]
pub struct Line(pub(crate) Arc<Shared>);

/// What the owner task and the sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) key: LineKey,
    pub(crate) id: Uuid,
    pub(crate) name: Mutex<String>,
    pub(crate) settings: Settings,
    pub(crate) runtime: Handle,
    pub(crate) history: Mutex<History>,
    pub(crate) screen: Arc<Paintings>,
    pub(crate) painters: Painters,
    pub(crate) sessions: Mutex<Roster>,
    pub(crate) desk: Mutex<Desk>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) power: Mutex<Power>,
    /// Where the guest connects to when it starts, if it does.
    pub(crate) awaited: Mutex<Option<Endpoint>>,
    /// What it wants of terminals.
    pub(crate) terminal: Mutex<TerminalSettings>,
    /// The hypervisor said something of the guest: the owner looks at `power` again.
    pub(crate) powered: Notify,
    /// The port is elsewhere now: the owner leaves the one that it is connected to.
    pub(crate) moved: Notify,
    /// When somebody last asked for the line, whose port another client may hold.
    pub(crate) asked_at: Mutex<Option<Instant>>,
    pub(crate) asked: Notify,
    /// A session moved on while the owner waited for it.
    pub(crate) progress: Notify,
    pub(crate) owner_waits: AtomicBool,
    /// Input came: the owner looks at the desk again.
    pub(crate) typed: Notify,
    /// Input was written or dropped: a session that waits for room looks again.
    pub(crate) room: Notify,
    /// Cancelled when the line is closed, so that attaches stop waiting for it.
    pub(crate) closed: CancellationToken,
    pub(crate) stop: CancellationToken,
}

impl Line {
    pub(crate) fn new(
        server: &ServerRef,
        port: u8,
        settings: Settings,
        runtime: Handle,
        painters: Painters,
    ) -> Self {
        let limits = Limits { head: settings.history_head, tail: settings.history_tail };
        let power = Power { running: false, status: api::Status::Shutoff, whole: true };
        Self(Arc::new(Shared {
            key: LineKey { server: server.id, port },
            id: Uuid::new_v4(),
            name: Mutex::new(server.name.clone()),
            history: Mutex::new(History::new(limits)),
            screen: Arc::default(),
            painters,
            sessions: Mutex::default(),
            desk: Mutex::default(),
            status: watch::Sender::new(Status::new(settings.pen_request_timeout)),
            settings,
            runtime,
            power: Mutex::new(power),
            awaited: Mutex::default(),
            terminal: Mutex::default(),
            powered: Notify::new(),
            moved: Notify::new(),
            asked_at: Mutex::default(),
            asked: Notify::new(),
            progress: Notify::new(),
            owner_waits: AtomicBool::new(false),
            typed: Notify::new(),
            room: Notify::new(),
            closed: CancellationToken::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Which line this is.
    pub fn key(&self) -> LineKey {
        self.0.key
    }

    /// The server has another name now.
    pub fn rename(&self, name: &str) {
        name.clone_into(&mut lock(&self.0.name));
    }

    /// Waits until the line is connected to its guest; false when it is not within that time, or the
    /// line is closed meanwhile. Another client that holds its port is made to hang up.
    pub async fn connected(&self, within: Duration) -> bool {
        self.0.ask();
        let mut status = self.0.status.subscribe();
        let connected = status.wait_for(|status| status.connection.is_connected());
        tokio::select! {
            biased;
            () = self.0.closed.cancelled() => false,
            () = tokio::time::sleep(within) => false,
            connected = connected => connected.is_ok(),
        }
    }

    /// Waits until nobody holds the pen, at most so long.
    pub async fn pen_free(&self, within: Duration) {
        let mut status = self.0.status.subscribe();
        let free = status.wait_for(|status| status.holder.is_none());
        let _ = tokio::time::timeout(within, free).await;
    }

    /// Whether the guest's port is being dialled right now, so that waiting a moment is worth it.
    pub fn is_connecting(&self) -> bool {
        lock(&self.0.power).running && self.0.status.borrow().connection.is_settling()
    }

    /// The line as `/v1/lines` shows it.
    pub fn describe(&self) -> api::Line {
        let status = self.0.status.borrow().clone();
        let (state, reason, cause) = status.in_words();
        let (offset, first_offset) = {
            let history = lock(&self.0.history);
            (history.end(), history.first())
        };
        let bytes_in = lock(&self.0.desk).written();
        let free_in = status.free_at.map(seconds_until);
        let watchers = status.viewers.saturating_sub(u64::from(status.holder.is_some()));
        api::Line {
            server: self.0.server(),
            port: self.0.key.port,
            state,
            reason,
            cause,
            endpoint: status.endpoint,
            line: self.0.id,
            epoch: status.epoch,
            offset,
            first_offset,
            bytes_in,
            bytes_out: offset,
            writer: status.holder.as_ref().map(|holder| writer(holder, free_in)),
            watchers,
        }
    }

    /// Output from `from` on, or else from the next byte that is kept, in one piece of at most `max`
    /// bytes; empty where all was seen.
    pub fn output(&self, from: u64, max: usize) -> Output {
        let epoch = self.0.status.borrow().epoch;
        let history = lock(&self.0.history);
        let (offset, bytes) = history.copy(from, max);
        Output { offset, bytes, end: history.end(), epoch, line: self.0.id }
    }

    /// Whether a session that is attached here has this key.
    pub fn knows(&self, key: &ResumeKey) -> bool {
        let digest = key.digest();
        self.0
            .all_sessions()
            .iter()
            .any(|session| !session.is_over() && lock(&session.presence).keys.open(digest))
    }

    /// Puts bytes before everything that waits to be written, whoever holds the pen; false where
    /// no guest is connected.
    pub fn press(&self, bytes: &[u8]) -> bool {
        let pressed = lock(&self.0.desk).press(bytes);
        self.0.typed.notify_one();
        pressed
    }

    /// Ends the session that writes, if there is one.
    pub fn disconnect_writer(&self, by: &Disconnect) -> Option<api::Writer> {
        let holder = lock(&self.0.desk).pen().holder().cloned()?;
        self.disconnect(holder.session, by).then(|| writer(&holder, None))
    }

    /// Ends a session; false when it is not attached here. Its pen is free when this returns.
    pub fn disconnect(&self, session: SessionId, by: &Disconnect) -> bool {
        let Some(entry) = self.0.session(session) else {
            return false;
        };
        let reason = match &by.reason {
            Some(reason) => format!("disconnected by {}: {reason}", by.by),
            None => format!("disconnected by {}", by.by),
        };
        tracing::info!(line = self.0.name(), server = %self.key().server, %session, user = entry.user, by = by.by,
            reason = by.reason, "session disconnected");
        let close = Close::new(CloseCode::Disconnected, reason);
        {
            let mut desk = lock(&self.0.desk);
            // Under the desk's lock, so that it cannot take the pen again.
            entry.set_end(&close);
            desk.withdraw_request(session);
            desk.revoke_pen(session, Timestamp::now());
            self.0.publish_pen(&desk, None);
        }
        self.0.end_session(&entry, &close);
        true
    }

    /// The sessions, as `/v1/sessions` shows them.
    pub fn sessions(&self) -> Vec<api::Session> {
        let holder = lock(&self.0.desk).pen().holder().map(|holder| holder.session);
        let server = self.0.server();
        let all = self.0.all_sessions();
        let describe = |session: &Arc<Session>| {
            let (address, absence) = {
                let presence = lock(&session.presence);
                (presence.address.clone(), presence.absence)
            };
            api::Session {
                id: session.id,
                server: server.clone(),
                port: self.0.key.port,
                user: session.user.clone(),
                mode: if holder == Some(session.id) { Mode::Write } else { Mode::Watch },
                since: session.since,
                address,
                protocol: session.protocol,
                state: match absence {
                    Some(_) => api::SessionState::Detached,
                    None => api::SessionState::Live,
                },
                ends_in: absence.map(|absence| seconds_until(absence.until)),
            }
        };
        all.iter().map(describe).collect()
    }
}

impl Shared {
    /// Says that somebody wants the line connected now.
    pub(crate) fn ask(&self) {
        *lock(&self.asked_at) = Some(Instant::now());
        self.asked.notify_one();
    }

    /// Whether somebody uses the line, or asked for it a moment ago.
    pub(crate) fn is_wanted(&self) -> bool {
        let asked = lock(&self.asked_at).is_some_and(|at| at.elapsed() < ASKED);
        asked || !lock(&self.sessions).is_empty()
    }

    /// As people call it: `demo:0`.
    pub(crate) fn name(&self) -> String {
        self.key.named(&lock(&self.name))
    }

    pub(crate) fn server(&self) -> ServerRef {
        ServerRef { id: self.key.server, name: lock(&self.name).clone() }
    }

    /// What the user of a session may do here, beside watching.
    pub(crate) fn allows(&self, session: &Session) -> Vec<Action> {
        let server = self.server();
        session.can(!server.id.is_static(&server.name))
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        lock(&self.sessions).iter().find(|session| session.id == id).cloned()
    }

    pub(crate) fn all_sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.sessions).to_vec()
    }

    /// Ends a session. One whose connection is there learns it from its attachment, which then
    /// takes it out; one whose connection is gone is taken out here.
    pub(crate) fn end_session(&self, session: &Session, close: &Close) {
        let detached = {
            let presence = lock(&session.presence);
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
        lock(&session.presence).leave();
        let was_there = {
            let mut sessions = lock(&self.sessions);
            let was_there = sessions.take_out(session.id);
            if was_there {
                self.publish_viewers(&sessions);
            }
            was_there
        };
        {
            let mut desk = lock(&self.desk);
            desk.withdraw_request(session.id);
            desk.release_pen(session.id, Timestamp::now());
            self.publish_pen(&desk, None);
        }
        if !was_there {
            return;
        }
        // The owner may wait for this session to catch up.
        self.progress.notify_one();
        let close = lock(&session.ending).end.clone();
        tracing::info!(line = self.name(), server = %self.key.server, session = %session.id, user = session.user,
            code = close.as_ref().map(|close| close.code.number()),
            reason = close.map(|close| close.reason), "session ended");
    }

    /// Tells everyone how the pen stands. Called under the desk's lock, so that what is told comes
    /// in the order in which it happened.
    pub(crate) fn publish_pen(&self, desk: &Desk, change: Option<Change>) {
        let holder = desk.pen().holder().cloned();
        let request = desk.pen().request().cloned();
        let session = holder.as_ref().and_then(|holder| self.session(holder.session));
        let (size, free_at) = session.map_or((None, None), |session| {
            let presence = lock(&session.presence);
            (presence.size, presence.absence.map(|absence| absence.pen_until))
        });
        self.status.send_if_modified(|status| {
            let changed = status.holder != holder || status.request != request;
            let resized = size.is_some() && status.size != size;
            let lost_or_back = status.free_at != free_at;
            if changed {
                status.holder = holder;
                status.request = request;
                status.change = change;
            }
            if resized {
                status.size = size;
            }
            status.free_at = free_at;
            changed || resized || lost_or_back
        });
        self.room.notify_waiters();
        self.ring();
    }

    /// Tells everyone who is attached. Called under the sessions' lock, as [`Self::publish_pen`].
    pub(crate) fn publish_viewers(&self, sessions: &[Arc<Session>]) {
        let who = sessions.iter().take(VIEWERS).map(|session| session.viewer()).collect();
        self.status.send_modify(|status| {
            status.viewers = sessions.len() as u64;
            status.who = who;
        });
        ring(sessions);
    }

    /// Tells everyone how the connection stands; raw sessions end where it is not there.
    pub(crate) fn publish_connection(&self, connection: &Connection) {
        if !connection.is_connected() {
            lock(&self.desk).close();
            self.room.notify_waiters();
        }
        let changed = self.status.send_if_modified(|status| {
            let changed = status.connection != *connection;
            status.connection = connection.clone();
            changed
        });
        self.ring();
        if !changed {
            return;
        }
        let (state, reason, _) = self.status.borrow().in_words();
        let (line, server) = (self.name(), self.key.server);
        match state {
            LineState::Failed => tracing::warn!(line, %server, ?state, reason, "line"),
            _ => tracing::info!(line, %server, ?state, reason, "line"),
        }
        if let Some(close) = connection.end_of_raw() {
            let end = lock(&self.history).end();
            for session in lock(&self.sessions).iter() {
                if session.protocol == api::Protocol::Raw {
                    // What the port said last comes first.
                    session.set_end_behind(&close, end);
                }
            }
        }
    }

    /// Lets all attachments look whether there is something for them.
    pub(crate) fn ring(&self) {
        ring(&lock(&self.sessions));
    }
}

/// Lets their attachments look whether there is something for them.
pub(crate) fn ring(sessions: &[Arc<Session>]) {
    for session in sessions {
        session.bell.notify_one();
    }
}

fn writer(holder: &Holder, free_in: Option<u64>) -> api::Writer {
    let Holder { session, user, since } = holder.clone();
    api::Writer { session, user, since, free_in }
}
