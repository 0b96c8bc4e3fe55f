//! The interface between the API and the compute role: the calls about servers and lines.
//!
//! Everything in it is plain data that serde supports, so that the two can run in different
//! processes without a change on either side. The bytes of a console do not use it; the proxy
//! attaches to lines.

use std::pin::Pin;

use serde::Deserialize;
use serde::Serialize;

use crate::api;
use crate::cause::Cause;
use crate::id::LineKey;
use crate::id::ServerId;
use crate::id::SessionId;
use crate::octets;
use crate::refusal::Refusal;
use crate::script::Awaited;
use crate::script::Sent;
use crate::script::Typing;
use crate::script::Waited;

/// A boxed future, so that the traits can be used as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The answer to a call, or its error.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ComputeError>>;

/// The servers, and their power.
pub trait Servers: std::fmt::Debug + Send + Sync {
    /// A page of the servers, ordered by name, then id. A page that is not full is the last.
    fn servers(&self, page: Page<ServerMark>) -> Answer<'_, api::Servers>;

    /// One server.
    fn server(&self, id: ServerId) -> Answer<'_, api::Server>;

    /// The project of a server, if it is known without asking the server's host: the time for that
    /// would reveal that the server exists.
    fn known_project(&self, _: ServerId) -> Option<String> {
        None
    }

    /// Defines and starts a guest of a project from an image. Its lines are attached before it
    /// runs.
    fn boot(&self, boot: api::Boot, project: String) -> Answer<'_, api::Server>;

    /// Removes a guest that `boot` made, with its disk and its port leases.
    fn delete(&self, id: ServerId) -> Answer<'_, ()>;

    /// Changes a server's power state.
    fn power(&self, id: ServerId, power: Power) -> Answer<'_, ()>;

    /// Gives TCP serial ports to an existing domain, in its persistent XML.
    fn adopt(&self, id: ServerId, adopt: api::Adopt) -> Answer<'_, api::Adopted>;

    /// Reverses [`Self::adopt`]: restores the persistent XML.
    fn unadopt(&self, id: ServerId) -> Answer<'_, api::Server>;
}

/// The lines of the servers, and their sessions.
pub trait LineBook: std::fmt::Debug + Send + Sync {
    /// The console for a token, if it can be attached to now: the server exists and belongs to the
    /// project, has this port and, unless `wait`, runs. A server of another project gets the answer
    /// of one that does not exist, in the same words and after the same time.
    fn open_console(&self, ask: OpenConsole) -> Answer<'_, OpenedConsole>;

    /// The console that Nova's API names by a server and the TCP port on which its hypervisor listens; none
    /// where no serial port of the server is there now. Only the host that has the server knows.
    fn console_at(&self, server: ServerId, tcp: u16) -> Answer<'_, Option<OpenedConsole>> {
        let _ = (server, tcp);
        Box::pin(async { Ok(None) })
    }

    /// A page of the lines, ordered by server and port. A page that is not full is the last.
    fn lines(&self, page: Page<LineKey>) -> Answer<'_, api::Lines>;

    /// One line.
    fn line(&self, line: LineKey) -> Answer<'_, api::Line>;

    /// Bytes of a line's history without a gap: from `from` on or, where that is no longer kept,
    /// from the next kept byte; none where `from` is beyond the end, with the end as their offset.
    fn output(&self, line: LineKey, from: u64, max: usize) -> Answer<'_, Output>;

    /// A line's last boots.
    fn boots(&self, line: LineKey) -> Answer<'_, api::BootList>;

    /// Sends a break.
    fn send_break(&self, line: LineKey) -> Answer<'_, ()>;

    /// Sends a magic SysRq through a line, in the form that its device requires.
    fn sysrq(&self, line: LineKey, key: char) -> Answer<'_, ()>;

    /// Types at a line, in a session of its own that has the pen for that time.
    fn type_at(&self, line: LineKey, typing: Typing) -> Answer<'_, Sent> {
        let _ = (line, typing);
        Box::pin(async { Err(ComputeError::Unsupported("nothing is typed here".into())) })
    }

    /// Waits for output of a line. Dropping the future ends the wait.
    fn wait_at(&self, line: LineKey, awaited: Awaited) -> Answer<'_, Waited> {
        let _ = (line, awaited);
        Box::pin(async { Err(ComputeError::Unsupported("nothing is awaited here".into())) })
    }

    /// The sessions at the servers of a project or, without one, at all servers.
    fn sessions(&self, project: Option<String>) -> Answer<'_, api::Sessions>;

    /// Ends the session that writes to a line, and returns it.
    fn disconnect_writer(&self, line: LineKey, by: Disconnect) -> Answer<'_, api::Writer>;

    /// Ends a session at a line.
    fn disconnect(&self, line: LineKey, session: SessionId, by: Disconnect) -> Answer<'_, ()>;
}

