//! Typing for scripts: a session of its own, for as long as the guest takes its bytes.

use std::time::Duration;

use jiff::Timestamp;
use serialproxy_limits::Source;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::script::Sent;
use serialproxy_proto::script::TYPED;
use serialproxy_proto::script::Typing;
use serialproxy_proto::times::rfc3339;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use tokio::time::Instant;
use tokio::time::sleep;
use uuid::Uuid;

use crate::line::Line;
use crate::session::Session;
use crate::visitor::Start;
use crate::visitor::Visitor;

/// How long a line that is connecting is waited for.
const CONNECTED: Duration = Duration::from_secs(2);

/// How long the guest may take: a UART of 9600 baud takes about 64 KiB in this time.
const TAKEN: Duration = Duration::from_secs(70);

/// How often it is tried to type more while the guest does not take it. In this time, a UART takes a
/// fraction of what may be in flight.
const AGAIN: Duration = Duration::from_millis(5);

impl Line {
    /// Types, and returns when all bytes were written to the hypervisor. What the guest has not taken
    /// when the future is dropped is not typed.
    ///
    /// # Errors
    ///
    /// Where [`Self::attach`] refuses; and with the number of bytes that were typed before, where
    /// somebody takes over, the connection to the guest ends, or the guest takes too long.
    pub async fn send(&self, typing: &Typing) -> Result<Sent, ComputeError> {
        let bytes = typing.bytes.as_slice();
        if bytes.is_empty() || bytes.len() > TYPED {
            let text = format!("a call types 1 to {TYPED} bytes");
            return Err(ComputeError::Invalid(text));
        }
        if self.is_connecting() {
            self.connected(CONNECTED).await;
        }
        if !self.0.settings.audit.admits() {
            return Err(Refusal::Audit.into());
        }
        let (attachment, keyboard) = self.attach(&visitor(typing))?;
        let (offset, session) = (attachment.offset(), &keyboard.session);
        let deadline = Instant::now() + TAKEN;
        let mut typed = 0;
        while let Some(rest) = bytes.get(typed..).filter(|rest| !rest.is_empty()) {
            // It reads no output, so none needs to be kept for it.
            attachment.take(|pieces| pieces.iter().map(|piece| piece.length()).sum());
            match self.0.input.type_now(session, rest) {
                None => return Err(self.interrupted(session, typed, bytes.len())),
                Some(0) if Instant::now() >= deadline => {
                    return Err(unread(typed, bytes.len()));
                }
                Some(0) => sleep(AGAIN).await,
                Some(written) => {
                    typed += written;
                    tokio::task::yield_now().await;
                }
            }
        }
        keyboard.end(&Close::new(CloseCode::Normal, "all was typed"));
        let epoch = self.0.news.now().epoch;
        Ok(Sent { typed: typed as u64, offset, epoch, line: self.0.id })
    }

    /// Why a session could not type the rest.
    fn interrupted(&self, session: &Session, typed: usize, all: usize) -> ComputeError {
        let end = session.progress().end.clone();
        let holder = self.0.input.desk().pen().holder().cloned();
        let other = holder.filter(|holder| holder.session != session.id);
        let (cause, why) = match (other, end) {
            (Some(other), _) => {
                (Cause::Busy, format!("busy: {} since {}", other.user, rfc3339(other.since)))
            }
            (None, Some(close)) => (close.code.cause(), close.reason),
            (None, None) => (Cause::Unreachable, "the connection to the guest ended".to_owned()),
        };
        part(cause, &why, typed, all)
    }
}

fn unread(typed: usize, all: usize) -> ComputeError {
    let why = format!("the guest does not read what is typed, within {} s", TAKEN.as_secs());
    part(Cause::Unreachable, &why, typed, all)
}

fn part(cause: Cause, why: &str, typed: usize, all: usize) -> ComputeError {
    let text = format!("{why}: {typed} of {all} bytes were typed");
    ComputeError::Refused { cause, text, typed: Some(typed as u64) }
}

/// The session that types. It is raw, so it ends with its call, and with the guest's connection.
fn visitor(typing: &Typing) -> Visitor {
    Visitor {
        project: Some(typing.project.clone()),
        // It has no token: it counts alone.
        token: TokenDigest::of(&Uuid::new_v4().to_string()),
        link: None,
        user: typing.user.clone(),
        mode: Mode::Write,
        yields: false,
        may: Mode::Write,
        operator: false,
        wait: false,
        limit: None,
        protocol: Protocol::Raw,
        address: typing.address.to_string(),
        source: Some(Source::from(typing.address)),
        start: Start::Live,
        now: Timestamp::now(),
    }
}
