//! Attaching to a line, and resuming a session.

use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::Size;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::terminal::LineFeed;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use tokio::time::Instant;

use crate::attachment::Attachment;
use crate::attachment::Beginning;
use crate::history::History;
use crate::keyboard::Keyboard;
use crate::line::Line;
use crate::members::Members;
use crate::painter::Awaited;
use crate::painter::Grids;
use crate::painter::Sight;
use crate::seconds_until;
use crate::session::Absence;
use crate::session::Presence;
use crate::session::Session;
use crate::shared::Shared;
use crate::status::Connection;
use crate::visitor::Start;
use crate::visitor::Visitor;

impl Line {
    /// Attaches to the line.
    ///
    /// # Errors
    ///
    /// At once when another session writes, when the guest's port is not connected (`console.v1`
    /// may wait for it), or when there are too many sessions.
    pub fn attach(&self, visitor: &Visitor) -> Result<(Attachment, Keyboard), Refusal> {
        let shared = &self.0;
        shared.roster.ask();
        let session = Arc::new(Session::new(visitor));
        session.presence().places = Some(shared.settings.places.enter(visitor)?);
        let (beginning, mode) = shared.join(&session, visitor)?;
        let mut attachment = Attachment::new(shared, &session, 0);
        attachment.begin(&beginning);
        tracing::info!(line = shared.name(), server = %shared.key.server, session = %session.id, user = session.user,
            address = visitor.address, mode = mode.as_str(), "session attached");
        let keyboard = Keyboard { line: Arc::clone(shared), session, connection: 0 };
        Ok((attachment, keyboard))
    }

    /// Continues a session over another connection: it keeps its pen, and its input continues after
    /// the last byte that was received. Its earlier connection ends.
    ///
    /// # Errors
    ///
    /// [`Refusal::Resume`] when no session of this line has this key any more; the reason for
    /// closing where the line is closed.
    pub fn resume(
        &self,
        key: &ResumeKey,
        start: Start,
        address: &str,
    ) -> Result<(Attachment, Keyboard), Refusal> {
        let shared = &self.0;
        shared.roster.members().refuse_when_closed()?;
        let digest = key.digest();
        let session = shared
            .roster
            .all()
            .into_iter()
            .find(|session| session.presence().keys.open(digest))
            .ok_or(Refusal::Resume)?;
        let (connection, beginning) = {
            // From here on, the earlier connection neither types nor moves the cursor.
            let mut desk = shared.input.desk();
            shared.roster.members().refuse_when_closed()?;
            let history = shared.output.history();
            let mut presence = session.presence();
            if !presence.keys.open(digest) || session.is_over() {
                return Err(Refusal::Resume);
            }
            address.clone_into(&mut presence.address);
            presence.keys.shown(digest);
            presence.repeated = 0;
            presence.detached = false;
            presence.restored = false;
            presence.absence = None;
            presence.alive = Instant::now();
            presence.stop_waiting();
            let beginning = start.place(shared, &history, &session, &mut presence);
            let connection = session.next_connection();
            let takes_pen_up = std::mem::take(&mut presence.pen_released);
            drop((presence, history));
            if takes_pen_up {
                // Another session may hold it by now.
                let _ = desk.take_pen(session.holder(Timestamp::now()));
            }
            shared.publish_pen(&desk, None);
            shared.publish_viewers(&shared.roster.members());
            (connection, beginning)
        };
        shared.roster.ask();
        let mut attachment = Attachment::new(shared, &session, connection);
        attachment.begin(&beginning);
        tracing::info!(line = shared.name(), server = %shared.key.server, session = %session.id, user = session.user, address,
            "session resumed");
        let opened = shared.event_of(&session, EventName::SessionOpened);
        shared.record(opened.cause(Cause::Resumed.as_str()));
        let keyboard = Keyboard { line: Arc::clone(shared), session, connection };
        Ok((attachment, keyboard))
    }
}

