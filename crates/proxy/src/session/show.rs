//! From the line to the client.

use std::time::Duration;

use futures_util::Sink;
use futures_util::SinkExt;
use jiff::Timestamp;
use serialproxy_line::Attachment;
use serialproxy_line::Event;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tokio_websockets::Message;

use super::Note;
use super::Session;
use super::ended;
use super::text;

/// Bytes that a client which acknowledges may have unshown; then it gets no more until it has
/// caught up, and what the history lets go meanwhile is a stated gap.
const UNSHOWN: u64 = 512 * 1024;

/// Carries output until the session ends; none when the connection is gone.
pub(super) async fn show<S>(
    session: &Session,
    attachment: &mut Attachment,
    sink: &mut S,
    notes: &mut mpsc::Receiver<Note>,
) -> Option<Close>
where
    S: Sink<Message> + Unpin,
{
    let mut ping = tokio::time::interval_at(
        Instant::now() + session.timing.ping_interval,
        session.timing.ping_interval,
    );
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let limit = attachment.limit().map(deadline);
    let mut shown: Option<u64> = None;
    loop {
        let caught_up = shown.is_none_or(|shown| attachment.offset() < shown + UNSHOWN);
        let message = tokio::select! {
            note = notes.recv() => match note {
                Some(Note::Shown(offset)) => {
                    shown = Some(offset);
                    continue;
                }
                Some(Note::Say(message)) => text(&message),
                None => return None,
            },
            event = attachment.next(caught_up) => match frame(session.protocol, event) {
                Ok(message) => message,
                Err(close) => return Some(close),
            },
            _ = ping.tick() => Some(Message::ping(&b""[..])),
            () = sleep_until(limit), if limit.is_some() => {
                return Some(ended(CloseCode::SessionLimit, "the console URL has expired"));
            }
        };
        let Some(message) = message else { continue };
        let sent = tokio::select! {
            sent = sink.send(message) => sent.is_ok(),
            // A client that takes nothing must not outlive the end of its session.
            close = attachment.ended() => return Some(close),
        };
        if !sent {
            return None;
        }
    }
}

/// What an event is on the wire; on raw only output is.
fn frame(protocol: Protocol, event: Event) -> Result<Option<Message>, Close> {
    match event {
        Event::Output(bytes) => Ok(Some(Message::binary(bytes))),
        Event::Message(message) => match protocol {
            Protocol::ConsoleV1 => Ok(text(&message)),
            Protocol::Raw => Ok(None),
        },
        Event::Ended(close) => Err(close),
    }
}

fn deadline(limit: Timestamp) -> Instant {
    let left = Timestamp::now().duration_until(limit);
    Instant::now() + Duration::try_from(left).unwrap_or(Duration::ZERO)
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}
