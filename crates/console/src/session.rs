//! A session: one attached client, from the upgrade to the Close frame.
//!
//! One task has one loop for both directions, and neither waits for the other: input is read while
//! the guest accepts it, and output is sent while the client accepts it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use serialproxy_line::Attachment;
use serialproxy_line::Event;
use serialproxy_line::Keyboard;
use serialproxy_line::Wanted;
use serialproxy_metrics as metrics;
use serialproxy_metrics::Direction;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::times::rfc3339;
use serialproxy_proto::work;
use serialproxy_proto::work::Work;
use tokio::task::consume_budget;

use crate::Consoles;
use crate::dialogue::Dialogue;
use crate::keepalive::Keepalive;
use crate::keepalive::KeepaliveEvent;
use crate::record::Recording;
use crate::socket::Heard;
use crate::socket::READ;
use crate::socket::Socket;
use crate::wire::Item;
use crate::wire::Opcode;

/// A session and its connection.
#[derive(Debug)]
pub struct Session {
    socket: Socket,
    attachment: Attachment,
    keyboard: Keyboard,
    protocol: Protocol,
    recording: Option<Recording>,
    consoles: Arc<Consoles>,
}

/// How a connection of a session ended.
enum End {
    /// We ended it, for this reason.
    Closed(Close),
    /// The client sent a Close frame with this code.
    Left(Option<u16>),
    /// The client violated RFC 6455.
    Broken(Close),
    /// The connection was lost.
    Lost,
}

