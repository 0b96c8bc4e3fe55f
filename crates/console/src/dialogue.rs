//! The control messages of a `console.v1` client.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serialproxy_line::Attachment;
use serialproxy_line::Keyboard;
use serialproxy_proto::bounds::GRID;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::Size;
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::Consoles;
use crate::guest_command::GuestCommand;
use crate::guest_command::GuestCommands;
use crate::record::Recorded;
use crate::record::Recording;

/// How many bytes a client that acknowledges may not have shown yet. Beyond that it gets no output
/// until it has caught up; output that the history drops meanwhile is announced as a gap.
const UNSHOWN: u64 = 512 * 1024;

/// Most answers that wait to be sent; more are dropped.
const ANSWERS: usize = 16;

pub(crate) struct Dialogue {
    consoles: Arc<Consoles>,
    keyboard: Keyboard,
    commands: GuestCommands,
    answers: mpsc::Sender<Box<ServerMessage>>,
    answered: mpsc::Receiver<Box<ServerMessage>>,
    /// The client has shown all output up to this offset; none until it acknowledges.
    shown: Option<u64>,
    recording: Option<Recording>,
    recorded: Option<watch::Receiver<Recorded>>,
}

impl Dialogue {
    pub(crate) fn new(
        consoles: &Arc<Consoles>,
        keyboard: &Keyboard,
        recording: Option<&Recording>,
    ) -> Self {
        // Boxed, since a channel allocates room for many messages at once.
        let (answers, answered) = mpsc::channel(ANSWERS);
        let commands = GuestCommands::new(consoles, keyboard, &answers);
        let recorded = recording.map(Recording::recorded);
        let (consoles, keyboard) = (Arc::clone(consoles), keyboard.clone());
        let recording = recording.cloned();
        Self { consoles, keyboard, commands, answers, answered, shown: None, recording, recorded }
    }

    /// Whether the client has too much output to show, so that it gets no more now.
    pub(crate) fn lags(dialogue: Option<&Self>, attachment: &Attachment) -> bool {
        let shown = dialogue.and_then(|dialogue| dialogue.shown);
        shown.is_some_and(|shown| attachment.offset().saturating_sub(shown) >= UNSHOWN)
    }

    /// Waits for the next answer or notice; forever on raw, which has no messages.
    pub(crate) async fn answer(dialogue: &mut Option<Self>) -> Box<ServerMessage> {
        let Some(Self { answered, recorded, .. }) = dialogue else {
            return std::future::pending().await;
        };
        tokio::select! {
            Some(answer) = answered.recv() => answer,
            // Boxed where it is needed, since few sessions are recorded.
            message = async { Box::pin(changed(recorded)).await }, if recorded.is_some() => {
                Box::new(ServerMessage::Notice { message: message.into() })
            }
        }
    }

    /// Does what a control message requests, or answers with an error. Ignores a message of unknown
    /// type, since the client may be newer than this program.
    pub(crate) fn obey(&mut self, text: &str) {
        if let Err(message) = ClientMessage::read(text).and_then(|message| self.follow(message)) {
            self.say(ServerMessage::Error { message });
        }
    }

    fn follow(&mut self, message: ClientMessage) -> Result<(), String> {
        if !matches!(message, ClientMessage::Ack { .. } | ClientMessage::Input { .. }) {
            self.allow()?;
        }
        match message {
            ClientMessage::Ack { offset } => {
                self.keyboard.shown(offset)?;
                self.shown = Some(offset);
            }
            ClientMessage::Input { offset } => self.keyboard.begin_at(offset)?,
            ClientMessage::Pen { action, reason } => self.pen(action, reason)?,
            ClientMessage::Size(size) => self.resize(size)?,
            ClientMessage::Break => self.commands.start(GuestCommand::Break)?,
            ClientMessage::Sysrq { key } => self.commands.start(GuestCommand::Sysrq(key))?,
            ClientMessage::Power { action } => self.commands.start(GuestCommand::Power(action))?,
            ClientMessage::Link => self.commands.link()?,
            ClientMessage::Ping { id } => self.say(ServerMessage::Pong { id }),
            ClientMessage::Boots => self.say(ServerMessage::Boots(self.keyboard.boots())),
            ClientMessage::Times { from, to } => {
                self.say(ServerMessage::Times(self.keyboard.times(from, to)));
            }
            ClientMessage::Unknown => {}
        }
        Ok(())
    }

    /// Counts a message that others are told of, or that takes time.
    fn allow(&self) -> Result<(), String> {
        let wait = self.consoles.messages.count(&self.keyboard.session(), Instant::now());
        if wait.is_zero() { Ok(()) } else { Err("too many messages: wait a moment".into()) }
    }

    /// Sets the client's grid, reduced to the maximum.
    fn resize(&self, size: Size) -> Result<(), String> {
        let (asked, size) = (size, size.clamped());
        if let Some(recording) = &self.recording {
            recording.resized(size);
        }
        self.keyboard.resize(size);
        match size == asked {
            true => Ok(()),
            false => Err(format!("a grid has at most {GRID} rows and columns")),
        }
    }

    fn pen(&self, action: PenAction, reason: Option<String>) -> Result<(), String> {
        let now = Timestamp::now();
        match action {
            PenAction::Request => self.keyboard.request_pen(reason.as_deref(), now),
            PenAction::Take => self.keyboard.take_pen(now),
            PenAction::Force => self.keyboard.force_pen(reason, now),
            PenAction::Grant => self.keyboard.grant_pen(now),
            PenAction::Deny => self.keyboard.deny_pen(reason.as_deref()),
            PenAction::Release => {
                self.keyboard.release_pen(now);
                Ok(())
            }
        }
    }

    fn say(&self, message: ServerMessage) {
        let _ = self.answers.try_send(Box::new(message));
    }
}

/// Waits until the state of the session's recording changes; returns the notice for its user.
async fn changed(recorded: &mut Option<watch::Receiver<Recorded>>) -> &'static str {
    let Some(recorded) = recorded else { return std::future::pending().await };
    if recorded.changed().await.is_err() {
        return std::future::pending().await;
    }
    match *recorded.borrow_and_update() {
        Recorded::Yes => "this session is recorded again",
        Recorded::Failing => "this session is not recorded: the server cannot write its recording",
        Recorded::Full => "the output of this session is no longer recorded: its recording is full",
    }
}
