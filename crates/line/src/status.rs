//! The status that a line's attached clients know, and how a session finds the changes.

use std::sync::Arc;
use std::time::Duration;

use serialproxy_proto::api::Status as ServerStatus;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::Size;
use serialproxy_proto::console::VIEWERS;
use serialproxy_proto::console::Viewer;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::pen::Request;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::refusal::lost_connection;
use serialproxy_proto::token::Mode;

use crate::seconds_until;
use crate::session::Absence;
use crate::session::Session;

/// The status. A session compares the last one that it saw with the present one, so nothing queues
/// up.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) connection: Connection,
    /// Why the guest does not go on although its process runs.
    pub(crate) halt: Option<Halt>,
    pub(crate) endpoint: Option<Endpoint>,
    /// The offset where the output of the last connection begins.
    pub(crate) connection_offset: u64,
    pub(crate) epoch: u64,
    pub(crate) epoch_offset: u64,
    pub(crate) holder: Option<Holder>,
    /// Set where the holder's client is lost.
    pub(crate) absence: Option<Absence>,
    /// The session that asks the holder for the pen.
    pub(crate) request: Option<Request>,
    /// How long the holder may take to answer a request.
    pub(crate) pen_request_timeout: Duration,
    /// The user who last took the pen against the holder's will, and the reason.
    pub(crate) change: Option<Change>,
    /// The grid of the session that writes.
    pub(crate) size: Option<Size>,
    /// How many sessions are attached.
    pub(crate) viewers: u64,
    /// The first of them.
    pub(crate) who: Arc<[Viewer]>,
    /// Whether the line is closed for good.
    pub(crate) is_closed: bool,
}

/// The line's connection to its guest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Connection {
    /// The guest does not run.
    Stopped(ServerStatus),
    /// The guest runs, and the line is connecting to it for the first time.
    Connecting,
    /// The guest runs. Its port ended the connection with this error, and the line is connecting
    /// again.
    Broken(String),
    /// Bytes flow; notes about the connection.
    Connected(Vec<&'static str>),
    /// The guest runs and its port could not be reached.
    Failed(String),
    /// The guest runs, and has not connected to the address where the line listens.
    Awaits(String),
    /// The guest runs and another program holds its port.
    Held {
        /// Why, and the program, as far as it is known.
        why: String,
        /// Whether that program is disconnected once a client asks for the line.
        clears: bool,
    },
    /// Another process has claimed the line.
    Claimed {
        /// The claim's name.
        name: String,
        /// The program that claimed it, in words.
        why: String,
    },
    /// The server is gone.
    Gone(String),
}

/// The user who changed the pen, and the reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Change {
    pub(crate) by: String,
    pub(crate) cause: Cause,
    pub(crate) reason: Option<String>,
}

/// The explanation of a change: who caused it, the reason, and the cause as programs read it.
struct Why {
    by: Option<String>,
    reason: Option<String>,
    cause: Option<Cause>,
}

/// Why the guest of a connected port reads no input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Halt {
    /// Its CPUs are stopped for this reason, until it resumes.
    Paused(&'static str),
    /// It crashed, and its process was kept.
    Crashed,
}

impl Halt {
    /// The cause, in a few words.
    pub fn why(self) -> &'static str {
        match self {
            Self::Paused(why) => why,
            Self::Crashed => "the guest crashed",
        }
    }

    fn in_words(self) -> String {
        let then = match self {
            Self::Paused(_) => "what is typed waits until it resumes",
            Self::Crashed => "it does not read what is typed until it is started again",
        };
        format!("{}: {then}", self.why())
    }

    fn cause(self) -> Cause {
        match self {
            Self::Paused(_) => Cause::Paused,
            Self::Crashed => Cause::Crashed,
        }
    }
}

impl Status {
    pub(crate) fn new(pen_request_timeout: Duration) -> Self {
        Self {
            connection: Connection::Stopped(ServerStatus::Shutoff),
            halt: None,
            endpoint: None,
            connection_offset: 0,
            epoch: 0,
            epoch_offset: 0,
            holder: None,
            absence: None,
            request: None,
            pen_request_timeout,
            change: None,
            size: None,
            viewers: 0,
            who: Arc::default(),
            is_closed: false,
        }
    }

