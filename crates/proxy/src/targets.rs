//! The ports of the servers of a real Nova. Nova's tokens name a host and a port. Each server has one line
//! here, which connects to the port of the newest token, and closes it when it was unused for a while.
//!
//! Nova's API does not say whether a port still belongs to the server, and its tokens outlive a stop, after
//! which the port may belong to another server. So the line reconnects to a closed port only while the server
//! is unchanged, and a token that was used here before a change of the server is refused after it.
//!
//! Of several proxies in front of a Nova, one owns a port (`Owners`); the others pass users on to it.

mod target;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use serialproxy_config::Config;
use serialproxy_limits::seldom;
use serialproxy_line::Expected;
use serialproxy_line::Keyboard;
use serialproxy_line::Lines;
use serialproxy_line::Unresolved;
use serialproxy_openstack as openstack;
use serialproxy_openstack::Nova;
use serialproxy_openstack::Unavailable;
use serialproxy_proto::api::Status;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Mode;
use tokio::time::Instant;

use crate::console::Console;
use crate::console::Source;
use crate::hosts::Owners;
use crate::hosts::Reach;
use crate::hosts::Taken;
use crate::located::Located;
use crate::located::Offer;
use crate::obstacle::obstacle;
use crate::shown::Shown;
use crate::targets::target::Target;

/// Maximum number of lines. Each holds a history and a file descriptor.
const LINES: usize = 4096;

/// Minimum time for which a used console token is remembered: longer than tokens are valid, unless `token_ttl` is
/// longer.
const MEMORY: Duration = Duration::from_secs(3600);

/// Timeout for the questions of one attach to Nova, the login at Keystone included.
const ANSWER: Duration = Duration::from_secs(15);

/// Bounds of the interval at which Nova is asked whether the token of a live session is still valid.
const EXPIRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// Interval at which unused lines are looked for.
const LOOK: Duration = Duration::from_secs(5);

/// All servers whose consoles were used here recently.
#[derive(Debug)]
pub struct Targets {
    nova: Arc<Nova>,
    /// The other proxies, if there are any.
    owners: Option<Arc<dyn Owners>>,
    lines: Lines,
    /// How long an unused line keeps its port.
    idle: Duration,
    /// Interval at which Nova is asked about a session's token: the session ends at most a tenth of the token's
    /// lifetime late.
    expiry: Duration,
    all: Mutex<BTreeMap<ServerId, Arc<Target>>>,
    /// The tokens that were used here.
    shown: Mutex<Shown>,
    memory: Duration,
}

impl Targets {
    /// The consoles of this Nova, on these lines; `owners` if other proxies share them.
    pub fn new(nova: Nova, owners: Option<Arc<dyn Owners>>, lines: Lines, config: &Config) -> Self {
        let expiry = (config.consoleauth.token_ttl / 10).clamp(*EXPIRY.start(), *EXPIRY.end());
        Self {
            nova: Arc::new(nova),
            owners,
            lines,
            idle: config.session.grace,
            expiry,
            all: Mutex::default(),
            shown: Mutex::default(),
            memory: MEMORY.max(config.consoleauth.token_ttl),
        }
    }

    /// Asks Nova what a token stands for, and whether the server's state allows an attach.
    pub(crate) async fn look_up(&self, token: &ConsoleToken) -> Result<Console, Refusal> {
        match tokio::time::timeout(ANSWER, self.ask(token)).await {
            Ok(answer) => answer,
            Err(_) => Err(unavailable(&"Nova and Keystone are slow")),
        }
    }

    async fn ask(&self, token: &ConsoleToken) -> Result<Console, Refusal> {
        let console = self.nova.console(token).await.map_err(|error| unavailable(&error))?;
        let console = console.ok_or(Refusal::Token)?;
        let server = self.nova.server(console.server).await.map_err(|error| unavailable(&error))?;
        let server = server.ok_or(Refusal::Token)?;
        let unchanged =
            lock(&self.shown).note(token.digest(), console.server, server.updated.as_ref());
        obstacle(&server).map_or(Ok(()), Err)?;
        unchanged?;
        let located = Located {
            server: ServerRef { id: console.server, name: server.name },
            endpoint: endpoint(console).map_err(Refusal::Unreachable)?,
            updated: server.updated,
            seen: Instant::now(),
        };
        Ok(Console {
            line: key(located.server.id),
            project: None,
            user: user(token),
            mode: Mode::Write,
            operator: false,
            wait: true,
            expires: None,
            source: Source::Nova(located, None),
        })
    }

    /// The other proxy that owns a port, if there is one. Otherwise this proxy owns it now.
    pub(crate) async fn elsewhere(
        &self,
        located: &Located,
        offer: &mut Option<Offer>,
    ) -> Result<Option<(&dyn Reach, String)>, Refusal> {
        let Some(owners) = &self.owners else { return Ok(None) };
        let target = located.target();
        if lock(&self.all).get(&located.server.id).is_some_and(|known| known.has(&target)) {
            return Ok(None);
        }
        Ok(match owners.take(&target).await? {
            Taken::Here(permit) => {
                *offer = Some(Offer { target, permit });
                None
            }
            Taken::By(host) => Some((&**owners, host)),
        })
    }

