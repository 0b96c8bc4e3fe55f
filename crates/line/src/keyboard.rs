//! A session's writing end: its input, and its requests for the pen.

use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::console::Size;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Asked;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::pen::Request;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use tokio::time::Instant;

use crate::desk::Desk;
use crate::ordered::Locked;
use crate::session::Session;
use crate::shared::Shared;
use crate::status::Change;

/// Another session of the same user that holds the pen.
struct Own {
    /// Whether its client is lost.
    is_lost: bool,
}

/// The writing end of a session, for one of its connections. When the session continues over
/// another connection, this one has no effect any more.
#[derive(Clone, Debug)]
pub struct Keyboard {
    pub(crate) line: Arc<Shared>,
    pub(crate) session: Arc<Session>,
    pub(crate) connection: u64,
}

impl Keyboard {
    /// Whether input is read now.
    pub fn has_room(&self) -> bool {
        self.line.input.has_room(self.session.id)
    }

    /// Waits until input is read.
    pub async fn room(&self) {
        self.line.input.room(self.session.id).await;
    }

    /// Accepts input. Input of a session that does not hold the pen, or that comes while no guest
    /// is connected, is dropped.
    pub fn write(&self, bytes: &[u8]) {
        self.line.input.accept(&self.session, self.connection, bytes);
        // The session's attachment acknowledges it.
        if self.session.protocol == Protocol::ConsoleV1 {
            self.session.ring();
        }
    }

    /// The client continues its input at this offset. Bytes before the end of what was received
    /// earlier are dropped.
    ///
    /// # Errors
    ///
    /// In words, when bytes before this offset are missing.
    pub fn begin_at(&self, offset: u64) -> Result<(), String> {
        let Some(mut presence) = self.session.presence_of(self.connection) else { return Ok(()) };
        let missing = offset.saturating_sub(presence.received);
        presence.repeated = presence.received.saturating_sub(offset);
        presence.received = presence.received.max(offset);
        match missing {
            0 => Ok(()),
            missing => Err(format!("{missing} bytes of input were lost")),
        }
    }

    /// The client has shown all output up to this offset.
    ///
    /// # Errors
    ///
    /// In words, when the client was not sent that much.
    pub fn shown(&self, offset: u64) -> Result<(), String> {
        let mut progress = self.session.progress();
        if progress.connection != self.connection {
            return Ok(());
        }
        let sent = progress.cursor;
        if offset > sent {
            return Err(format!("the output was sent up to offset {sent}, not {offset}"));
        }
        progress.shown = offset;
        Ok(())
    }

    /// The client sent a message, so it has received the key in its `hello`.
    pub fn heard(&self) {
        let presence = self.session.presence_of(self.connection);
        if presence.is_some_and(|mut presence| presence.keys.confirm()) {
            self.line.note_kept();
        }
        self.mark_alive();
    }

    /// The client gave a sign of life.
    pub fn mark_alive(&self) {
        let Some(mut presence) = self.session.presence_of(self.connection) else { return };
        let was_lost = presence.mark_alive();
        drop(presence);
        if was_lost {
            self.line.publish_presence();
        }
    }

    /// Ends the session, unless it continues over another connection.
    pub fn end(&self, close: &Close) {
        let Some(presence) = self.session.presence_of(self.connection) else { return };
        self.session.set_end(close);
        drop(presence);
        self.line.end_session(&self.session, close);
    }

    /// Ends the session, whatever connection it continues over.
    pub fn expire(&self, close: &Close) {
        self.line.end_session(&self.session, close);
    }

    /// Whether the session has ended.
    pub fn is_over(&self) -> bool {
        self.line.roster.get(self.session.id).is_none()
    }

    /// The session's user.
    pub fn user(&self) -> &str {
        &self.session.user
    }

    /// The project of the server that its grant is for.
    pub fn project(&self) -> Option<&str> {
        self.session.project.as_deref()
    }

    /// When the session ends at the latest.
    pub fn limit(&self) -> Option<Timestamp> {
        self.session.limit
    }

    /// Whether a shared link opened the session.
    pub fn is_shared(&self) -> bool {
        self.session.link.is_some()
    }

    /// The line.
    pub fn line(&self) -> LineKey {
        self.line.key
    }

    /// The line's name for people: `demo:0`.
    pub fn line_name(&self) -> String {
        self.line.name()
    }

    /// The line's server.
    pub fn server(&self) -> ServerRef {
        self.line.server()
    }

    /// Its session.
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// Whether the session holds the pen.
    pub fn writes(&self) -> bool {
        self.line.input.desk().pen().is_held_by(self.session.id)
    }

