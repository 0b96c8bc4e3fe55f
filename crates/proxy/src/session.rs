//! A session: one attached client, from the upgrade to the Close frame.
//!
//! Two loops, one a direction: [`show`] carries the line's output and messages to the client,
//! [`listen`] what the client types and says. Neither waits for the other.

mod deed;
mod listen;
mod show;

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serialproxy_line::Attachment;
use serialproxy_line::Keyboard;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::refusal::rfc3339;
use tokio::sync::mpsc;
use tokio_websockets::Limits;
use tokio_websockets::Message;
use tokio_websockets::ServerBuilder;
use tokio_websockets::WebSocketStream;

use crate::Proxy;

/// Bytes of one message from a client at most; larger ones end the connection with 1009.
const MESSAGE: usize = 1024 * 1024;

/// Bytes that are collected before they are written to the client.
const BATCH: usize = 64 * 1024;

/// How long a client has to take its Close frame, and again to answer it.
const GOODBYE: Duration = Duration::from_secs(1);

/// Answers to a client's requests that wait to be sent at most; more are dropped.
const NOTES: usize = 16;

/// An upgraded connection.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What a session is held to.
pub(crate) struct Session {
    pub(crate) protocol: Protocol,
    pub(crate) timing: serialproxy_config::values::Session,
    pub(crate) proxy: Arc<Proxy>,
}

/// What [`listen`] has for [`show`].
enum Note {
    /// The client has shown all output up to this offset.
    Shown(u64),
    /// Something to say to the client; boxed, since a channel has room for many from the start.
    Say(Box<ServerMessage>),
}

/// How a connection of a session ended.
enum End {
    /// We end it, for this reason.
    Closed(Close),
    /// The client took its leave.
    Left,
    /// It is gone without a word, or with the word that the client may come back.
    Lost,
}

pub(crate) fn open(connection: Upgraded) -> Socket {
    ServerBuilder::new()
        .limits(Limits::default().max_payload_len(Some(MESSAGE)))
        .config(tokio_websockets::Config::default().flush_threshold(BATCH))
        .serve(TokioIo::new(connection))
}

impl Session {
    pub(crate) async fn run(self, socket: Socket, mut attachment: Attachment, keyboard: Keyboard) {
        let (mut sink, mut stream) = socket.split();
        let (notes, mut noted) = mpsc::channel(NOTES);
        let session = Arc::new(self);
        let end = tokio::select! {
            // The line's reason for the end says more than a connection that broke.
            biased;
            close = show::show(&session, &mut attachment, &mut sink, &mut noted) => {
                close.map_or(End::Lost, End::Closed)
            }
            end = listen::listen(&session, &keyboard, &mut stream, &notes) => end,
        };
        match end {
            End::Lost => attachment.detach(),
            End::Left => drop(attachment),
            End::Closed(close) => {
                // The session is over before its client hears of it: who comes next gets in.
                drop(attachment);
                if let Ok(mut socket) = sink.reunite(stream) {
                    say_goodbye(&mut socket, &close).await;
                }
            }
        }
    }
}

/// Tells a client on `console.v1` why it is not attached, in words that its page shows.
pub(crate) async fn refuse(mut socket: Socket, refusal: &Refusal) {
    if let Refusal::Busy { session, user, since } = refusal {
        let held = ServerMessage::Pen {
            state: PenState::Held,
            session: Some(*session),
            holder: Some(user.clone()),
            by: None,
            reason: Some(format!("since {}", rfc3339(*since))),
            seconds: None,
        };
        if let Some(message) = text(&held) {
            let _ = tokio::time::timeout(GOODBYE, socket.send(message)).await;
        }
    }
    say_goodbye(&mut socket, &refusal.close()).await;
}

/// Sends the Close frame and waits for the client's, both for a bounded time: a connection that is
/// shut with bytes unread would be reset, and the reset could overtake the reason.
async fn say_goodbye(socket: &mut Socket, close: &Close) {
    let code = tokio_websockets::CloseCode::try_from(close.code.number())
        .unwrap_or(tokio_websockets::CloseCode::INTERNAL_SERVER_ERROR);
    let message = Message::close(Some(code), close.wire_reason());
    let sent = tokio::time::timeout(GOODBYE, socket.send(message)).await;
    if matches!(sent, Ok(Ok(()))) {
        let answered = async { while let Some(Ok(_)) = socket.next().await {} };
        let _ = tokio::time::timeout(GOODBYE, answered).await;
    }
}

fn text(message: &ServerMessage) -> Option<Message> {
    serde_json::to_string(message).ok().map(Message::text)
}

fn ended(code: CloseCode, reason: &str) -> Close {
    Close::new(code, reason)
}
