//! The proxy role. One port serves the terminal page to browsers and accepts WebSockets of clients, so one
//! console URL works for both.
//!
//! ```text
//!   listener ─▶ http ─┬─ no Upgrade ─▶ pages, or below /v1/: relay ─▶ the API
//!                     └─ Upgrade ─▶ handshake ─▶ ticket (token, origin) ─┬─▶ line ─▶ session
//!                                                                        └─▶ passing ─▶ tunnel ─▶ host
//!   another proxy of the cluster ─▶ peers ─▶ http
//! ```

mod admission;
mod answer;
mod backing;
mod client;
mod console;
mod drain;
mod evidence;
mod frames;
#[doc(hidden)]
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod handshake;
mod history;
mod hosts;
mod http;
mod located;
mod login;
mod nova_tokens;
mod obstacle;
mod origin;
mod pages;
mod passing;
mod peers;
mod proxy_protocol;
mod relay;
mod secure;
mod shown;
mod targets;
mod ticket;
mod tunnel;
mod upgrade;
mod wrong_tokens;

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serialproxy_config::Config;
use serialproxy_console::Consoles;
use serialproxy_limits::Meter;
use serialproxy_limits::Place;
use serialproxy_limits::Places;
use serialproxy_limits::Source;
use serialproxy_limits::seldom;
use serialproxy_line::Lines;
use serialproxy_proto::health::Health;
use serialproxy_tls::Reception;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio_rustls::rustls::ClientConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::backing::Backing;
use crate::drain::Drain;
use crate::handshake::Running;
use crate::handshake::Upgrade;
pub use crate::hosts::Hosts;
pub use crate::hosts::Neighbors;
pub use crate::hosts::Owners;
pub use crate::hosts::Reach;
pub use crate::hosts::Reached;
pub use crate::hosts::Sought;
pub use crate::hosts::Taken;
use crate::http::Next;
pub use crate::nova_tokens::NovaTokens;
use crate::relay::Relay;
pub use crate::targets::Targets;
use crate::wrong_tokens::WrongTokens;

/// Timeout of a shutdown: for pending handshakes, and until the sessions have received their Close frame.
const DRAIN: Duration = Duration::from_secs(3);

/// The part of [`DRAIN`] for the first answers on accepted connections, so that none of them is refused.
const ARRIVE: Duration = Duration::from_secs(1);

/// Pause after a failed accept. The usual cause, no file descriptor left, lasts longer than a retry takes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of logged refusals per address and [`MINUTE`].
const REFUSALS: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// The proxy role.
#[derive(Debug)]
pub struct Proxy {
    pub(crate) config: Arc<Config>,
    pub(crate) lines: Lines,
    pub(crate) backing: Backing,
    pub(crate) relay: Relay,
    pub(crate) reception: Reception,
    pub(crate) consoles: Arc<Consoles>,
    /// Counts the refusals of each address that are logged.
    pub(crate) refusals: Meter,
    pub(crate) wrong_tokens: WrongTokens,
    /// The tasks of all connections.
    connections: TaskTracker,
    /// Connections whose first request is not answered yet.
    arriving: TaskTracker,
    /// Reasons why this process cannot serve.
    pub(crate) health: Health,
    pub(crate) drain: Drain,
}

/// TLS of the proxy, on both sides.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The side of the users.
    pub users: Reception,
    /// Verifies the API for the relay, if `api_url` is an https URL.
    pub api: Option<Arc<ClientConfig>>,
}

impl Proxy {
    /// A proxy for these lines.
    ///
    /// # Errors
    ///
    /// When sessions are to be recorded, and the directory for it cannot be written to.
    pub fn new(config: Arc<Config>, lines: Lines, backing: Backing, tls: Tls) -> io::Result<Self> {
        let relay = Relay::new(&config, tls.api);
        let host = match &backing {
            Backing::Own(host, _) => Some(host.clone()),
            Backing::Nova(_) | Backing::Cluster(_) => None,
        };
        let consoles = Arc::new(Consoles::new(&config, host)?);
        let wrong_tokens = WrongTokens::new(config.limits.failures_per_minute);
        Ok(Self {
            config,
            lines,
            backing,
            relay,
            consoles,
            refusals: Meter::new(REFUSALS, MINUTE, Duration::ZERO),
            wrong_tokens,
            reception: tls.users,
            connections: TaskTracker::new(),
            arriving: TaskTracker::new(),
            health: Health::default(),
            drain: Drain::default(),
        })
    }

    /// Refuses new sessions while `drained` is true. In front of a cluster, the proxy also closes the sessions
    /// that it passes on, with 4012.
    #[must_use]
    pub fn with_drain(self, drained: watch::Receiver<bool>) -> Self {
        Self { drain: Drain::new(drained), ..self }
    }

    /// Answers `/healthz` with 503 while there are reasons in `health`.
    #[must_use]
    pub fn with_health(self, health: Health) -> Self {
        Self { health, ..self }
    }