    /// Whether its user may write.
    pub fn may_write(&self) -> bool {
        self.session.may == Mode::Write
    }

    /// Whether its user may control the guest's power.
    pub fn may_power(&self) -> bool {
        self.session.operator
    }

    /// Sets the grid of the client's terminal. Other clients scale their view to it while this
    /// session writes.
    pub fn resize(&self, size: Size) {
        let desk = self.line.input.desk();
        if let Some(mut presence) = self.session.presence_of(self.connection) {
            presence.size = Some(size);
        }
        self.line.publish_pen(&desk, None);
    }

    /// Takes the pen if it is free, or if a lost session of the same user holds it. Otherwise asks
    /// its holder; without an answer, the pen is granted after `[session] pen_request_timeout`.
    ///
    /// # Errors
    ///
    /// In words, when the session may only watch, or another session is asking already.
    pub fn request_pen(&self, reason: Option<&str>, now: Timestamp) -> Result<(), String> {
        if self.session.may == Mode::Watch {
            return Err(Refusal::Mode.to_string());
        }
        let (id, user) = (self.session.id, self.session.user.clone());
        let mut desk = self.desk()?;
        if let Some(Own { is_lost: true }) = self.own_holder(&desk) {
            self.take_from_own(desk, Cause::Detached, now);
            return Ok(());
        }
        let reason = reason.map(str::to_owned);
        let request = Request { session: id, user, reason: reason.clone(), number: 0 };
        match desk.ask_for_pen(request, now) {
            Asked::Taken => self.line.log(&self.session, "pen taken", None, None),
            Asked::Pending(number) => {
                let deadline = Instant::now() + self.line.settings.pen_request_timeout;
                let overdue = Arc::clone(&self.line).grant_when_overdue(number, deadline);
                desk.wait_for_answer(self.line.runtime.spawn(overdue).abort_handle());
                self.line.log(&self.session, "pen asked for", None, reason.as_deref());
            }
            Asked::Again => {}
            Asked::Another(other) => {
                return Err(format!("{} already asks to type: wait for the answer", other.user));
            }
        }
        self.line.publish_pen(&desk, None);
        Ok(())
    }

    /// Takes the pen if it is free, or if another session of the same user holds it. That session
    /// then watches; on raw, it ends.
    ///
    /// # Errors
    ///
    /// In words, when the session may only watch, or somebody else holds the pen.
    pub fn take_pen(&self, now: Timestamp) -> Result<(), String> {
        if self.session.may == Mode::Watch {
            return Err(Refusal::Mode.to_string());
        }
        let mut desk = self.desk()?;
        if let Some(Own { is_lost }) = self.own_holder(&desk) {
            let cause = if is_lost { Cause::Detached } else { Cause::Moved };
            self.take_from_own(desk, cause, now);
            return Ok(());
        }
        match desk.take_pen(self.session.holder(now)) {
            Ok(()) => {
                self.line.log(&self.session, "pen taken", None, None);
                self.line.publish_pen(&desk, None);
                Ok(())
            }
            Err(holder) if holder.session == self.session.id => Ok(()),
            Err(holder) => Err(format!("{} is typing now: ask to type instead", holder.user)),
        }
    }

    /// The holder, where it is another session of this user.
    fn own_holder(&self, desk: &Desk) -> Option<Own> {
        let holder = desk.pen().holder()?;
        let is_own = holder.session != self.session.id && self.session.is_also(&holder.user);
        is_own.then(|| Own { is_lost: self.line.is_absent(holder.session) })
    }

    /// Takes the pen from another session of the same user. That session only watches from now on,
    /// also if it was lost and resumes.
    fn take_from_own(&self, mut desk: Locked<'_, Desk>, cause: Cause, now: Timestamp) {
        let loser = desk.force_pen(self.session.holder(now));
        self.line.log(&self.session, "pen taken from a session of the same user", None, None);
        let by = self.session.user.clone();
        let reason = match cause {
            Cause::Detached => "lost the connection",
            _ => "used in another window",
        };
        let change = Change { by: by.clone(), cause, reason: Some(reason.into()) };
        self.line.publish_pen(&desk, Some(change));
        drop(desk);
        if let Some(loser) = loser {
            self.line.close_raw_loser(&loser, &by);
        }
    }

