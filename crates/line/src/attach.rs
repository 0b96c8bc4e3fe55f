//! Attaching to a line: a session's reading end, and its keyboard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use jiff::Timestamp;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ReplayKind;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use tokio::sync::watch;

use crate::desk::Accepted;
use crate::history::History;
use crate::history::Read;
use crate::line::Line;
use crate::line::Session;
use crate::line::Shared;
use crate::lock;
use crate::status::Connection;
use crate::status::Handover;
use crate::status::Status;

/// Sessions of one line at most.
const SESSIONS: usize = 1000;

/// Output that is handed out at once, at most.
const PIECE: usize = 64 * 1024;

/// History that a person sees on attaching, at most: some screens, at once over a slow network.
const REPLAY: u64 = 64 * 1024;

/// Who attaches, and how.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The user.
    pub user: String,
    /// `Write` asks for the pen.
    pub mode: Mode,
    /// The most that the user may do.
    pub may: Mode,
    /// Whether the user may take the pen from someone.
    pub operator: bool,
    /// Whether a stopped guest may be attached to (`console.v1`).
    pub wait: bool,
    /// What the connection speaks.
    pub protocol: Protocol,
    /// Where it comes from, as people read it.
    pub address: String,
    /// Where the output begins.
    pub start: Start,
    /// The time of now.
    pub now: Timestamp,
}

/// Where a session's output begins. On `console.v1` what was printed before the session attached is
/// announced as replay, so that no terminal answers queries in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// With what is printed from now on.
    Live,
    /// With the newest part of the history.
    Newest,
    /// With the oldest byte that is kept.
    Oldest,
    /// With the byte of this offset.
    Offset(u64),
}

/// What a session gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Output, in order and without a hole that was not said.
    Output(Bytes),
    /// Something to tell; raw sessions have no words for it.
    Message(ServerMessage),
    /// The session is over.
    Ended(Close),
}

/// A session's reading end. Dropping it ends the session.
#[derive(Debug)]
pub struct Attachment {
    line: Arc<Shared>,
    session: Arc<Session>,
    status: watch::Receiver<Status>,
    seen: Status,
    end: watch::Receiver<Option<Close>>,
    pending: VecDeque<Event>,
    /// Output before this offset is replay.
    replay_until: u64,
}

/// A session's writing end.
#[derive(Clone, Debug)]
pub struct Keyboard {
    line: Arc<Shared>,
    session: Arc<Session>,
    operator: bool,
}

impl Line {
    /// Attaches to the line.
    ///
    /// # Errors
    ///
    /// At once when somebody else writes, when the guest's port is not there (`console.v1` may
    /// wait for it), or when there are too many sessions.
    pub fn attach(&self, visitor: &Visitor) -> Result<(Attachment, Keyboard), Refusal> {
        let shared = &self.0;
        let mut status = shared.status.subscribe();
        let connection = status.borrow().connection.clone();
        refuse_without_connection(&connection, visitor)?;
        let session = Arc::new(Session {
            id: SessionId::new(),
            user: visitor.user.clone(),
            protocol: visitor.protocol,
            address: visitor.address.clone(),
            since: visitor.now,
            cursor: AtomicU64::new(0),
            end: watch::Sender::new(None),
        });
        if visitor.mode == Mode::Write {
            let mut desk = lock(&shared.desk);
            desk.take_pen(session.holder(visitor.now))
                .map_err(|holder| Refusal::Busy { user: holder.user, since: holder.since })?;
            shared.publish_pen(&desk, None);
        }
        let seen = status.borrow_and_update().clone();
        // From here on a drop gives the pen back.
        let mut attachment = Attachment {
            line: Arc::clone(shared),
            end: session.end.subscribe(),
            session: Arc::clone(&session),
            seen,
            status,
            pending: VecDeque::new(),
            replay_until: 0,
        };
        attachment.enter(visitor)?;
        tracing::info!(line = %self.key(), session = %session.id, user = session.user,
            address = session.address, mode = visitor.mode.as_str(), "session attached");
        let keyboard = Keyboard { line: Arc::clone(shared), session, operator: visitor.operator };
        Ok((attachment, keyboard))
    }
}

/// Raw has no words for waiting, so it needs a connected guest; so does `console.v1` unless its
/// token allows to wait for a guest that does not run.
fn refuse_without_connection(connection: &Connection, visitor: &Visitor) -> Result<(), Refusal> {
    let may_wait = match (visitor.protocol, connection) {
        (_, Connection::Gone(_)) | (Protocol::Raw, _) => false,
        (Protocol::ConsoleV1, Connection::Stopped(_)) => visitor.wait,
        (Protocol::ConsoleV1, _) => true,
    };
    match connection.refusal() {
        Some(refusal) if !may_wait => Err(refusal),
        _ => Ok(()),
    }
}