impl Start {
    /// Sets a session's cursor to the beginning of its output, and gives it a new key if it may
    /// resume.
    fn place(
        self,
        line: &Shared,
        history: &History,
        session: &Session,
        presence: &mut Presence,
    ) -> Beginning {
        let end = history.end();
        let offset = match self {
            Self::Live => end,
            Self::Connection => {
                let status = line.news.now();
                // Without a connection, [`Start::Connection`] begins at the end of the present
                // output: the next connection's output follows there.
                let connected = status.connection.is_connected();
                let begin = if connected { status.connection_offset } else { end };
                begin.clamp(history.whole_from().min(end), end)
            }
            Self::Screen { size, follows } => {
                (presence.size, presence.follows) = (size, follows);
                end
            }
            Self::Oldest => history.first(),
            Self::Offset { line: Some(id), .. } if id != line.id => history.first(),
            Self::Offset { offset, .. } => offset.min(end),
        };
        let screen = matches!(self, Self::Screen { .. });
        session.progress().cursor = offset;
        let key = (session.protocol == Protocol::ConsoleV1).then(|| ResumeKey::new(line.key));
        if let Some(key) = &key {
            presence.keys.add(key.digest());
        }
        Beginning { offset, end, screen, input: presence.received, key }
    }
}

impl Shared {
    /// Adds a new session in one step, with the pen if it is to write; returns the mode that it
    /// begins with.
    fn join(
        self: &Arc<Self>,
        session: &Arc<Session>,
        visitor: &Visitor,
    ) -> Result<(Beginning, Mode), Refusal> {
        let mut desk = self.input.desk();
        let mut members = self.roster.members();
        members.admit(visitor)?;
        refuse_without_connection(&self.news.now().connection, visitor)?;
        let holder = desk.pen().holder().cloned();
        let mode = match (visitor.mode, &holder) {
            (Mode::Write, Some(_)) if visitor.yields => Mode::Watch,
            (Mode::Write, Some(holder)) => return Err(self.busy(holder, &members, session)),
            (mode, _) => mode,
        };
        let holder = holder.map(|holder| holder.session);
        if let Some(ended) = members.make_room(mode, visitor.operator, holder)? {
            self.record_end(&ended);
        }
        if mode == Mode::Write {
            // It is free, as checked above.
            let _ = desk.take_pen(session.holder(visitor.now));
        }
        let beginning = {
            let history = self.output.history();
            visitor.start.place(self, &history, session, &mut session.presence())
        };
        members.push(Arc::clone(session));
        self.publish_viewers(&members);
        drop(members);
        let opened = self.event_of(session, EventName::SessionOpened);
        self.record(opened.cause(mode.as_str()));
        if mode == Mode::Write {
            self.publish_pen(&desk, None);
        }
        Ok((beginning, mode))
    }

    /// The refusal of a session that wants the pen while another has it.
    fn busy(&self, holder: &Holder, members: &Members, refused: &Session) -> Refusal {
        let Holder { session, user, since } = holder.clone();
        let absence = members.iter().find(|known| known.id == session);
        let absence = absence.and_then(|session| session.absence());
        let own = refused.is_also(&user);
        let free_in = absence.map(|absence| seconds_until(absence.pen_until));
        let seen_ago = absence.and_then(Absence::seen_ago);
        let can = self.allows(refused);
        Refusal::Busy { session, user, since, own, free_in, seen_ago, can }
    }

    /// Asks for the screen, painted for this grid, or for the writer's where none is given.
    pub(crate) fn ask_for_screen(self: &Arc<Self>, size: Option<Size>) -> Option<Awaited> {
        let line = Arc::clone(self);
        let look = move || {
            let begins_line = line.guest.terminal().line_feed == Some(LineFeed::NewLine);
            let (recent, end, boots) = line.output.begin_screen(serialproxy_screen::READ);
            let begin = end - recent.len() as u64;
            let place = |offset: u64| usize::try_from(offset.checked_sub(begin)?).ok();
            let boots = boots.iter().filter_map(|boot| Some((boot.epoch, place(boot.offset)?)));
            Sight { recent, boots: boots.collect(), end, begins_line }
        };
        let writer = self.news.now().size;
        let grids = Grids { viewer: size.or(writer), writer };
        self.output.ask_for_screen(grids, look)
    }
}

/// Refuses a session without a connected guest: raw has no message that tells a client to wait. On
/// `console.v1`, a token may allow waiting for a guest that does not run.
fn refuse_without_connection(connection: &Connection, visitor: &Visitor) -> Result<(), Refusal> {
    let may_wait = match (visitor.protocol, connection) {
        (
            _,
            Connection::Gone(_)
            | Connection::Claimed { .. }
            | Connection::Held { clears: false, .. },
        )
        | (Protocol::Raw, _) => false,
        (Protocol::ConsoleV1, Connection::Stopped(_)) => visitor.wait,
        (Protocol::ConsoleV1, _) => true,
    };
    match connection.refusal() {
        Some(refusal) if !may_wait => Err(refusal),
        _ => Ok(()),
    }
}