    /// The messages that `session` needs after it saw `seen`.
    pub(crate) fn changes_since(&self, seen: &Self, session: &Session) -> Vec<ServerMessage> {
        let mut messages = Vec::new();
        if self.connection != seen.connection || self.halt != seen.halt {
            let (state, reason, cause) = self.in_words();
            messages.push(ServerMessage::State { state, reason, cause });
        }
        if self.epoch != seen.epoch {
            messages.push(ServerMessage::Epoch { epoch: self.epoch, offset: self.epoch_offset });
        }
        // A request names who asks, so the holder of the pen is announced first.
        if self.holder != seen.holder
            || self.absence != seen.absence
            || (self.request.is_none() && seen.request.is_some())
        {
            messages.push(self.pen(seen, session));
        }
        if self.request.is_some() && (self.request != seen.request || self.holder != seen.holder) {
            messages.extend(self.request(session));
        }
        if self.size != seen.size && !self.is_held_by(session.id) {
            messages.extend(self.size.map(ServerMessage::Size));
        }
        if self.viewers != seen.viewers
            || self.who != seen.who
            || self.holder != seen.holder
            || self.absence != seen.absence
        {
            messages.push(self.viewers());
        }
        messages
    }

    /// The first messages for a newly attached session.
    pub(crate) fn greeting(&self, session: &Session) -> Vec<ServerMessage> {
        let calm = Self { holder: None, absence: None, request: None, ..self.clone() };
        let mut messages = vec![self.pen(&calm, session)];
        messages.extend(self.request(session));
        messages.push(self.viewers());
        if !self.is_held_by(session.id) {
            messages.extend(self.size.map(ServerMessage::Size));
        }
        messages
    }

    /// The state of the line's connection, in words, and why it does not carry bytes.
    pub(crate) fn in_words(&self) -> (LineState, String, Option<Cause>) {
        let (state, reason) = self.connection.in_words();
        match self.halt.filter(|_| self.connection.is_connected()) {
            Some(halt) => (state, format!("{reason}; {}", halt.in_words()), Some(halt.cause())),
            None => (state, reason, self.connection.cause()),
        }
    }

    /// The grid of the session that writes, where that is another session.
    pub(crate) fn size_of_other(&self, session: SessionId) -> Option<Size> {
        self.size.filter(|_| self.holder.is_some() && !self.is_held_by(session))
    }

    pub(crate) fn is_held_by(&self, session: SessionId) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.session == session)
    }

    /// Seconds until the pen is free, where the holder's client is lost.
    pub(crate) fn free_in(&self) -> Option<u64> {
        self.absence.map(|absence| seconds_until(absence.pen_until))
    }

    /// Seconds since the last sign of life of the holder's client, where it is lost.
    fn seen_ago(&self) -> Option<u64> {
        self.absence.and_then(Absence::seen_ago)
    }

    /// The message about the pen's holder, for a session that saw `seen`.
    fn pen(&self, seen: &Self, session: &Session) -> ServerMessage {
        let holder = self.holder.as_ref();
        let state = match holder {
            Some(_) if seen.is_held_by(session.id) && !self.is_held_by(session.id) => {
                PenState::Lost
            }
            Some(_) => PenState::Held,
            None => PenState::Free,
        };
        let Why { by, reason, cause } = self.why(seen);
        ServerMessage::Pen {
            state,
            session: holder.map(|holder| holder.session),
            holder: holder.map(|holder| holder.user.clone()),
            since: holder.map(|holder| holder.since),
            by,
            reason,
            cause,
            seconds: None,
            free_in: self.free_in(),
            seen_ago: self.seen_ago(),
            own: self.is_held_by_another_of(session),
            can: Vec::new(),
        }
    }

    /// The explanation of the difference between the pen's state and `seen`.
    fn why(&self, seen: &Self) -> Why {
        let same = self.holder == seen.holder;
        match (self.free_in(), &self.change) {
            (Some(seconds), _) => Why {
                by: None,
                reason: Some(lost_connection(seconds)),
                cause: Some(Cause::Detached),
            },
            (None, _) if same && seen.absence.is_some() => {
                Why { by: None, reason: None, cause: Some(Cause::Resumed) }
            }
            (None, Some(Change { by, cause, reason })) => {
                Why { by: Some(by.clone()), reason: reason.clone(), cause: Some(*cause) }
            }
            (None, None) => {
                let left = seen.holder.is_some() && !same;
                Why { by: None, reason: None, cause: left.then_some(Cause::Left) }
            }
        }
    }

    /// Whether another session of the same user holds the pen.
    fn is_held_by_another_of(&self, session: &Session) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.session != session.id && session.is_also(&holder.user))
    }

    /// The message about a request for the pen.
    fn request(&self, session: &Session) -> Option<ServerMessage> {
        self.request.as_ref().map(|request| ServerMessage::Pen {
            state: PenState::Requested,
            session: Some(request.session),
            holder: self.holder.as_ref().map(|holder| holder.user.clone()),
            since: self.holder.as_ref().map(|holder| holder.since),
            by: Some(request.user.clone()),
            reason: request.reason.clone(),
            cause: None,
            seconds: Some(self.pen_request_timeout.as_secs()),
            free_in: self.free_in(),
            seen_ago: self.seen_ago(),
            own: self.is_held_by_another_of(session),
            can: Vec::new(),
        })
    }

    fn viewers(&self) -> ServerMessage {
        let mut who: Vec<Viewer> = self.who.to_vec();
        if let Some(holder) = &self.holder {
            who.retain(|viewer| viewer.session != holder.session);
            let (session, user) = (holder.session, holder.user.clone());
            let detached = self.absence.is_some();
            who.insert(0, Viewer { session, user, mode: Mode::Write, detached });
            who.truncate(VIEWERS);
        }
        ServerMessage::Viewers { count: self.viewers, who }
    }
}