    /// Hands the pen to the session that asks for it.
    ///
    /// # Errors
    ///
    /// In words, when this session does not hold the pen or none asks for it.
    pub fn grant_pen(&self, now: Timestamp) -> Result<(), String> {
        let mut desk = self.desk()?;
        if !desk.pen().is_held_by(self.session.id) {
            return Err("only the person who is typing can do this".into());
        }
        let loser = desk.grant_pen(now).ok_or("nobody asks to type")?;
        self.line.log(&self.session, "pen granted", None, None);
        let change = Change {
            by: self.session.user.clone(),
            cause: Cause::Granted,
            reason: Some("granted".into()),
        };
        self.line.publish_pen(&desk, Some(change));
        drop(desk);
        self.line.close_raw_loser(&loser, &self.session.user);
        Ok(())
    }

    /// Refuses the pen to the session that asks for it.
    ///
    /// # Errors
    ///
    /// In words, when this session does not hold the pen or none asks for it.
    pub fn deny_pen(&self, reason: Option<&str>) -> Result<(), String> {
        let mut desk = self.desk()?;
        if !desk.pen().is_held_by(self.session.id) {
            return Err("only the person who is typing can do this".into());
        }
        desk.deny_pen().ok_or("nobody asks to type")?;
        self.line.log(&self.session, "pen denied", None, reason);
        let reason = match reason {
            Some(reason) => format!("denied: {reason}"),
            None => "denied".into(),
        };
        let change =
            Change { by: self.session.user.clone(), cause: Cause::Denied, reason: Some(reason) };
        self.line.publish_pen(&desk, Some(change));
        Ok(())
    }

    /// Gives the pen back, and withdraws the session's own request.
    pub fn release_pen(&self, now: Timestamp) {
        let Ok(mut desk) = self.desk() else { return };
        desk.withdraw_request(self.session.id);
        if desk.release_pen(self.session.id, now).is_some() {
            self.line.log(&self.session, "pen released", None, None);
        }
        self.line.publish_pen(&desk, None);
    }

    /// Takes the pen from its holder, who is told by whom and why. On `console.v1` the holder stays
    /// as a watcher; on raw, the session ends.
    ///
    /// # Errors
    ///
    /// In words, when the session's user may not do this.
    pub fn force_pen(&self, reason: Option<String>, now: Timestamp) -> Result<(), String> {
        if !self.session.operator || self.session.may == Mode::Watch {
            return Err("only administrators and members of the server's project may take over: \
                     use a console URL of one of them"
                .into());
        }
        let mut desk = self.desk()?;
        let loser = desk.force_pen(self.session.holder(now));
        let by = self.session.user.clone();
        let from = loser.as_ref().map(|loser| loser.user.as_str());
        self.line.log(&self.session, "pen taken over", from, reason.as_deref());
        self.line.publish_pen(&desk, Some(Change { by: by.clone(), cause: Cause::Forced, reason }));
        drop(desk);
        if let Some(loser) = loser.filter(|loser| loser.session != self.session.id) {
            self.line.record_force(&self.session, &loser);
            self.line.close_raw_loser(&loser, &by);
        }
        Ok(())
    }

    /// The desk, for changes of the pen; an error when the session has ended or continues over
    /// another connection.
    fn desk(&self) -> Result<Locked<'_, Desk>, String> {
        let desk = self.line.input.desk();
        let progress = self.session.progress();
        match progress.end.is_some() || progress.connection != self.connection {
            true => Err("this session is over".into()),
            false => Ok(desk),
        }
    }
}

impl Shared {
    /// Grants the request with this number unless the holder responds in time.
    async fn grant_when_overdue(self: Arc<Self>, number: u64, deadline: Instant) {
        tokio::time::sleep_until(deadline).await;
        let mut desk = self.input.desk();
        let asking = desk.pen().request().cloned();
        let Some(loser) = desk.grant_overdue_pen(number, Timestamp::now()) else { return };
        let by = asking.as_ref().map(|asking| asking.user.clone()).unwrap_or_default();
        let seconds = self.settings.pen_request_timeout.as_secs_f32();
        let reason = format!("no answer within {seconds} s");
        if let Some(asking) = asking.and_then(|asking| self.roster.get(asking.session)) {
            self.log(&asking, "pen granted by silence", Some(&loser.user), Some(&reason));
        }
        self.publish_pen(
            &desk,
            Some(Change { by: by.clone(), cause: Cause::Silent, reason: Some(reason) }),
        );
        drop(desk);
        self.close_raw_loser(&loser, &by);
    }

    /// Ends a raw session that lost the pen, since raw has no message for that.
    fn close_raw_loser(&self, loser: &Holder, by: &str) {
        let session = self.roster.get(loser.session);
        if let Some(session) = session.filter(|session| session.protocol == Protocol::Raw) {
            session.set_end(&Close::new(CloseCode::TakenOver, format!("taken over by {by}")));
        }
    }
}
