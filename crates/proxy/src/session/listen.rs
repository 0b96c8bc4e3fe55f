//! From the client to the line.

use futures_util::Stream;
use futures_util::StreamExt;
use jiff::Timestamp;
use serialproxy_line::Keyboard;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::ServerMessage;
use tokio::sync::mpsc;
use tokio_websockets::Message;

use super::End;
use super::Note;
use super::Session;
use super::deed::Deed;
use super::deed::Deeds;
use super::ended;

/// Takes what the client sends until its connection is gone or it gave no sign of life for the
/// grace time: then the session ends.
pub(super) async fn listen<S>(
    session: &Session,
    keyboard: &Keyboard,
    stream: &mut S,
    notes: &mpsc::Sender<Note>,
) -> End
where
    S: Stream<Item = Result<Message, tokio_websockets::Error>> + Unpin,
{
    let deeds = Deeds::new(&session.proxy, keyboard, notes);
    loop {
        let Ok(message) = tokio::time::timeout(session.timing.grace, stream.next()).await else {
            let seconds = session.timing.grace.as_secs();
            let reason = format!("idle: no sign of life for {seconds} s");
            keyboard.end(&ended(CloseCode::Idle, &reason));
            // The other loop says so and ends the session.
            return std::future::pending().await;
        };
        let Some(Ok(message)) = message else { return End::Lost };
        keyboard.stir();
        if message.is_binary() || (message.is_text() && session.protocol == Protocol::Raw) {
            keyboard.write(message.as_payload()).await;
        } else if let Some(text) = message.as_text() {
            if let Err(message) = obey(keyboard, &deeds, text, notes).await {
                let _ = notes.try_send(Note::Say(Box::new(ServerMessage::Error { message })));
            }
        } else if let Some((code, _)) = message.as_close() {
            let left = code == tokio_websockets::CloseCode::NORMAL_CLOSURE;
            return if left { End::Left } else { End::Lost };
        }
    }
}

/// Does what a control message asks for, or says in words why not. One that is not understood is
/// ignored: the client may be newer than we are.
async fn obey(
    keyboard: &Keyboard,
    deeds: &Deeds,
    text: &str,
    notes: &mpsc::Sender<Note>,
) -> Result<(), String> {
    let Ok(message) = serde_json::from_str(text) else { return Ok(()) };
    match message {
        ClientMessage::Ack { offset } => {
            let _ = notes.send(Note::Shown(offset)).await;
        }
        ClientMessage::Input { offset } => keyboard.begin_at(offset)?,
        ClientMessage::Pen { action, reason } => pen(keyboard, action, reason)?,
        ClientMessage::Size(size) => keyboard.resize(size),
        ClientMessage::Break => deeds.start(Deed::Break)?,
        ClientMessage::Sysrq { key } => deeds.start(Deed::Sysrq(key))?,
        ClientMessage::Power { action } => deeds.start(Deed::Power(action))?,
        ClientMessage::Link => deeds.link().await?,
        ClientMessage::Ping { id } => {
            let _ = notes.try_send(Note::Say(Box::new(ServerMessage::Pong { id })));
        }
        ClientMessage::Unknown => {}
    }
    Ok(())
}

fn pen(keyboard: &Keyboard, action: PenAction, reason: Option<String>) -> Result<(), String> {
    let now = Timestamp::now();
    match action {
        PenAction::Request => keyboard.request_pen(reason.as_deref(), now),
        PenAction::Force => keyboard.force_pen(reason, now),
        PenAction::Grant => keyboard.grant_pen(now),
        PenAction::Deny => keyboard.deny_pen(reason.as_deref()),
        PenAction::Release => {
            keyboard.release_pen(now);
            Ok(())
        }
    }
}