impl Attachment {
    /// The session.
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// Offset of the next byte of output.
    pub fn offset(&self) -> u64 {
        self.session.cursor.load(Ordering::Relaxed)
    }

    /// What comes next. `output` says whether output is wanted now; messages and the end come in
    /// any case. Dropping the future loses nothing.
    pub async fn next(&mut self, output: bool) -> Event {
        loop {
            let line = Arc::clone(&self.line);
            let mut fresh = std::pin::pin!(line.fresh.notified());
            fresh.as_mut().enable();
            if let Some(event) = self.poll(output) {
                return event;
            }
            tokio::select! {
                () = fresh, if output => {}
                _ = self.status.changed() => self.status.mark_changed(),
                _ = self.end.changed() => {}
            }
        }
    }

    /// Waits for the end alone: for a caller that is busy with what it got before.
    pub async fn ended(&self) -> Close {
        let mut end = self.session.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|close| close.clone())
            .unwrap_or_else(|| Close::new(CloseCode::InternalError, "the session was lost"))
    }

    fn poll(&mut self, output: bool) -> Option<Event> {
        if let Some(close) = self.end.borrow_and_update().clone() {
            return Some(Event::Ended(close));
        }
        if let Some(event) = self.pending.pop_front() {
            return Some(event);
        }
        if self.status.has_changed().unwrap_or(false) {
            let now = self.status.borrow_and_update().clone();
            let changes = now.changes_since(&self.seen, self.session.id);
            self.pending.extend(changes.into_iter().map(Event::Message));
            self.seen = now;
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
        }
        if output { self.read() } else { None }
    }

    fn read(&mut self) -> Option<Event> {
        let from = self.session.cursor.load(Ordering::Relaxed);
        let (event, to) = {
            let history = lock(&self.line.history);
            match history.read(from) {
                Read::End => return None,
                Read::Gap(to) => (Event::Message(ServerMessage::Gap { from, to }), to),
                Read::Bytes(piece) => {
                    let most = match self.replay_until.checked_sub(from) {
                        Some(left) if left > 0 => PIECE.min(usize::try_from(left).unwrap_or(PIECE)),
                        _ => PIECE,
                    };
                    let piece = piece.get(..most.min(piece.len())).unwrap_or_default();
                    let to = from + piece.len() as u64;
                    (Event::Output(Bytes::copy_from_slice(piece)), to)
                }
            }
        };
        self.session.cursor.store(to, Ordering::Relaxed);
        if self.line.owner_waits.load(Ordering::Relaxed) {
            self.line.progress.notify_one();
        }
        if from < self.replay_until && matches!(event, Event::Output(_)) {
            self.pending.push_back(event);
            return Some(Event::Message(ServerMessage::Replay {
                kind: ReplayKind::History,
                bytes: to - from,
                offset: to,
            }));
        }
        Some(event)
    }

    /// Joins the others, and prepares what is said first.
    fn enter(&mut self, visitor: &Visitor) -> Result<(), Refusal> {
        let mut sessions = lock(&self.line.sessions);
        if sessions.len() >= SESSIONS {
            return Err(Refusal::TooMany(format!("{SESSIONS} sessions share this line")));
        }
        let (start, end) = {
            let history = lock(&self.line.history);
            let start = match visitor.start {
                Start::Live => history.end(),
                Start::Newest => newest(&history, REPLAY),
                Start::Oldest => history.first(),
                Start::Offset(offset) => offset.min(history.end()),
            };
            (start, history.end())
        };
        self.session.cursor.store(start, Ordering::Relaxed);
        sessions.push(Arc::clone(&self.session));
        let count = sessions.len();
        self.line.publish_viewers(count);
        self.seen.viewers = count as u64;
        drop(sessions);
        if visitor.protocol == Protocol::ConsoleV1 {
            self.replay_until = end;
            self.greet(visitor, start, count);
        }
        Ok(())
    }

    fn greet(&mut self, visitor: &Visitor, start: u64, count: usize) {
        let (state, reason) = self.seen.connection.in_words();
        let hello = Hello {
            session: self.session.id,
            line: self.line.id,
            server: self.line.server(),
            port: self.line.key.port,
            user: self.session.user.clone(),
            mode: visitor.mode,
            state,
            reason,
            epoch: self.seen.epoch,
            offset: start,
            input: 0,
            resume: None,
            grace: 0,
            can: visitor.can(),
        };
        self.tell(ServerMessage::Hello(hello));
        let holder = self.seen.holder.clone();
        self.tell(ServerMessage::Pen {
            state: if holder.is_some() { PenState::Held } else { PenState::Free },
            session: holder.as_ref().map(|holder| holder.session),
            holder: holder.map(|holder| holder.user),
            by: None,
            reason: None,
        });
        self.tell(ServerMessage::Viewers { count: count as u64, who: Vec::new() });
    }

    fn tell(&mut self, message: ServerMessage) {
        self.pending.push_back(Event::Message(message));
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        {
            let mut sessions = lock(&self.line.sessions);
            sessions.retain(|session| session.id != self.session.id);
            self.line.publish_viewers(sessions.len());
        }
        let mut desk = lock(&self.line.desk);
        desk.release_pen(self.session.id);
        self.line.publish_pen(&desk, None);
        // The owner may wait for this session to catch up.
        self.line.progress.notify_one();
        let close = self.end.borrow().clone();
        tracing::info!(line = %self.line.key, session = %self.session.id,
            user = self.session.user, code = close.map(|close| close.code.number()),
            "session ended");
    }
}