impl End {
    fn in_words(&self) -> &str {
        match self {
            Self::Closed(close) | Self::Broken(close) => &close.reason,
            Self::Left(_) => "the client left",
            Self::Lost => "the connection was lost",
        }
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

impl Session {
    /// A session of a line, over this connection.
    pub fn new(
        consoles: Arc<Consoles>,
        socket: Socket,
        (attachment, keyboard): (Attachment, Keyboard),
        protocol: Protocol,
    ) -> Box<Self> {
        let recording = consoles.recorder.as_ref().map(|recorder| recorder.begin(&keyboard));
        Box::new(Self { socket, attachment, keyboard, protocol, recording, consoles })
    }

    /// Transfers bytes and messages both ways until the session or its connection ends. When `cut`
    /// is done, treats the connection as lost.
    // Boxed, since a future has room for each place to which its data is moved.
    pub async fn run(mut self: Box<Self>, cut: impl Future<Output = ()>) {
        let end = tokio::select! {
            biased;
            Err(end) = self.serve() => end,
            () = cut => End::Lost,
        };
        // Boxed, so that a running session has no room for its end.
        Box::pin(self.end(end)).await;
    }

    async fn end(self: Box<Self>, end: End) {
        let Self { mut socket, attachment, keyboard, recording, .. } = *self;
        if let Some(recording) = recording {
            recording.ended(end.in_words());
        }
        if matches!(end, End::Left(Some(code)) if code == CloseCode::Normal.number()) {
            // With another code, the client may resume.
            keyboard.end(&Close::new(CloseCode::Normal, end.in_words()));
        }
        // The session is detached or ended before its client learns of the end, so that its next
        // connection is accepted.
        drop(attachment);
        match end {
            End::Lost => {}
            End::Left(code) => socket.part(code).await,
            End::Broken(close) | End::Closed(close) => socket.say_goodbye(&close).await,
        }
    }

    async fn serve(&mut self) -> Result<Infallible, End> {
        let mut dialogue = match self.protocol {
            Protocol::Raw => None,
            Protocol::ConsoleV1 => {
                Some(Dialogue::new(&self.consoles, &self.keyboard, self.recording.as_ref()))
            }
        };
        let mut keepalive = Keepalive::new(&self.consoles.timing, self.attachment.limit());
        loop {
            // If one of them is always ready, nothing below yields.
            consume_budget().await;
            let wanted = match self.socket.is_flushed() {
                false => Wanted::End,
                true if Dialogue::lags(dialogue.as_ref(), &self.attachment) => Wanted::Messages,
                true => Wanted::Output,
            };
            let reads = self.keyboard.has_room();
            let turn = self.turn(&mut dialogue, &mut keepalive, wanted, reads).await;
            if !reads {
                // A client whose input is not read cannot give a sign of life.
                keepalive.heard();
                self.keyboard.mark_alive();
            }
            if turn? {
                // Other sessions come first.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for the next event and handles it; returns whether the client may have sent more.
    async fn turn(
        &mut self,
        dialogue: &mut Option<Dialogue>,
        keepalive: &mut Keepalive,
        wanted: Wanted,
        reads: bool,
    ) -> Result<bool, End> {
        tokio::select! {
            event = self.attachment.next(wanted) => {
                work::begin(Work::Session(self.attachment.session()));
                self.show(event)?;
            }
            ready = self.socket.ready(reads) => {
                let (readable, writable) = ready?;
                work::begin(Work::Session(self.attachment.session()));
                if writable {
                    self.socket.flush()?;
                }
                if readable {
                    keepalive.heard();
                    return self.listen(dialogue.as_mut());
                }
            }
            // Boxed where it is needed, since few sessions wait for their guest.
            () = async { Box::pin(self.keyboard.room()).await }, if !reads => {}
            message = Dialogue::answer(dialogue), if wanted != Wanted::End => self.say(&message)?,
            event = keepalive.event() => match event {
                KeepaliveEvent::Ping if wanted != Wanted::End => self.socket.send(Opcode::Ping, b"")?,
                KeepaliveEvent::Silence if reads => {
                    let seconds = self.consoles.timing.grace.as_secs();
                    let reason = format!("idle: no sign of life for {seconds} s");
                    return Err(self.over(CloseCode::Idle, &reason));
                }
                KeepaliveEvent::Unanswered if reads => self.keyboard.fall_silent(),
                KeepaliveEvent::Ping | KeepaliveEvent::Unanswered | KeepaliveEvent::Silence => {}
                KeepaliveEvent::Limit => {
                    let reason = "the console URL has expired";
                    return Err(self.over(CloseCode::SessionLimit, reason));
                }
            },
        }
        Ok(false)
    }

    /// Ends the session for this reason.
    fn over(&self, code: CloseCode, reason: &str) -> End {
        let close = Close::new(code, reason);
        self.keyboard.end(&close);
        End::Closed(close)
    }

    /// From the line to the client; on raw only output.
    fn show(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Output => {
                self.socket.send_output(&self.attachment, self.recording.as_ref())?;
            }
            Event::Replay(bytes) => {
                if let Some(recording) = &self.recording {
                    recording.replayed(bytes.to_vec());
                }
                metrics::SESSION_BYTES.of(Direction::Output).add(bytes.len() as u64);
                self.socket.send(Opcode::Binary, &bytes)?;
            }
            Event::Message(message) if self.protocol == Protocol::ConsoleV1 => {
                self.say(&message)?
            }
            Event::Message(_) => {}
            Event::Ended(close) => return Err(End::Closed(close)),
        }
        Ok(())
    }

    fn say(&mut self, message: &ServerMessage) -> io::Result<()> {
        self.socket.send(Opcode::Text, &in_json(message))
    }

    /// From the client to the line; returns whether there may be more.
    fn listen(&mut self, mut dialogue: Option<&mut Dialogue>) -> Result<bool, End> {
        let (mut spoke, mut typed) = (false, 0);
        let (keyboard, recording) = (&self.keyboard, &self.recording);
        let mut write = |bytes: &[u8]| {
            typed += bytes.len() as u64;
            if let Some(recording) = recording.as_ref().filter(|_| keyboard.writes()) {
                recording.typed(bytes);
            }
            keyboard.write(bytes);
        };
        let heard = self.socket.read(|item| {
            spoke |= matches!(item, Item::Binary(_) | Item::Text(_));
            match (item, &mut dialogue) {
                (Item::Binary(bytes), _) => write(bytes),
                (Item::Text(text), None) => write(text.as_bytes()),
                (Item::Text(text), Some(dialogue)) => dialogue.obey(&text),
                _ => {}
            }
        });
        metrics::SESSION_BYTES.of(Direction::Input).add(typed);
        // Neither the end of a connection nor an automatic response of the client's WebSocket shows
        // that the client has read its `hello`.
        match heard {
            _ if spoke => self.keyboard.heard(),
            Heard::Gone | Heard::Bytes(0) => {}
            _ => self.keyboard.mark_alive(),
        }
        match heard {
            Heard::Bytes(length) => Ok(length == READ),
            Heard::Leave(code) => Err(End::Left(code)),
            Heard::Gone => Err(End::Lost),
            Heard::Broken(close) => Err(End::Broken(close)),
        }
    }
}

/// Tells a client on `console.v1` why it is not attached, in a text that its page shows.
pub async fn refuse(mut socket: Socket, refusal: &Refusal) {
    if let Some(message) = facts(refusal)
        && socket.send(Opcode::Text, &in_json(&message)).is_err()
    {
        return;
    }
    socket.say_goodbye(&refusal.close()).await;
}

/// The facts of a refusal for programs, which do not fit into a Close frame.
fn facts(refusal: &Refusal) -> Option<ServerMessage> {
    let cause = Some(refusal.cause());
    let state =
        |state, reason: &str| ServerMessage::State { state, reason: reason.to_owned(), cause };
    match refusal {
        Refusal::Busy { session, user, since, own, free_in, seen_ago, can } => {
            Some(ServerMessage::Pen {
                state: PenState::Held,
                session: Some(*session),
                holder: Some(user.clone()),
                since: Some(*since),
                by: None,
                reason: Some(format!("since {}", rfc3339(*since))),
                cause,
                seconds: None,
                free_in: *free_in,
                seen_ago: *seen_ago,
                own: *own,
                can: can.clone(),
            })
        }
        Refusal::Stopped { status } | Refusal::Away { status } => {
            Some(state(LineState::Waiting, &format!("the server is {status}")))
        }
        Refusal::Unreachable(why) | Refusal::Held(why) => Some(state(LineState::Failed, why)),
        _ => None,
    }
}

fn in_json(message: &ServerMessage) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}
