//! A session at the console of a local line, from the upgraded connection to its end: frames,
//! control messages, keepalive, and the recording.
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
mod links;
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

pub use crate::links::end_with_links;
use crate::record::Recorder;
pub use crate::session::Session;
pub use crate::session::refuse;
pub use crate::socket::Socket;
pub use crate::wire::close_frame;

/// The state that the sessions of a process share.
#[derive(Debug)]
pub struct Consoles {
    timing: values::Session,
    /// How long a link for watching is valid.
    token_ttl: Duration,
    console_url: String,
    /// Limits the control messages of sessions on `console.v1`.
    messages: Meter,
    /// Records sessions; none where they are not recorded.
    recorder: Option<Recorder>,
    host: Option<Host>,
}

/// The services for requests of a session besides typing.
#[derive(Clone, Debug)]
pub struct Host {
    /// Tokens. On a single machine, it also makes links for watching.
    pub grants: Grants,
    /// Controls the guests' power.
    pub servers: Arc<dyn Servers>,
    /// Sends breaks and SysRq to their ports.
    pub lines: Arc<dyn LineBook>,
    /// This host in its cluster; none on a single machine.
    pub cluster: Option<Membership>,
}

impl Host {
    /// A single machine.
    pub fn alone(grants: Grants, compute: &Arc<impl Servers + LineBook + 'static>) -> Self {
        Self { grants, servers: compute.clone(), lines: compute.clone(), cluster: None }
    }
}

/// A host of a cluster, which may not write grants itself.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Its name. Tokens that it requested are valid only here.
    pub name: String,
    /// Makes links for watching.
    pub links: Arc<dyn WatchLinks>,
}

/// Requests links from a host that may make them.
pub trait WatchLinks: fmt::Debug + Send + Sync {
    /// The URL of a link with this grant, or the error, for the log.
    fn link(&self, grant: Grant) -> BoxFuture<'_, Result<String, String>>;
}

impl Consoles {
    /// Without a host there are only lines, because another program controls the guests.
    ///
    /// # Errors
    ///
    /// When sessions must be recorded, but the recordings cannot be written.
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

    /// Waits until recordings are written up to now.
    pub async fn flush_recordings(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.flush().await;
        }
    }
}