impl Keyboard {
    /// Types. Waits while the guest takes no more; bytes of a session that does not hold the pen,
    /// or typed while no guest is connected, are dropped.
    pub async fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut room = std::pin::pin!(self.line.room.notified());
            room.as_mut().enable();
            let accepted = lock(&self.line.desk).accept(self.session.id, bytes);
            match accepted {
                Accepted::NotHolder | Accepted::Closed => return,
                Accepted::Bytes(0) => room.await,
                Accepted::Bytes(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.line.typed.notify_one();
                }
            }
        }
    }

    /// Ends the session, so that its [`Attachment`] says so.
    pub fn end(&self, close: &Close) {
        self.session.end(close);
    }

    /// Takes the pen when it is free.
    ///
    /// # Errors
    ///
    /// In words, when it is held or the session may only watch.
    pub fn request_pen(&self, may: Mode, now: Timestamp) -> Result<(), String> {
        if may == Mode::Watch {
            return Err(Refusal::Mode.to_string());
        }
        let mut desk = lock(&self.line.desk);
        desk.take_pen(self.session.holder(now)).map_err(|holder| {
            Refusal::Busy { user: holder.user, since: holder.since }.to_string()
        })?;
        self.line.publish_pen(&desk, None);
        Ok(())
    }

    /// Gives the pen back.
    pub fn release_pen(&self) {
        let mut desk = lock(&self.line.desk);
        desk.release_pen(self.session.id);
        self.line.publish_pen(&desk, None);
    }

    /// Takes the pen from whoever holds it, who is told by whom and why: on `console.v1` they
    /// stay as a watcher, on raw their session ends.
    ///
    /// # Errors
    ///
    /// In words, when the session's user may not.
    pub fn force_pen(&self, reason: Option<String>, now: Timestamp) -> Result<(), String> {
        if !self.operator {
            return Err("taking over needs an administrator's console URL".into());
        }
        let mut desk = lock(&self.line.desk);
        let loser = desk.force_pen(self.session.holder(now));
        let by = self.session.user.clone();
        tracing::info!(line = %self.line.key, session = %self.session.id, by,
            loser = loser.as_ref().map(|loser| loser.user.as_str()), reason, "pen taken over");
        self.line.publish_pen(&desk, Some(Handover { by: by.clone(), reason }));
        drop(desk);
        let loser = loser.and_then(|loser| self.line.session(loser.session));
        if let Some(loser) = loser.filter(|loser| loser.protocol == Protocol::Raw) {
            loser.end(&Close::new(CloseCode::TakenOver, format!("taken over by {by}")));
        }
        Ok(())
    }
}

impl Session {
    fn holder(&self, now: Timestamp) -> Holder {
        Holder { session: self.id, user: self.user.clone(), since: now }
    }
}

impl Visitor {
    fn can(&self) -> Vec<Action> {
        let write = (self.may == Mode::Write).then_some(Action::Write);
        let force = (self.may == Mode::Write && self.operator).then_some(Action::Force);
        write.into_iter().chain(force).collect()
    }
}

/// Where the newest `most` bytes begin, or a little later: at the beginning of a row, so that no
/// character or escape sequence is cut.
fn newest(history: &History, most: u64) -> u64 {
    let start = history.tail_start().max(history.end().saturating_sub(most));
    match history.read(start) {
        Read::Bytes(piece) if start > 0 => {
            let row = piece.iter().position(|byte| *byte == b'\n');
            start + row.map_or(0, |newline| newline as u64 + 1)
        }
        _ => start,
    }
}