    /// Serves users until `shutdown`. Then the proxy stops accepting, and ends all sessions with 4012. Every
    /// runtime that serves lines accepts connections, at most `most` at once over all runtimes, sessions and
    /// page loads together; further clients wait in the accept backlog.
    ///
    /// # Errors
    ///
    /// When no file descriptor is left for the runtimes' listeners.
    pub async fn serve(
        self: Arc<Self>,
        listener: std::net::TcpListener,
        most: usize,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let room = Arc::new(Room::new(most, self.config.limits.connections_per_address as usize));
        let accepting = TaskTracker::new();
        for runtime in self.lines.runtimes() {
            let listener = {
                // A listener belongs to the runtime in which it is created.
                let _inside = runtime.enter();
                TcpListener::from_std(listener.try_clone()?)?
            };
            let (proxy, room, shutdown) = (Arc::clone(&self), Arc::clone(&room), shutdown.clone());
            accepting.spawn_on(
                async move {
                    tokio::select! {
                        // A storm of connections must not hide the shutdown.
                        biased;
                        () = shutdown.cancelled() => {}
                        never = accept(listener, &proxy, &room) => match never {},
                    }
                },
                runtime,
            );
        }
        drop(listener);
        accepting.close();
        tokio::select! {
            () = accepting.wait() => {}
            never = self.drain.pace() => match never {},
        }
        self.drain().await;
        Ok(())
    }

    /// Serves the accepted connections, then accepts no more sessions and ends all with 4012, also those of other
    /// hosts. It waits for `DRAIN` at most until they have ended.
    pub async fn drain(&self) {
        let end = tokio::time::Instant::now() + DRAIN;
        self.arriving.close();
        let _ = tokio::time::timeout(ARRIVE, self.arriving.wait()).await;
        self.lines.drain();
        self.connections.close();
        let _ = tokio::time::timeout_at(end, self.connections.wait()).await;
        self.consoles.flush_recordings().await;
    }

    /// Starts what follows the upgrade of a connection, on the runtime of its line. `held` is dropped when the
    /// session ends. A session at a line of this host is cut off when `cut` is done.
    fn follow(
        &self,
        upgrade: Upgrade,
        held: impl Send + 'static,
        cut: impl Future<Output = ()> + Send + 'static,
    ) {
        let runtime = upgrade.runtime();
        let tasks = self.connections.clone();
        let begin = async move {
            // In its own task, so that the session's future does not include the handshake's.
            match upgrade.begin().await {
                Some(Running::Session(session)) => tasks.spawn(async move {
                    session.run(cut).await;
                    drop(held);
                }),
                Some(Running::Tunnel(tunnel)) => tasks.spawn(async move {
                    tunnel.run().await;
                    drop(held);
                }),
                None => return,
            };
        };
        self.connections.spawn_on(begin, &runtime);
    }
}

/// The limits of concurrent connections: of all, and of each address.
#[derive(Debug)]
struct Room {
    all: Arc<Semaphore>,
    each: Places<Source>,
    /// Limits the log to one line per refused address and minute.
    said: Meter,
}

impl Room {
    fn new(all: usize, each: usize) -> Self {
        let said = Meter::new(1, MINUTE, Duration::ZERO);
        Self { all: Arc::new(Semaphore::new(all)), each: Places::new(each), said }
    }

    /// Takes a place of this address, if one is left.
    fn of_address(&self, address: IpAddr) -> Option<Place<Source>> {
        let source = Source::from(address);
        let place = self.each.enter(source);
        if place.is_none() && self.said.count(&source, Instant::now()).is_zero() {
            tracing::warn!(
                %source,
                most = self.each.most(),
                "an address has reached [limits] connections_per_address: further connections \
                 are closed"
            );
        }
        place
    }
}

async fn accept(listener: TcpListener, proxy: &Arc<Proxy>, room: &Arc<Room>) -> Infallible {
    loop {
        let accepted = async {
            let place = Arc::clone(&room.all).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|accepted| (accepted, place))
        };
        match accepted.await {
            Ok(((stream, peer), place)) => {
                // A listener of IPv6 shows clients of IPv4 as mapped addresses.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                // The connections of a trusted reverse proxy carry many users.
                let own = match proxy.config.proxy.trusted_proxies.contain(peer.ip()) {
                    true => None,
                    false => match room.of_address(peer.ip()) {
                        Some(own) => Some(own),
                        None => continue,
                    },
                };
                let place = (place, own);
                let (served, room) = (Arc::clone(proxy), Arc::clone(room));
                let arriving = proxy.arriving.token();
                proxy.connections.spawn(async move {
                    let from = (peer, arriving);
                    let next = http::serve_connection(&served, &room, stream, from).await;
                    if let Some(Next { upgrade, places }) = next {
                        served.follow(upgrade, (place, places), pending());
                    }
                });
            }
            Err(error) => {
                if seldom::is_due("accept") {
                    tracing::warn!(%error, "a connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
