//! A line as all code except its owner task sees it.

use std::panic;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::api;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::compute::Output;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::terminal::LineFeed;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use serialproxy_proto::token::TokenDigest;
use serialproxy_screen::Sight;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::last_line::At;
use crate::last_line::READ;
use crate::painter::Painters;
use crate::seconds_until;
use crate::session::Session;
use crate::settings::Settings;
use crate::shared::Shared;

/// One serial port of one server. Cheap to clone; all clones are the same line.
#[derive(Clone, Debug)]
pub struct Line(pub(crate) Arc<Shared>);

impl Line {
    pub(crate) fn new(
        server: &ServerRef,
        port: u8,
        settings: &Arc<Settings>,
        runtime: Handle,
        painters: Painters,
        kept_changed: Arc<Notify>,
    ) -> Self {
        Self(Arc::new(Shared::new(server, port, settings, runtime, painters, kept_changed)))
    }

    /// The server and port of this line.
    pub fn key(&self) -> LineKey {
        self.0.key
    }

    /// Sets the server's new name.
    pub fn rename(&self, name: &str) {
        self.0.guest.rename(name);
    }

    /// Waits until the line is connected to its guest; false when it is not within that time, or
    /// the line is closed meanwhile. Another client that holds its port is disconnected.
    pub async fn connected(&self, within: Duration) -> bool {
        self.0.roster.ask();
        let news = self.0.news.wait_for(|now| now.is_closed || now.connection.is_connected());
        let news = tokio::time::timeout(within, news).await;
        news.is_ok_and(|now| !now.is_closed)
    }

    /// Waits for at most this time until the pen is free.
    pub async fn pen_free(&self, within: Duration) {
        let free = self.0.news.wait_for(|status| status.holder.is_none());
        let _ = tokio::time::timeout(within, free).await;
    }

    /// Whether the line is connecting to the guest's port now, so that a short wait is worthwhile.
    pub fn is_connecting(&self) -> bool {
        self.0.guest.power().running && self.0.news.now().connection.is_settling()
    }

    /// Whether the line has printed, or its status has changed, within this time.
    pub fn changed_within(&self, time: Duration) -> bool {
        self.0.news.age() <= time || self.0.output.idle().is_some_and(|idle| idle <= time)
    }

    /// The line as `/v1/lines` shows it, but for [`Self::last_line`], which takes longer.
    pub fn describe(&self) -> api::Line {
        let status = self.0.news.now();
        let (state, reason, cause) = status.in_words();
        let (offset, first_offset) = {
            let history = self.0.output.history();
            (history.end(), history.first())
        };
        let bytes_in = self.0.input.desk().written();
        let free_in = status.free_in();
        let watchers = status.viewers.saturating_sub(u64::from(status.holder.is_some()));
        api::Line {
            server: self.0.server(),
            port: self.0.key.port,
            state,
            reason,
            cause,
            endpoint: status.endpoint.clone(),
            line: self.0.id,
            epoch: status.epoch,
            offset,
            first_offset,
            bytes_in,
            bytes_out: offset,
            writer: status.holder.as_ref().map(|holder| writer(holder, free_in)),
            watchers,
            last_line: None,
            idle: self.0.output.idle().map(|idle| idle.as_secs()),
        }
    }

    /// The last printed line of the present boot, in plain text of at most
    /// [`LAST_LINE`](serialproxy_proto::bounds::LAST_LINE) characters. It may be a second old.
    ///
    /// It is modeled here, which takes up to some milliseconds of the caller's thread.
    pub fn last_line(&self) -> Option<String> {
        let (status, output) = (self.0.news.now(), &self.0.output);
        let epoch = status.epoch;
        let model = || {
            let (recent, end) = {
                let history = output.history();
                (history.recent(READ), history.end())
            };
            let begin = end.saturating_sub(recent.len() as u64);
            let boot = status.epoch_offset.checked_sub(begin);
            let boot = boot.and_then(|boot| usize::try_from(boot).ok());
            let boots = boot.as_slice();
            let begins_line = self.0.guest.terminal().line_feed == Some(LineFeed::NewLine);
            let (output, writer) = (recent.as_slice(), status.size);
            let sight = Sight { output, boots, viewer: None, writer, begins_line };
            // The guest chooses the model's input, which may reveal a fault in it.
            let text = panic::catch_unwind(|| serialproxy_screen::last_line(&sight));
            (At { epoch, end }, text.unwrap_or_default())
        };
        output.last_line().at(At { epoch, end: output.end() }, model)
    }

    /// Output from `from` on, or else from the next byte that is kept, without a gap, of at most
    /// `max` bytes; empty where there is no newer output.
    pub fn output(&self, from: u64, max: usize) -> Output {
        let epoch = self.0.news.now().epoch;
        let history = self.0.output.history();
        let (offset, bytes) = history.copy(from, max);
        Output { offset, bytes, end: history.end(), epoch, line: self.0.id }
    }

    /// Whether an attached session has this key.
    pub fn knows(&self, key: &ResumeKey) -> bool {
        let digest = key.digest();
        self.0
            .roster
            .all()
            .iter()
            .any(|session| !session.is_over() && session.presence().keys.open(digest))
    }

    /// Queues bytes before all waiting input, whoever holds the pen; false where no guest is
    /// connected.
    pub fn press(&self, bytes: &[u8]) -> bool {
        self.0.input.press(bytes)
    }

    /// Ends the session that writes, if there is one.
    pub fn disconnect_writer(&self, by: &Disconnect) -> Option<api::Writer> {
        let holder = self.0.input.desk().pen().holder().cloned()?;
        self.disconnect(holder.session, by).then(|| writer(&holder, None))
    }

    /// Ends a session; false when it is not attached here. Its pen is free when this returns.
    pub fn disconnect(&self, session: SessionId, by: &Disconnect) -> bool {
        let Some(entry) = self.0.roster.get(session) else {
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
            let mut desk = self.0.input.desk();
            // Under the desk's lock, so that the session cannot take the pen again.
            entry.set_end(&close);
            desk.withdraw_request(session);
            desk.revoke_pen(session, Timestamp::now());
            self.0.publish_pen(&desk, None);
        }
        self.0.end_session(&entry, &close);
        true
    }

    /// The sessions that shared links opened, each with the digest of its link's token.
    pub fn of_links(&self) -> Vec<(SessionId, TokenDigest)> {
        let all = self.0.roster.members();
        let shared = all.iter().filter(|session| session.link.is_some());
        shared.map(|session| (session.id, session.token)).collect()
    }

    /// The sessions, as `/v1/sessions` shows them.
    pub fn sessions(&self) -> Vec<api::Session> {
        let holder = self.0.input.desk().pen().holder().map(|holder| holder.session);
        let server = self.0.server();
        let all = self.0.roster.all();
        let describe = |session: &Arc<Session>| {
            let (address, absence) = {
                let presence = session.presence();
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
                link: session.link,
            }
        };
        all.iter().map(describe).collect()
    }
}

fn writer(holder: &Holder, free_in: Option<u64>) -> api::Writer {
    let Holder { session, user, since } = holder.clone();
    api::Writer { session, user, since, free_in }
}