/// Most items of a page.
pub const PAGE: usize = 1000;

/// A part of a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Page<Mark> {
    /// The project of the servers; none means all servers.
    pub project: Option<String>,
    /// The item before the page.
    pub after: Option<Mark>,
    /// Most items; a value above [`PAGE`] counts as [`PAGE`].
    pub limit: usize,
    /// Only lines that changed within this many seconds. Pages of servers do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_within: Option<u64>,
}

impl<Mark: Ord> Page<Mark> {
    /// Whether the page's list contains items of a project.
    pub fn is_of(&self, project: &str) -> bool {
        self.project.as_deref().is_none_or(|own| own == project)
    }

    /// Whether an item comes before this page.
    pub fn is_behind(&self, mark: &Mark) -> bool {
        self.after.as_ref().is_some_and(|after| mark <= after)
    }

    /// Most items of this page.
    pub fn limit(&self) -> usize {
        self.limit.min(PAGE)
    }
}

/// The place of a server in the order of lists.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ServerMark {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: ServerId,
}

impl From<&api::Server> for ServerMark {
    fn from(server: &api::Server) -> Self {
        Self { name: server.name.clone(), id: server.id }
    }
}

/// An action on a server's power.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Start a stopped server.
    Start,
    /// Ask the guest to shut down, and cut its power if it does not in time.
    Stop(api::Stop),
    /// Ask the guest to reboot.
    Reboot,
    /// Press the reset button.
    Reset,
    /// Send a non-maskable interrupt.
    Nmi,
    /// Stop its CPUs.
    Pause,
    /// Let a paused server go on.
    Resume,
}

impl Power {
    /// What is done, in a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop(_) => "stop",
            Self::Reboot => "reboot",
            Self::Reset => "reset",
            Self::Nmi => "nmi",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// A request for a console token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OpenConsole {
    /// Its line.
    pub line: LineKey,
    /// The project whose servers the user sees; none if they see all.
    pub project: Option<String>,
    /// Whether the token may wait for a guest that does not run.
    pub wait: bool,
}

impl OpenConsole {
    /// Whether the user sees the servers of a project.
    pub fn is_for(&self, project: &str) -> bool {
        self.project.as_deref().is_none_or(|own| own == project)
    }
}

/// The console that a token is for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OpenedConsole {
    /// The line.
    pub line: LineKey,
    /// The server's name.
    pub name: String,
    /// Id of the server's present project.
    pub project: String,
}

/// The user who disconnects a session, and the reason.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Disconnect {
    /// The user.
    pub by: String,
    /// In the user's words.
    pub reason: Option<String>,
}

/// A piece of a line's history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Output {
    /// Offset of the first byte.
    pub offset: u64,
    /// The bytes; in JSON as base64.
    #[serde(with = "octets")]
    pub bytes: Vec<u8>,
    /// The offset at the present end of the output.
    pub end: u64,
    /// The line's boot count.
    pub epoch: u64,
    /// The line's id.
    pub line: uuid::Uuid,
}

/// Why the compute role could not execute a call, by remedy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ComputeError {
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The server, port or session does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The present state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The console refuses it, for a cause that programs may need to know.
    #[error("{text}")]
    Refused {
        /// The cause.
        cause: Cause,
        /// In words.
        text: String,
        /// How many bytes were typed before that, where some were.
        typed: Option<u64>,
    },
    /// Not supported by the hypervisor.
    #[error("{0}")]
    Unsupported(String),
    /// The hypervisor or the store cannot be reached; try again.
    #[error("{0}")]
    Unavailable(String),
    /// An internal error of serialproxy or the hypervisor.
    #[error("{0}")]
    Failed(String),
}

impl From<Refusal> for ComputeError {
    fn from(refusal: Refusal) -> Self {
        let (cause, text) = (refusal.cause(), refusal.to_string());
        match refusal {
            Refusal::BadRequest(_) => Self::Invalid(text),
            Refusal::NoSuchLine(_) => Self::NotFound(text),
            // The server has another project now, so it is as unknown as any other.
            Refusal::Token => Self::NotFound("The server could not be found.".into()),
            _ => Self::Refused { cause, text, typed: None },
        }
    }
}

#[cfg(test)]
mod tests;
