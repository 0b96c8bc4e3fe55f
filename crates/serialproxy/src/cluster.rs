//! The parts of a role on a host of a cluster: this host's identity, the shared store, and the
//! other hosts.

use std::io;
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use serialproxy_cluster::Admission;
use serialproxy_cluster::Directory;
use serialproxy_cluster::Has;
use serialproxy_cluster::Host;
use serialproxy_cluster::Identity;
use serialproxy_cluster::Links;
use serialproxy_cluster::Members;
use serialproxy_cluster::Peer;
use serialproxy_cluster::Renewal;
use serialproxy_cluster::Role;
use serialproxy_cluster::Watchable;
use serialproxy_cluster::etcd_settings;
use serialproxy_cluster::follow_drain;
use serialproxy_config::Config;
use serialproxy_console::Membership;
use serialproxy_etcd::Etcd;
use serialproxy_grants::Grants;
use serialproxy_limits::seldom;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proxy::Hosts;
use serialproxy_proxy::Reach;
use serialproxy_proxy::Reached;
use serialproxy_proxy::Sought;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;
use crate::watch_links::Asked;

/// This host in its cluster.
#[derive(Debug)]
pub(crate) struct Own {
    /// The name and roles in its certificate.
    peer: Peer,
    pub(crate) identity: Arc<Identity>,
    pub(crate) etcd: Etcd,
    pub(crate) directory: Directory,
    pub(crate) links: Links,
    /// Issues certificates, where this host has the CA's key.
    pub(crate) admission: Option<Admission>,
    /// Whether this host is drained.
    pub(crate) drained: watch::Receiver<bool>,
}

impl Own {
    /// Reads the certificate of this host, which must allow this role, and keeps it valid from now
    /// on. etcd is connected later. When the host is removed from the cluster, the role shuts down.
    pub(crate) async fn load(
        config: &Config,
        role: Role,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let identity = Arc::new(Identity::load(&config.cluster).context("[cluster]")?);
        let peer = identity.own()?;
        peer.require(role)?;
        let etcd = Etcd::new(etcd_settings(&config.cluster)).context("[cluster]")?;
        let members = Members::new(etcd.clone());
        let admission = match role {
            Role::Api => Admission::load(&config.cluster, &config.state_dir, members.clone())?,
            _ => None,
        };
        let directory = Directory::follow(&etcd);
        let links = Links::new(Arc::clone(&identity));
        let renewal = Renewal::new(
            Arc::clone(&identity),
            &config.cluster,
            config.state_dir.clone(),
            admission.clone(),
            apis(directory.clone()),
        );
        tokio::spawn(async move { renewal.run().await });
        let known = Arc::clone(&identity);
        tokio::spawn(async move { members.follow_removed(known.removed()).await });
        tokio::spawn(end_when_removed(Arc::clone(&identity), shutdown.clone()));
        let drained = follow_drain(&etcd, &peer.host).await;
        Ok(Self { peer, identity, etcd, directory, links, admission, drained })
    }

    /// The part of a host that its sessions need.
    pub(crate) fn membership(&self) -> Membership {
        let links = Watchable::new(Arc::clone(&self.identity), self.directory.clone());
        Membership { name: self.peer.host.clone(), links: Arc::new(Asked(links)) }
    }

    /// Publishes this process to the cluster until the shutdown, and then removes it.
    pub(crate) fn publish(
        &self,
        listing: Host,
        has: Option<Has>,
        shutdown: &CancellationToken,
    ) -> JoinHandle<()> {
        let store = (self.etcd.clone(), self.directory.clone());
        let (listing, end) = ((listing, self.drained.clone()), shutdown.clone());
        tokio::spawn(serialproxy_cluster::publish(store, self.peer.clone(), listing, has, end))
    }
}

/// Shuts the role down when the host was removed: no other host accepts its connections then.
async fn end_when_removed(identity: Arc<Identity>, shutdown: CancellationToken) {
    identity.until_removed().await;
    tracing::error!("this host was removed from the cluster");
    shutdown.cancel();
}

/// The reason why a role ended without a signal.
pub(crate) fn check_membership(identity: &Identity) -> anyhow::Result<()> {
    anyhow::ensure!(
        !identity.is_removed(),
        "this host was removed from the cluster: `serialproxy enroll` on an api host lets it join again"
    );
    Ok(())
}

fn apis(directory: Directory) -> impl Fn() -> Vec<(String, String)> {
    move || directory.up(Role::Api)
}

/// The errors in the configuration of a role that runs alone.
pub(crate) fn check(config: &Config, role: Role) -> Result<(), String> {
    if config.cluster.is_set() {
        return Ok(());
    }
    Err(format!(
        "the {role} role needs a cluster, and [cluster] etcd_endpoints is not set: `serialproxy join`, \
         with the code that `serialproxy enroll` prints on an api host, writes it. On one machine, \
         `serialproxy serve` runs every role in one process"
    ))
}

/// The compute hosts of the cluster, for a proxy.
#[derive(Debug)]
pub(crate) struct OtherHosts {
    grants: Grants,
    directory: Directory,
    connections: Arc<Connections>,
}

impl OtherHosts {
    pub(crate) fn new(grants: Grants, own: &Own) -> Arc<Self> {
        let connections = Connections::to(Role::Compute, &own.directory, &own.links);
        Arc::new(Self { grants, directory: own.directory.clone(), connections })
    }

    /// The host of a server.
    fn host(&self, server: ServerId) -> Result<String, Refusal> {
        let Some(listed) = self.directory.server(server) else {
            return Err(match self.directory.as_of() {
                Some(as_of) if !as_of.stale => Refusal::NoSuchLine(
                    "the server was deleted, or no longer has this serial port".into(),
                ),
                _ => away(),
            });
        };
        let host = listed.value.host.clone();
        match self.directory.compute(&host) {
            Some(_) => Ok(host),
            None => {
                Err(Refusal::HostLost("the host of this server does not respond, try again".into()))
            }
        }
    }

    async fn look_up(&self, sought: Sought) -> Result<String, Refusal> {
        let digest = match sought {
            Sought::Line(line) => return self.host(line.server),
            Sought::Token(digest) => digest,
        };
        let grant = self.grants.validate(digest, Timestamp::now()).await.map_err(|error| {
            if seldom::is_due("store") {
                tracing::error!(%error, "tokens cannot be looked up");
            }
            away()
        })?;
        self.host(grant.ok_or(Refusal::Token)?.line.server)
    }
}

fn away() -> Refusal {
    Refusal::Unavailable("tokens cannot be looked up now, try again".into())
}

impl Reach for OtherHosts {
    fn connect<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Reached>> {
        Box::pin(self.connections.open(host))
    }
}

impl Hosts for OtherHosts {
    fn find(&self, sought: Sought) -> BoxFuture<'_, Result<String, Refusal>> {
        Box::pin(self.look_up(sought))
    }
}
