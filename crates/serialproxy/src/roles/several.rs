//! One of several proxies in front of a Nova: of all of them, one has a server's serial port, and the others
//! pass users on to it.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serialproxy_audit::Audit;
use serialproxy_cluster::Host as Listing;
use serialproxy_cluster::NotOwner;
use serialproxy_cluster::Ownership;
use serialproxy_cluster::Role;
use serialproxy_cluster::Served;
use serialproxy_cluster::Strangers;
use serialproxy_config::Config;
use serialproxy_grants::Grants;
use serialproxy_limits::seldom;
use serialproxy_line::Permit;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proxy::Neighbors;
use serialproxy_proxy::Owners;
use serialproxy_proxy::Proxy;
use serialproxy_proxy::Reach;
use serialproxy_proxy::Reached;
use serialproxy_proxy::Taken;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::checks::Watched;
use crate::cluster;
use crate::cluster::OtherHosts;
use crate::cluster::Own;
use crate::connections::Connections;
use crate::listen::Prefer;
use crate::listen::listen;
use crate::passed::Purpose;
use crate::state;

/// How long users wait to be told that nobody knows which proxy has a port.
const PATIENCE: Duration = Duration::from_millis(1800);

/// This proxy among the others.
pub(super) struct Several {
    own: Own,
    others: Arc<Others>,
    hosts: Arc<OtherHosts>,
    listener: TcpListener,
    pub(super) address: SocketAddr,
    /// Where the other proxies find it.
    advertised: String,
    _lock: File,
}

/// What runs beside the proxy.
pub(super) struct Running {
    own: Own,
    publishing: JoinHandle<()>,
    keeping: JoinHandle<()>,
    end: CancellationToken,
    _lock: File,
}

/// The other proxies, and which of them has a port.
#[derive(Debug)]
struct Others {
    host: String,
    owners: serialproxy_cluster::Owners,
    connections: Arc<Connections>,
}

/// The right to use a port.
#[derive(Debug)]
struct Owned(Ownership);

impl Several {
    /// None where this proxy belongs to no cluster.
    pub(super) async fn join(
        config: &Config,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        if !config.cluster.is_set() {
            return Ok(None);
        }
        state::make(&config.state_dir)?;
        let lock = state::lock(&config.state_dir, Role::Proxy)?;
        let own = Own::load(config, Role::Proxy, shutdown).await?;
        let host = config.cluster.name.clone();
        let owners = serialproxy_cluster::Owners::new(own.etcd.clone(), host.clone())
            .context("the program cannot start")?;
        let connections = Connections::to(Role::Proxy, &own.directory, &own.links);
        let others = Arc::new(Others { host, owners, connections });
        let hosts = OtherHosts::new(Grants::on(own.etcd.clone()), &own);
        // The ports of servers that hosts have are left alone from the first user on.
        let _ = timeout(PATIENCE, own.directory.complete()).await;
        let listener = listen(&config.cluster.listen, Prefer::V4, Purpose::Cluster).await?;
        let address = listener.local_addr()?;
        let advertised = config.cluster.advertised(address.port());
        Ok(Some(Self { own, others, hosts, listener, address, advertised, _lock: lock }))
    }

    /// What it depends on besides Nova.
    pub(super) fn watched(&self) -> Watched {
        Watched::of_cluster(&self.own)
    }

    /// Whether this host is drained.
    pub(super) fn drained(&self) -> watch::Receiver<bool> {
        self.own.drained.clone()
    }

    pub(super) fn neighbors(&self) -> Neighbors {
        Neighbors { proxies: Arc::clone(&self.others) as _, hosts: Arc::clone(&self.hosts) as _ }
    }

    /// Serves the users whom other proxies pass on, over so many connections, until the shutdown.
    pub(super) fn serve(
        self,
        proxy: &Arc<Proxy>,
        most: usize,
        audit: &Audit,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Running> {
        let Self { own, others, listener, advertised, _lock, .. } = self;
        let attached = Arc::clone(proxy);
        let served = Served {
            attach: Some(Arc::new(move |stream, forwards, cut| {
                Box::pin(Arc::clone(&attached).serve_peer(stream, forwards, cut))
            })),
            calls: None,
            audit: audit.clone(),
            admission: None,
            watching: None,
            removed: own.identity.removed().clone(),
        };
        let tls = own.identity.server_config(Strangers::Refused)?;
        let serving = serialproxy_cluster::serve(listener, tls, served, most, shutdown.clone());
        tokio::spawn(serving);
        let publishing = own.publish(Listing::of(advertised, Role::Proxy), None, shutdown);
        let end = CancellationToken::new();
        let keeping = tokio::spawn(others.owners.clone().keep(end.clone()));
        Ok(Running { own, publishing, keeping, end, _lock })
    }
}

impl Running {
    /// Gives all ports back once they are closed; those that are not stay this proxy's until its lease ends.
    pub(super) async fn finish(self, closed: bool) -> anyhow::Result<()> {
        if closed {
            self.end.cancel();
            let _ = self.keeping.await;
        }
        let _ = self.publishing.await;
        cluster::check_membership(&self.own.identity)
    }
}

impl Others {
    async fn try_take(&self, target: &str) -> Result<Taken, Refusal> {
        let taken = timeout(PATIENCE, self.owners.take(target)).await;
        let taken = taken.unwrap_or_else(|_| Err(NotOwner::Unknown("no answer in time".into())));
        match taken {
            Ok(ownership) => Ok(Taken::Here(Arc::new(Owned(ownership)))),
            // By a process that was killed, and whose lease has not ended.
            Err(NotOwner::Other(host)) if host == self.host => Err(Refusal::HostLost(
                "the proxy that served this console has ended, try again".into(),
            )),
            Err(NotOwner::Other(host)) => Ok(Taken::By(host)),
            Err(error @ NotOwner::Full) => {
                Err(Refusal::TooMany(format!("{error}: try again later")))
            }
            Err(error @ NotOwner::Unknown(_)) => {
                if seldom::is_due("owners") {
                    tracing::warn!(%error, "nobody knows which proxy has a serial port");
                }
                Err(Refusal::Unavailable(
                    "which proxy serves this console cannot be looked up now, try again".into(),
                ))
            }
        }
    }
}

impl Reach for Others {
    fn connect<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Reached>> {
        Box::pin(self.connections.open(host))
    }
}

impl Owners for Others {
    fn take<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Taken, Refusal>> {
        Box::pin(self.try_take(target))
    }

    fn of(&self, server: ServerId) -> Option<String> {
        self.owners.of(server)
    }
}

impl Permit for Owned {
    fn is_good(&self) -> bool {
        self.0.is_held()
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.lost())
    }
}