    /// The other proxy that owns a port of a server, if it is known.
    pub(crate) fn of(&self, server: ServerId) -> Option<(&dyn Reach, String)> {
        let owners = self.owners.as_ref()?;
        owners.of(server).map(|host| (&**owners as &dyn Reach, host))
    }

    /// The line of a server, which connects to the located port.
    pub(crate) fn open(
        &self,
        located: &Located,
        offer: Option<&Offer>,
    ) -> Result<Expected, Refusal> {
        let id = located.server.id;
        let mut all = lock(&self.all);
        let (target, moved) = match all.get(&id) {
            Some(target) => (Arc::clone(target), target.update(located, offer)),
            None if all.len() >= LINES => {
                let reason = format!(
                    "this proxy has {LINES} open consoles, which is the \
                         maximum: try again later"
                );
                return Err(Refusal::TooMany(reason));
            }
            None => {
                let target =
                    Arc::new(Target::new(&self.nova, self.owners.as_ref(), located, offer));
                all.insert(id, Arc::clone(&target));
                (target, false)
            }
        };
        // While all targets are locked, so that the line is not removed before this attach expects it.
        let line = self.lines.add(&located.server, None, 0, target).expect();
        line.rename(&located.server.name);
        match moved {
            true => line.guest_moved(),
            false => line.guest_running(),
        }
        Ok(line)
    }

    /// Logs in at Keystone, so that an error is logged at the start and not at the first attach.
    pub async fn log_in(self: Arc<Self>) {
        match self.nova.log_in().await {
            Ok(()) => tracing::info!("logged in at Keystone to ask Nova"),
            Err(error) => {
                tracing::error!(%error, "cannot log in to use Nova: no console can be opened")
            }
        }
    }

    /// Removes unused lines and forgets old tokens, forever.
    pub async fn remove_unused(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LOOK.min(self.idle)).await;
            lock(&self.shown).forget(self.memory);
            let mut all = lock(&self.all);
            all.retain(|id, target| self.is_kept(*id, target));
        }
    }

    fn is_kept(&self, id: ServerId, target: &Target) -> bool {
        let line = self.lines.get(key(id));
        let mut state = lock(&target.state);
        if line.is_some_and(|line| line.is_used()) {
            state.used = Instant::now();
        }
        match (state.gone, state.used.elapsed() >= self.idle) {
            (true, _) => {
                self.lines.remove(key(id), "the server was deleted");
                false
            }
            (_, true) => !self.lines.remove_unused(key(id), "nobody used the console"),
            _ => true,
        }
    }

    /// Ends a session when Nova does not know its token any more. Errors of Nova do not end it.
    pub(crate) async fn end_with(self: Arc<Self>, token: ConsoleToken, keyboard: Keyboard) {
        loop {
            tokio::time::sleep(self.expiry).await;
            if keyboard.is_over() {
                return;
            }
            match self.nova.console(&token).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let reason = "the console URL has expired";
                    return keyboard.expire(&Close::new(CloseCode::SessionLimit, reason));
                }
                Err(error) if seldom::is_due("expiry") => {
                    tracing::warn!(%error, "cannot check in Nova whether a session's token is \
                             still valid");
                }
                Err(_) => {}
            }
        }
    }
}

/// A server has one console in Nova: its first port.
fn key(server: ServerId) -> LineKey {
    LineKey { server, port: 0 }
}

/// A name that distinguishes sessions, because Nova does not say who asked for a token.
fn user(token: &ConsoleToken) -> String {
    let [a, b, c, d, ..] = token.digest().0;
    format!("token {a:02x}{b:02x}{c:02x}{d:02x}")
}

fn endpoint(console: openstack::Console) -> Result<Endpoint, String> {
    let port = console.port;
    let host = console.host.filter(|host| !host.is_empty());
    let host =
        host.ok_or_else(|| "Nova's response names no host for the guest's port".to_owned())?;
    Ok(match console.internal_access_path {
        Some(path) => Endpoint::Tunnel { host, port, path },
        None => Endpoint::Tcp { host, port },
    })
}

fn not_running(server: &openstack::Server, refusal: &Refusal) -> Unresolved {
    match (server.vm_state.as_deref(), refusal) {
        (Some("stopped"), _) => Unresolved::Stopped(Status::Shutoff),
        (Some("suspended"), _) => Unresolved::Stopped(Status::Suspended),
        (_, Refusal::Away { status }) => Unresolved::Failed(format!("the server is {status}")),
        _ => Unresolved::Failed(refusal.to_string()),
    }
}

fn unknown(error: &Unavailable) -> Unresolved {
    if seldom::is_due("port") {
        tracing::warn!(%error, "cannot look up the port of a server in Nova");
    }
    Unresolved::Failed("cannot look up the guest's port in Nova; retrying".into())
}

fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    if seldom::is_due("unavailable") {
        tracing::warn!(%error, "a console token cannot be looked up");
    }
    Refusal::Unavailable("cannot look up this console URL in Nova: try again later".into())
}

/// Locks a mutex whose holder may have panicked: each critical section leaves its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