impl Connection {
    /// Whether a running guest's line soon leaves this state: it is connecting for the first time,
    /// or has not yet noticed that the guest runs or that a client asks for it.
    pub(crate) fn is_settling(&self) -> bool {
        matches!(
            self,
            Self::Connecting | Self::Broken(_) | Self::Stopped(_) | Self::Held { clears: true, .. }
        )
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }

    /// The state as the API names it.
    pub(crate) fn state(&self) -> LineState {
        self.in_words().0
    }

    /// The same, and in words.
    fn in_words(&self) -> (LineState, String) {
        match self {
            Self::Stopped(status) => (LineState::Waiting, format!("the server is {status}")),
            Self::Connecting => (LineState::Waiting, "connecting to the guest's port".into()),
            Self::Broken(why) => (LineState::Waiting, format!("reconnecting: {why}")),
            Self::Connected(notes) => {
                (LineState::Connected, [&["connected"], &**notes].concat().join("; "))
            }
            Self::Failed(why)
            | Self::Awaits(why)
            | Self::Held { why, .. }
            | Self::Claimed { why, .. }
            | Self::Gone(why) => (LineState::Failed, why.clone()),
        }
    }

    /// Why bytes do not flow, if so.
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Connected(_) | Self::Connecting => None,
            Self::Stopped(_) => Some(Cause::Stopped),
            Self::Broken(_) | Self::Failed(_) | Self::Awaits(_) => Some(Cause::Unreachable),
            Self::Held { .. } | Self::Claimed { .. } => Some(Cause::Held),
            Self::Gone(_) => Some(Cause::Gone),
        }
    }

    /// Why sessions cannot attach now, if so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Connected(_) => None,
            Self::Connecting | Self::Broken(_) => {
                Some(Refusal::Unreachable("the guest's port does not respond yet".into()))
            }
            Self::Stopped(status) => Some(Refusal::Stopped { status: status.to_string() }),
            Self::Failed(why) | Self::Awaits(why) => Some(Refusal::Unreachable(why.clone())),
            Self::Held { why, .. } | Self::Claimed { why, .. } => Some(Refusal::Held(why.clone())),
            Self::Gone(why) => Some(Refusal::NoSuchLine(why.clone())),
        }
    }

    /// How raw sessions end when the connection changes to this state.
    pub(crate) fn end_of_raw(&self) -> Option<Close> {
        match self {
            Self::Connected(_) => None,
            // The port hung up, and the guest may still run: in this case Nova's proxy says this.
            Self::Connecting => Some(Close::new(CloseCode::Normal, "Target closed")),
            Self::Stopped(status) => {
                Some(Close::new(CloseCode::GuestStopped, format!("the server is {status}")))
            }
            Self::Broken(why)
            | Self::Failed(why)
            | Self::Awaits(why)
            | Self::Held { why, .. }
            | Self::Claimed { why, .. } => Some(Close::new(CloseCode::Unreachable, why.clone())),
            Self::Gone(why) => Some(Close::new(CloseCode::NoSuchLine, why.clone())),
        }
    }
}
