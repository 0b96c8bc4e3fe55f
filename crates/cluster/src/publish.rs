//! Publishes to the cluster that this host is up, and its servers.
//!
//! `hosts/NAME` is under the lease of this process. The host's servers are compared once a second
//! with what was written last, and only changes are written. When etcd comes back, or the lease has
//! ended, everything is compared with etcd again.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Lease;
use serialproxy_limits::seldom;
use serialproxy_proto::api;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::PAGE;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::ServerMark;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Peer;
use crate::Role;
use crate::Roles;
use crate::directory::CONFLICTS;
use crate::directory::Directory;
use crate::directory::HOSTS;
use crate::directory::Host;
use crate::directory::Listed;
use crate::directory::SERVERS;

/// How long a silent host counts as up.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// How often the servers are checked, and the pause after a failure of etcd.
const LOOK: Duration = Duration::from_secs(1);

/// How long after the start a server may still appear that an earlier process had.
const LATE: Duration = Duration::from_secs(60);

/// Most changes in one transaction: etcd allows 128.
const BATCH: usize = 64;

/// The contents of a host.
#[derive(Clone, Debug)]
pub struct Has {
    /// Its servers.
    pub servers: Arc<dyn Servers>,
    /// Their lines.
    pub lines: Arc<dyn LineBook>,
}

/// Publishes a process of this host, whose certificate is `own`, and whether it is `drained`, until
/// `end`; then removes it. Only the role compute has servers.
pub async fn publish(
    (etcd, directory): (Etcd, Directory),
    own: Peer,
    (host, drained): (Host, watch::Receiver<bool>),
    has: Option<Has>,
    end: CancellationToken,
) {
    let Peer { host: name, roles, .. } = own;
    let (host, started) = (watch::Sender::new(host), Instant::now());
    let publisher = Publisher { etcd, directory, name, roles, host, drained, has, started };
    while let Err(error) = publisher.tell(&end).await {
        if seldom::is_due("publish") {
            tracing::warn!(%error, "the cluster cannot be told that this host is up");
        }
        tokio::select! {
            () = end.cancelled() => return,
            () = sleep(pause()) => {}
        }
    }
}

/// The time between two checks, which varies so that hosts do not all act at once when etcd is
/// back.
pub(crate) fn pause() -> Duration {
    let random = getrandom::u32().unwrap_or_default();
    LOOK + LOOK.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error("its servers are not known: {0}")]
    Compute(#[from] ComputeError),
    #[error("its lease in etcd has ended")]
    Lease,
}

struct Publisher {
    etcd: Etcd,
    directory: Directory,
    name: String,
    /// The roles of this host.
    roles: Roles,
    /// The published entry of this process.
    host: watch::Sender<Host>,
    drained: watch::Receiver<bool>,
    has: Option<Has>,
    started: Instant,
}

/// This host's servers in etcd.
#[derive(Default)]
struct Written {
    servers: BTreeMap<ServerId, Listed>,
    /// Servers that this process has had.
    seen: BTreeSet<ServerId>,
    /// Servers that another host has.
    disputed: BTreeSet<ServerId>,
}

impl Publisher {
    /// The key of this process.
    fn key(&self) -> String {
        let Self { name, host, roles, .. } = self;
        // The role that others use most has the host's own key; the other roles may run beside it.
        let first =
            [Role::Compute, Role::Api, Role::Proxy].into_iter().find(|role| roles.has(*role));
        match host.borrow().roles.first() {
            Some(role) if first != Some(*role) => format!("{HOSTS}{name}/{role}"),
            _ => format!("{HOSTS}{name}"),
        }
    }

    /// Publishes this host until the lease ends or `end`.
    async fn tell(&self, end: &CancellationToken) -> Result<(), Fault> {
        let lease = self.etcd.lease(LEASE).await?;
        let mut news = self.host.subscribe();
        let host = news.borrow_and_update().clone();
        self.etcd.put(&self.key(), &host, Some(lease.id())).await?;
        tracing::info!(host = self.name, "the cluster knows this host");
        let told = tokio::select! {
            () = end.cancelled() => Ok(()),
            () = lease.lost() => Err(Fault::Lease),
            never = self.stay(&lease, news) => match never {},
            never = self.follow() => match never {},
            never = self.note_drain() => match never {},
        };
        lease.close().await;
        told
    }

