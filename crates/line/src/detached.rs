//! Sessions that have lost their connection and may still resume.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::attachment::Attachment;
use crate::keyboard::Keyboard;
use crate::session::Absence;
use crate::session::Session;
use crate::shared::Shared;

/// How long a session without a connection keeps the pen if its client has never given a sign of
/// life: such a client may not have received the key for resuming.
const UNHEARD: Duration = Duration::from_secs(5);

/// A `console.v1` session without a connection is kept, with its pen, for the grace time after its
/// last sign of life, so that its client can resume. It ends at once where it has ended already, on
/// raw, and where its client cannot have a key yet.
impl Drop for Attachment {
    fn drop(&mut self) {
        let Some(mut presence) = self.session.presence_of(self.connection) else { return };
        let has_key = self.session.protocol == Protocol::ConsoleV1 && self.is_known();
        if !has_key || self.session.is_over() {
            drop(presence);
            return self.line.remove(&self.session);
        }
        presence.detached = true;
        let until = presence.alive + self.line.settings.grace;
        let pen_until = (!presence.heard).then(|| until.min(Instant::now() + UNHEARD));
        let seen = Some(presence.alive);
        presence.absence = Some(Absence { seen, pen_until: pen_until.unwrap_or(until), until });
        let (line, session) = (Arc::clone(&self.line), Arc::clone(&self.session));
        let giving_up = give_up(line, session, self.connection, pen_until, until);
        let waiting = self.line.runtime.spawn(giving_up);
        presence.waiting = Some(waiting.abort_handle());
        drop(presence);
        self.line.input.desk().withdraw_request(self.session.id);
        self.line.publish_presence();
        self.line.bound_detached(self.session.token);
        // The owner may be waiting for this session to read.
        self.line.output.note_left();
        tracing::info!(line = self.line.name(), server = %self.line.key.server, session = %self.session.id,
            user = self.session.user, "connection of a session lost");
    }
}

/// Frees a session's pen at one time, if any, and ends the session at another. Does neither when
/// the session continues over another connection than number `connection`.
pub(crate) async fn give_up(
    line: Arc<Shared>,
    session: Arc<Session>,
    connection: u64,
    pen_until: Option<Instant>,
    until: Instant,
) {
    tokio::select! {
        () = line.stop.cancelled() => return,
        () = async {
            if let Some(pen_until) = pen_until {
                sleep_until(pen_until).await;
                line.lay_pen_down(&session, connection);
            }
            sleep_until(until).await;
        } => {}
    }
    let Some(presence) = session.presence_of(connection) else { return };
    let seconds = line.settings.grace.as_secs();
    let reason = format!("idle: no sign of life for {seconds} s");
    session.set_end(&Close::new(CloseCode::Idle, reason));
    drop(presence);
    line.remove(&session);
}

impl Keyboard {
    /// The client does not respond over its connection: the session counts as lost until it gives a
    /// sign of life.
    pub fn fall_silent(&self) {
        let Some(mut presence) = self.session.presence_of(self.connection) else { return };
        if presence.absence.is_some() {
            return;
        }
        let until = presence.alive + self.line.settings.grace;
        let seen = Some(presence.alive);
        presence.absence = Some(Absence { seen, pen_until: until, until });
        drop(presence);
        self.line.publish_presence();
        self.line.log(&self.session, "its client does not respond", None, None);
    }
}

impl Shared {
    /// Frees the pen of a session that may still resume. It then gets the pen back if nobody holds
    /// it.
    fn lay_pen_down(&self, session: &Session, connection: u64) {
        let mut desk = self.input.desk();
        let Some(mut presence) = session.presence_of(connection) else { return };
        if desk.release_pen(session.id, Timestamp::now()).is_some() {
            presence.pen_released = true;
            drop(presence);
            self.log(session, "pen released: its client never sent anything", None, None);
            self.publish_pen(&desk, None);
        }
    }
}
