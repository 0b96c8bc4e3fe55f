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

use super::Note;
use super::Session;
use super::ended;

/// Takes what the client sends until its connection is gone or it gave no sign of life for the
/// grace time: then the session ends.
pub(super) async fn listen<S>(
    session: &Session,
    keyboard: &Keyboard,
    stream: &mut S,
    notes: &mpsc::Sender<Note>,
) where
    S: Stream<Item = Result<Message, tokio_websockets::Error>> + Unpin,
{
    loop {
        let Ok(message) = tokio::time::timeout(session.timing.grace, stream.next()).await else {
            let seconds = session.timing.grace.as_secs();
            let reason = format!("idle: no sign of life for {seconds} s");
            keyboard.end(&ended(CloseCode::Idle, &reason));
            // The other loop says so and ends the session.
            return std::future::pending().await;
        };
        let Some(Ok(message)) = message else { return };
        if message.is_binary() || (message.is_text() && session.protocol == Protocol::Raw) {
            keyboard.write(message.as_payload()).await;
        } else if let Some(text) = message.as_text() {
            obey(session, keyboard, text, notes).await;
        }
    }
}

/// Does what a control message asks for. One that is not understood is ignored: the client may be
/// newer than we are.
async fn obey(session: &Session, keyboard: &Keyboard, text: &str, notes: &mpsc::Sender<Note>) {
    let refused = match serde_json::from_str(text) {
        Ok(ClientMessage::Ack { offset }) => {
            let _ = notes.send(Note::Shown(offset)).await;
            Ok(())
        }
        Ok(ClientMessage::Pen { action, reason }) => match action {
            PenAction::Request => keyboard.request_pen(session.may, Timestamp::now()),
            PenAction::Force => keyboard.force_pen(reason, Timestamp::now()),
            PenAction::Release => {
                keyboard.release_pen();
                Ok(())
            }
            PenAction::Grant | PenAction::Deny => Err("nobody asked for the pen".into()),
        },
        Ok(_) | Err(_) => Ok(()),
    };
    if let Err(message) = refused {
        let _ = notes.try_send(Note::Say(ServerMessage::Error { message }));
    }
}