    /// Writes changes of this host's entry, and all of it again when another process removed or
    /// replaced it.
    async fn stay(&self, lease: &Lease, mut news: watch::Receiver<Host>) -> Infallible {
        let key = self.key();
        loop {
            let is_news = timeout(LOOK * 5, news.changed()).await.is_ok();
            let host = news.borrow_and_update().clone();
            let is_current = self.directory.as_of().is_some_and(|as_of| !as_of.stale);
            let found = self.directory.host(key.strip_prefix(HOSTS).unwrap_or_default());
            let is_changed = is_current && found.is_none_or(|found| found.value != host);
            if is_changed && !is_news && seldom::is_due("publish again") {
                tracing::warn!(key, "another process changed what the cluster knows of this host");
            }
            if (is_news || is_changed)
                && let Err(error) = self.etcd.put(&key, &host, Some(lease.id())).await
            {
                tracing::debug!(%error, "this host is written again later");
            }
        }
    }

    /// Publishes whether this host is drained.
    async fn note_drain(&self) -> Infallible {
        let mut drained = self.drained.clone();
        loop {
            let draining = *drained.borrow_and_update();
            self.host.send_if_modified(|host| {
                std::mem::replace(&mut host.draining, draining) != draining
            });
            if drained.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// Publishes each change of the servers. A host whose servers are unknown or cannot be written
    /// is up nevertheless.
    async fn follow(&self) -> Infallible {
        let Some(has) = &self.has else { return pending().await };
        let mut written = None;
        loop {
            if let Err(error) = self.sync(has, &mut written).await {
                if seldom::is_due("publish servers") {
                    tracing::warn!(%error, "the cluster cannot be told of this host's servers");
                }
                sleep(pause()).await;
            }
            sleep(LOOK).await;
        }
    }

    /// Writes the differences from etcd's content.
    async fn sync(&self, has: &Has, written: &mut Option<Written>) -> Result<(), Fault> {
        let current = self.current(has).await?;
        let written = match written {
            Some(written) => written,
            None => {
                self.directory.complete().await;
                let servers = self.directory.of_host(&self.name);
                written.insert(Written { servers, ..Written::default() })
            }
        };
        written.seen.extend(current.keys());
        self.remove(written, &current).await?;
        written.disputed.retain(|id| current.contains_key(id));
        self.add(&mut written.servers, &current).await?;
        for (id, server) in &current {
            if written.servers.get(id) == Some(server) {
                continue;
            }
            // After a failure the content of etcd is unknown.
            written.servers.remove(id);
            if self.claim(*id, server).await? {
                written.servers.insert(*id, server.clone());
                written.disputed.remove(id);
            } else if written.disputed.insert(*id) {
                let name = &server.name;
                tracing::warn!(server = %id, name, "another host has this server: it is left out here");
            }
        }
        self.note_conflicts(&written.disputed);
        Ok(())
    }

    /// Publishes which servers another host has, too.
    fn note_conflicts(&self, disputed: &BTreeSet<ServerId>) {
        let conflicts: Vec<_> = disputed.iter().take(CONFLICTS).copied().collect();
        self.host.send_if_modified(|host| {
            let is_news = host.conflicts != conflicts;
            host.conflicts = conflicts;
            is_news
        });
    }

    /// The servers of this host in their published form.
    async fn current(&self, has: &Has) -> Result<BTreeMap<ServerId, Listed>, Fault> {
        let mut ports = ports(&*has.lines).await?;
        let (mut listed, mut after) = (BTreeMap::new(), None);
        loop {
            let page = Page { project: None, after, limit: PAGE, changed_within: None };
            let servers = has.servers.servers(page).await?.servers;
            after = servers.last().map(ServerMark::from).filter(|_| servers.len() == PAGE);
            listed.extend(servers.into_iter().map(|server| {
                let ports = ports.remove(&server.id).unwrap_or_default();
                (server.id, self.listed(server, ports))
            }));
            if after.is_none() {
                return Ok(listed);
            }
        }
    }

    fn listed(&self, server: api::Server, ports: Vec<u8>) -> Listed {
        let api::Server { name, project, status, unusable_ports, .. } = server;
        Listed { host: self.name.clone(), name, project, status, ports, unusable_ports }
    }

    /// Removes servers that this host no longer has, unless another host has them now. Servers of
    /// an earlier process may still appear, since libvirt is read after the start.
    async fn remove(
        &self,
        written: &mut Written,
        current: &BTreeMap<ServerId, Listed>,
    ) -> Result<(), Fault> {
        let is_late = self.started.elapsed() >= LATE;
        let Written { servers, seen, .. } = written;
        let gone = servers.keys().filter(|id| !current.contains_key(id));
        let gone: Vec<_> = gone.filter(|id| is_late || seen.contains(id)).copied().collect();
        for id in gone {
            let key = key(id);
            if let Some(entry) = self.etcd.entry::<Listed>(&key).await?
                && entry.value.host == self.name
            {
                let unchanged = self.etcd.transaction().unchanged(&key, entry.changed);
                unchanged.delete(&key).commit().await?;
            }
            servers.remove(&id);
            seen.remove(&id);
        }
        Ok(())
    }

    /// Writes servers that have no entry yet, many at a time: a host starts with all its servers.
    /// The rest are handled one by one.
    async fn add(
        &self,
        written: &mut BTreeMap<ServerId, Listed>,
        current: &BTreeMap<ServerId, Listed>,
    ) -> Result<(), Fault> {
        let new: Vec<_> = current.iter().filter(|(id, _)| !written.contains_key(id)).collect();
        for batch in new.chunks(BATCH).filter(|batch| batch.len() > 1) {
            let mut change = self.etcd.transaction();
            for (id, server) in batch {
                let key = key(**id);
                change = change.absent(&key).put(&key, server, None);
            }
            if change.commit().await?.is_some() {
                written.extend(batch.iter().map(|(id, server)| (**id, (*server).clone())));
            }
        }
        Ok(())
    }

    /// Writes a server, unless another running host has it.
    async fn claim(&self, id: ServerId, server: &Listed) -> Result<bool, Fault> {
        let key = key(id);
        let change = self.etcd.transaction();
        let change = match self.etcd.entry::<Listed>(&key).await {
            // An entry that does not parse may be replaced by the host that has the server.
            Err(EtcdError::Value(_)) => change.present(&key),
            Err(error) => return Err(error.into()),
            Ok(None) => change.absent(&key),
            Ok(Some(entry)) => {
                let other = &entry.value.host;
                if *other != self.name
                    && self.etcd.get::<Host>(&format!("{HOSTS}{other}")).await?.is_some()
                {
                    return Ok(false);
                }
                change.unchanged(&key, entry.changed)
            }
        };
        // If it changed meanwhile, the next check handles it.
        Ok(change.put(&key, server, None).commit().await?.is_some())
    }
}

fn key(id: ServerId) -> String {
    format!("{SERVERS}{id}")
}

/// The ports with a console, by server.
async fn ports(lines: &dyn LineBook) -> Result<BTreeMap<ServerId, Vec<u8>>, ComputeError> {
    let (mut ports, mut after) = (BTreeMap::<_, Vec<u8>>::new(), None);
    loop {
        let page = Page { project: None, after, limit: PAGE, changed_within: None };
        let page = lines.lines(page).await?.lines;
        let keys = page.iter().map(|line| LineKey { server: line.server.id, port: line.port });
        after = keys.clone().next_back().filter(|_| page.len() == PAGE);
        keys.for_each(|key| ports.entry(key.server).or_default().push(key.port));
        if after.is_none() {
            return Ok(ports);
        }
    }
}
