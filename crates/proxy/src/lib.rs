//! What users connect to: one port that is a WebSocket endpoint for clients and serves the
//! terminal page to browsers, so that one console URL does for both.
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
pub use crate::hosts::Owners;
pub use crate::hosts::Reach;
pub use crate::hosts::Reached;
pub use crate::hosts::Sought;
pub use crate::hosts::Taken;
use crate::http::Next;
use crate::relay::Relay;
pub use crate::targets::Targets;
use crate::wrong_tokens::WrongTokens;

/// How long the connections of a proxy that shuts down may take: that handshakes under way end, and that
/// sessions take their Close frame.
const DRAIN: Duration = Duration::from_secs(3);

/// How long of it users who were accepted may take to get their first answer: nobody who was accepted is
/// refused.
const ARRIVE: Duration = Duration::from_secs(1);

/// Pause after an accept that failed: the usual cause, no file descriptor left, does not go away
/// by asking again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Refusals of one address that are logged in a [`MINUTE`] at most.
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
    /// Everything that is served.
    connections: TaskTracker,
    /// Connections whose first request is not answered yet.
    arriving: TaskTracker,
    /// What keeps this process from serving.
    pub(crate) health: Health,
    pub(crate) drain: Drain,
}

/// What the proxy speaks of TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// How users are received.
    pub users: Reception,
    /// Whom the relay trusts, where the API's URL is an https one.
    pub api: Option<Arc<ClientConfig>>,
}

impl Proxy {
    /// A proxy for these lines.
    ///
    /// # Errors
    ///
    /// When sessions are to be recorded, and nothing can be written there.
    pub fn new(config: Arc<Config>, lines: Lines, backing: Backing, tls: Tls) -> io::Result<Self> {
        let relay = Relay::new(&config, tls.api);
        let host = match &backing {
            Backing::Own(host) => Some(host.clone()),
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

    /// Takes no new sessions while this says that the host is drained. In front of a cluster, those that go
    /// through this proxy are sent away with 4012.
    #[must_use]
    pub fn with_drain(self, drained: watch::Receiver<bool>) -> Self {
        Self { drain: Drain::new(drained), ..self }
    }

    /// Says at `/healthz` whether something is said there.
    #[must_use]
    pub fn with_health(self, health: Health) -> Self {
        Self { health, ..self }
    }

    /// Serves users until `shutdown`; then no new ones are taken, and all sessions end with 4012.
    /// Every runtime on which lines live accepts, and all together hold `most` connections at once,
    /// sessions and page loads; who comes then waits in the kernel's queue.
    ///
    /// # Errors
    ///
    /// When there is no file descriptor left for the runtimes' listeners.
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
                // It belongs to the runtime in which it is made.
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

    /// Serves those who were accepted, then takes nobody any more and ends all sessions with 4012, also those
    /// that run elsewhere; then waits until that is done, for a bounded time.
    pub async fn drain(&self) {
        let end = tokio::time::Instant::now() + DRAIN;
        self.arriving.close();
        let _ = tokio::time::timeout(ARRIVE, self.arriving.wait()).await;
        self.lines.drain();
        self.connections.close();
        let _ = tokio::time::timeout_at(end, self.connections.wait()).await;
        self.consoles.flush_recordings().await;
    }

    /// Goes on with a connection that has stopped being HTTP, where its line lives. `held` is let go of at
    /// its end; a session of this host is cut off when `cut` is done.
    fn follow(
        &self,
        upgrade: Upgrade,
        held: impl Send + 'static,
        cut: impl Future<Output = ()> + Send + 'static,
    ) {
        let runtime = upgrade.runtime();
        let tasks = self.connections.clone();
        let begin = async move {
            // A task of its own, so that it has no room for its beginning.
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

/// Places for connections: so many in all, and so many for each address.
#[derive(Debug)]
struct Room {
    all: Arc<Semaphore>,
    each: Places<Source>,
    /// An address that is refused is named in the log once a minute.
    said: Meter,
}

impl Room {
    fn new(all: usize, each: usize) -> Self {
        let said = Meter::new(1, MINUTE, Duration::ZERO);
        Self { all: Arc::new(Semaphore::new(all)), each: Places::new(each), said }
    }

    /// A place of this address, if it has one left.
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
                // Who comes by IPv4 to a listener of IPv6.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                // Over the connections of a trusted reverse proxy come many users.
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
