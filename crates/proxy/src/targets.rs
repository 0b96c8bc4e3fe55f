//! The ports of the servers of a real Nova. Nova's tokens name a host and a port. Each server has one line
//! here, which connects to the port of the newest token, and closes it when it was unused for a while.
//!
//! Nova's API does not say whether a port still belongs to the server, and its tokens outlive a stop, after
//! which the port may belong to another server. So the line reconnects to a closed port only while the server
//! is unchanged, and a token that was used here before a change of the server is refused after it.
//!
//! Of several proxies in front of a Nova, one owns a port (`Owners`); the others pass users on to it. A server
//! whose host has a compute role is reached through that role (`Hosts`), and this proxy leaves its port alone.

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
use serialproxy_line::Lines;
use serialproxy_line::Unresolved;
use serialproxy_openstack as openstack;
use serialproxy_openstack::Unavailable;
use serialproxy_proto::api::Status;
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
use crate::hosts::Neighbors;
use crate::hosts::Reach;
use crate::hosts::Taken;
use crate::located::Located;
use crate::located::Offer;
use crate::nova_tokens::NovaTokens;
use crate::nova_tokens::in_time;
use crate::nova_tokens::unavailable;
use crate::nova_tokens::user;
use crate::obstacle::obstacle;
use crate::shown::Shown;
use crate::targets::target::Target;

/// Maximum number of lines. Each holds a history and a file descriptor.
const LINES: usize = 4096;

/// Minimum time for which a used console token is remembered: longer than tokens are valid, unless `token_ttl` is
/// longer.
const MEMORY: Duration = Duration::from_secs(3600);

/// Interval at which unused lines are looked for.
const LOOK: Duration = Duration::from_secs(5);

/// All servers whose consoles were used here recently.
#[derive(Debug)]
pub struct Targets {
    nova: Arc<NovaTokens>,
    /// The cluster, if this proxy belongs to one.
    neighbors: Option<Neighbors>,
    lines: Lines,
    /// How long an unused line keeps its port.
    idle: Duration,
    all: Mutex<BTreeMap<ServerId, Arc<Target>>>,
    /// The tokens that were used here.
    shown: Mutex<Shown>,
    memory: Duration,
}

impl Targets {
    /// The consoles of this Nova, on these lines; `neighbors` if this proxy belongs to a cluster.
    pub fn new(
        nova: Arc<NovaTokens>,
        neighbors: Option<Neighbors>,
        lines: Lines,
        config: &Config,
    ) -> Self {
        Self {
            nova,
            neighbors,
            lines,
            idle: config.session.grace,
            all: Mutex::default(),
            shown: Mutex::default(),
            memory: MEMORY.max(config.consoleauth.token_ttl),
        }
    }

    /// The console tokens.
    pub(crate) fn tokens(&self) -> &Arc<NovaTokens> {
        &self.nova
    }

    /// Asks Nova what a token stands for, and whether the server's state allows an attach.
    pub(crate) async fn look_up(&self, token: &ConsoleToken) -> Result<Console, Refusal> {
        in_time(self.ask(token)).await
    }

    async fn ask(&self, token: &ConsoleToken) -> Result<Console, Refusal> {
        let console = self.nova.console(token).await?;
        if let Ok(Some(host)) = self.host(console.server).await {
            // It knows its guest better than Nova does.
            return Ok(of_nova(token, console.server, Source::Host(host)));
        }
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
        Ok(of_nova(token, located.server.id, Source::Nova(located, None)))
    }

    /// The host whose compute role has a server, if one has it.
    async fn host(&self, server: ServerId) -> Result<Option<String>, Refusal> {
        match &self.neighbors {
            Some(neighbors) => neighbors.host(server).await,
            None => Ok(None),
        }
    }

    /// A host with a compute role, as it is reached.
    pub(crate) fn at(&self, host: &str) -> Option<(&dyn Reach, String)> {
        let neighbors = self.neighbors.as_ref()?;
        Some((&*neighbors.hosts, host.to_owned()))
    }

    /// The host or the other proxy that has a port, if one has it; otherwise this proxy has it now.
    pub(crate) async fn elsewhere(
        &self,
        located: &Located,
        offer: &mut Option<Offer>,
    ) -> Result<Option<(&dyn Reach, String)>, Refusal> {
        let Some(Neighbors { proxies, .. }) = &self.neighbors else { return Ok(None) };
        let (server, target) = (located.server.id, located.target());
        let is_ours = lock(&self.all).get(&server).is_some_and(|known| known.has(&target));
        match self.host(server).await {
            Ok(Some(host)) => return Ok(self.at(&host)),
            Ok(None) => {}
            // Nobody knows now; no host had it when the port was taken.
            Err(Refusal::Unavailable(_)) if is_ours => {}
            Err(refusal) => return Err(refusal),
        }
        if is_ours {
            return Ok(None);
        }
        Ok(match proxies.take(&target).await? {
            Taken::Here(permit) => {
                *offer = Some(Offer { target, permit });
                None
            }
            Taken::By(host) => Some((&**proxies, host)),
        })
    }

    /// The host or the other proxy that has a server's port, as far as that is known.
    pub(crate) async fn of(
        &self,
        server: ServerId,
    ) -> Result<Option<(&dyn Reach, String)>, Refusal> {
        let Some(Neighbors { proxies, .. }) = &self.neighbors else { return Ok(None) };
        let owner = || proxies.of(server).map(|host| (&**proxies as &dyn Reach, host));
        match self.host(server).await {
            Ok(Some(host)) => Ok(self.at(&host)),
            Ok(None) => Ok(owner()),
            Err(refusal) => owner().map_or(Err(refusal), |owner| Ok(Some(owner))),
        }
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
                    Arc::new(Target::new(&self.nova, self.neighbors.as_ref(), located, offer));
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

    /// Removes unused lines and forgets old tokens, forever.
    pub async fn remove_unused(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LOOK.min(self.idle)).await;
            lock(&self.shown).forget(self.memory);
            self.hand_over().await;
            let mut all = lock(&self.all);
            all.retain(|id, target| self.is_kept(*id, target));
        }
    }

    /// Lets go of the ports of servers that a host's compute role has by now.
    async fn hand_over(&self) {
        let known: Vec<_> = lock(&self.all).keys().copied().collect();
        for server in known {
            if let Ok(Some(host)) = self.host(server).await {
                tracing::info!(%server, host, "the host of a server serves its console from now on");
                let mut all = lock(&self.all);
                self.lines.hand_over(key(server));
                all.remove(&server);
            }
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
}

/// A server has one console in Nova: its first port.
fn key(server: ServerId) -> LineKey {
    LineKey { server, port: 0 }
}

/// What a token of Nova's stands for.
fn of_nova(token: &ConsoleToken, server: ServerId, source: Source) -> Console {
    Console {
        line: key(server),
        project: None,
        user: user(token),
        mode: Mode::Write,
        operator: false,
        wait: true,
        link: None,
        expires: None,
        source,
    }
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

/// Locks a mutex whose holder may have panicked: each critical section leaves its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
