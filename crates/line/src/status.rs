//! What a line tells everyone who is attached, and how a session learns what changed.

use serialproxy_proto::api::EndpointInfo;
use serialproxy_proto::api::Status as ServerStatus;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::pen::Holder;
use serialproxy_proto::refusal::Refusal;

/// The whole of it. A session compares what it saw last with what is now, so nothing queues up.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) connection: Connection,
    pub(crate) endpoint: Option<EndpointInfo>,
    pub(crate) epoch: u64,
    pub(crate) epoch_offset: u64,
    pub(crate) holder: Option<Holder>,
    pub(crate) handover: Option<Handover>,
    pub(crate) viewers: u64,
}

/// The line's connection to its guest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Connection {
    /// The guest does not run.
    Stopped(ServerStatus),
    /// The guest runs and is being dialled for the first time.
    Dialling,
    /// Bytes flow.
    Connected,
    /// The guest runs and its port could not be reached.
    Failed(String),
    /// The server is gone.
    Gone(String),
}

/// Why the pen changed hands by force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Handover {
    pub(crate) by: String,
    pub(crate) reason: Option<String>,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self {
            connection: Connection::Stopped(ServerStatus::Shutoff),
            endpoint: None,
            epoch: 0,
            epoch_offset: 0,
            holder: None,
            handover: None,
            viewers: 0,
        }
    }

    /// What `session`, which saw `seen` last, has to be told.
    pub(crate) fn changes_since(&self, seen: &Self, session: SessionId) -> Vec<ServerMessage> {
        let mut messages = Vec::new();
        if self.connection != seen.connection {
            let (state, reason) = self.connection.in_words();
            messages.push(ServerMessage::State { state, reason });
        }
        if self.epoch != seen.epoch {
            messages.push(ServerMessage::Epoch { epoch: self.epoch, offset: self.epoch_offset });
        }
        if self.holder != seen.holder {
            messages.push(self.pen(seen, session));
        }
        if self.viewers != seen.viewers {
            messages.push(ServerMessage::Viewers { count: self.viewers, who: Vec::new() });
        }
        messages
    }

    /// How the pen stands, for a session that saw it otherwise.
    fn pen(&self, seen: &Self, session: SessionId) -> ServerMessage {
        let had_it = seen.holder.as_ref().is_some_and(|holder| holder.session == session);
        let state = match &self.holder {
            _ if had_it && self.handover.is_some() => PenState::Lost,
            Some(_) => PenState::Held,
            None => PenState::Free,
        };
        ServerMessage::Pen {
            state,
            session: self.holder.as_ref().map(|holder| holder.session),
            holder: self.holder.as_ref().map(|holder| holder.user.clone()),
            by: self.handover.as_ref().map(|handover| handover.by.clone()),
            reason: self.handover.as_ref().and_then(|handover| handover.reason.clone()),
        }
    }
}

impl Connection {
    /// Whether a running guest's line soon leaves this state: it is dialled for the first time,
    /// or has yet to take note that the guest runs.
    pub(crate) fn is_settling(&self) -> bool {
        matches!(self, Self::Dialling | Self::Stopped(_))
    }

    /// The state as the contract names it, and in words.
    pub(crate) fn in_words(&self) -> (LineState, String) {
        match self {
            Self::Stopped(status) => (LineState::Waiting, format!("the server is {status}")),
            Self::Dialling => (LineState::Waiting, "connecting to the guest's port".into()),
            Self::Connected => (LineState::Connected, "connected".into()),
            Self::Failed(why) => (LineState::Failed, why.clone()),
            Self::Gone(why) => (LineState::Failed, why.clone()),
        }
    }

    /// Why nobody can attach to the bytes now, if so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Connected => None,
            Self::Dialling => {
                Some(Refusal::Unreachable("the guest's port does not answer yet".into()))
            }
            Self::Stopped(status) => Some(Refusal::Stopped { status: status.to_string() }),
            Self::Failed(why) => Some(Refusal::Unreachable(why.clone())),
            Self::Gone(why) => Some(Refusal::NoSuchLine(why.clone())),
        }
    }

    /// How a raw session ends when the connection becomes this.
    pub(crate) fn end_of_raw(&self) -> Option<Close> {
        match self {
            Self::Connected => None,
            // The other side hung up and the guest may still run: what Nova's proxy says then.
            Self::Dialling => Some(Close::new(CloseCode::Normal, "Target closed")),
            Self::Stopped(status) => {
                Some(Close::new(CloseCode::GuestStopped, format!("the server is {status}")))
            }
            Self::Failed(why) => Some(Close::new(CloseCode::Unreachable, why.clone())),
            Self::Gone(why) => Some(Close::new(CloseCode::NoSuchLine, why.clone())),
        }
    }
}
