//! A session at the console of a local line, from the upgraded connection to its end: frames, what is
//! said beside the bytes, signs of life, and the recording.
//!
//! ```text
//!   Stream ─▶ Socket (wire) ─▶ Session ─┬─ bytes ──▶ Keyboard, Attachment (line)
//!                                │      └─ words ──▶ Dialogue ─▶ GuestCommands ─▶ Host
//!                                └─ Keepalive, Recording
//! ```

mod dialogue;
#[doc(hidden)]
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guest_command;
mod keepalive;
mod record;
mod session;
mod socket;
mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serialproxy_config::Config;
use serialproxy_config::values;
use serialproxy_grants::Grants;
use serialproxy_limits::Meter;
use serialproxy_proto::bounds::RATE;
use serialproxy_proto::bounds::RATE_SECONDS;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::token::Grant;

use crate::record::Recorder;
pub use crate::session::Session;
pub use crate::session::refuse;
pub use crate::socket::Socket;
pub use crate::wire::close_frame;

/// What the sessions of a process have in common.
#[derive(Debug)]
pub struct Consoles {
    timing: values::Session,
    /// How long a link lets others watch.
    token_ttl: Duration,
    console_url: String,
    /// Counts what sessions on `console.v1` say.
    messages: Meter,
    /// Where sessions are recorded; none where they are not.
    recorder: Option<Recorder>,
    host: Option<Host>,
}

/// Who does what a session asks for beside typing.
#[derive(Clone, Debug)]
pub struct Host {
    /// Tokens; makes links for those who are to watch, on one machine.
    pub grants: Grants,
    /// Controls the guests' power.
    pub servers: Arc<dyn Servers>,
    /// Sends what is no input to their ports.
    pub lines: Arc<dyn LineBook>,
    /// What it is in a cluster; none on one machine.
    pub cluster: Option<Membership>,
}

impl Host {
    /// The only host.
    pub fn alone(grants: Grants, compute: &Arc<impl Servers + LineBook + 'static>) -> Self {
        Self { grants, servers: compute.clone(), lines: compute.clone(), cluster: None }
    }
}

/// A host of a cluster, which may not write grants itself.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Its name: tokens that it asked for are good here alone.
    pub name: String,
    /// Who makes links for those who are to watch.
    pub links: Arc<dyn WatchLinks>,
}

/// Has links made by those who may.
pub trait WatchLinks: fmt::Debug + Send + Sync {
    /// The URL of a link that stands for this grant, or why there is none, for the log.
    fn link(&self, grant: Grant) -> BoxFuture<'_, Result<String, String>>;
}

impl Consoles {
    /// Without a host there are lines alone: its guests are another program's.
    ///
    /// # Errors
    ///
    /// When sessions are to be recorded, and nothing can be written there.
    pub fn new(config: &Config, host: Option<Host>) -> io::Result<Self> {
        Ok(Self {
            timing: config.session,
            token_ttl: config.consoleauth.token_ttl,
            console_url: config.serial_console.console_url(),
            messages: Meter::new(RATE, Duration::from_secs(RATE_SECONDS), Duration::ZERO),
            recorder: Recorder::start(&config.serial_console.record)?,
            host,
        })
    }

    /// Waits until recordings are written as far as sessions have come.
    pub async fn flush_recordings(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.flush().await;
        }
    }
}
