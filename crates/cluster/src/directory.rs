//! The directory: the hosts of the cluster, and which of them has which server.
//!
//! A host is up while its lease lives. Its servers stay in the directory when the host is lost, so
//! that they are shown as lost instead of as deleted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use serialproxy_etcd::AsOf;
use serialproxy_etcd::Bounds;
use serialproxy_etcd::Entry;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::Watched;
use serialproxy_proto::api;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::ServerMark;
use serialproxy_proto::id::ServerId;
use tokio::sync::watch;

use crate::Role;

/// The prefix of hosts by name.
pub(crate) const HOSTS: &str = "hosts/";

/// The prefix of servers by id.
pub(crate) const SERVERS: &str = "servers/";

/// Most hosts and servers, and most bytes of an entry.
const MOST_HOSTS: Bounds = Bounds { entries: 10_000, value: 4 * 1024 };
pub(crate) const MOST_SERVERS: Bounds = Bounds { entries: 500_000, value: 16 * 1024 };

/// A running process: the value of `hosts/NAME`. Where several roles of one host run as separate
/// processes, that key belongs to the first of them in the order compute, api, proxy; the others
/// have `hosts/NAME/ROLE`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Host {
    /// `HOST:PORT` of its cluster listener.
    pub address: String,
    /// Its roles.
    pub roles: Vec<Role>,
    /// The program's version.
    pub version: String,
    /// Whether it boots guests.
    #[serde(default)]
    pub libvirt: bool,
    /// Whether its address is where users connect: it has no cluster listener.
    #[serde(default)]
    pub for_users: bool,
    /// Whether it accepts no new sessions.
    #[serde(default)]
    pub draining: bool,
    /// Servers that it also has but another host had first; at most `CONFLICTS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ServerId>,
}

/// Most conflicts that a host reports, and that are read.
pub(crate) const CONFLICTS: usize = 32;

impl Host {
    /// A process with this role, which other hosts reach at this address.
    pub fn of(address: String, role: Role) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let (libvirt, for_users, draining, conflicts) = (false, false, false, Vec::new());
        Self { address, roles: vec![role], version, libvirt, for_users, draining, conflicts }
    }
}

/// A server: the value of `servers/UUID`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Listed {
    /// The host that has it.
    pub host: String,
    /// Its name.
    pub name: String,
    /// Id of its project.
    pub project: String,
    /// Its state.
    pub status: api::Status,
    /// Indexes of its serial ports with a console.
    #[serde(default)]
    pub ports: Vec<u8>,
    /// Its other serial ports, each with the reason why it has no console.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unusable_ports: Vec<api::UnusablePort>,
}

/// All hosts and servers of a cluster, as etcd stores them. Clones share them.
#[derive(Clone, Debug)]
pub struct Directory {
    hosts: Watched<Host>,
    servers: Watched<Listed>,
}

impl Directory {
    /// Follows etcd from now on.
    pub fn follow(etcd: &Etcd) -> Self {
        let (hosts, servers) = (etcd.watch(HOSTS, MOST_HOSTS), etcd.watch(SERVERS, MOST_SERVERS));
        Self { hosts, servers }
    }

    /// Waits until it is complete for the first time.
    pub async fn complete(&self) {
        self.hosts.listed().await;
        self.servers.listed().await;
    }

    /// When it was last known to equal etcd's content; none before it was complete.
    pub fn as_of(&self) -> Option<AsOf> {
        let (hosts, servers) = (self.hosts.as_of()?, self.servers.as_of()?);
        let time = hosts.time.min(servers.time);
        Some(AsOf { time, stale: hosts.stale || servers.stale })
    }

    /// Reports changes of the hosts.
    pub fn hosts_change(&self) -> watch::Receiver<u64> {
        self.hosts.news()
    }

    /// Reports changes of the servers.
    pub fn servers_change(&self) -> watch::Receiver<u64> {
        self.servers.news()
    }

    /// A server, if any host has it or had it.
    pub fn server(&self, id: ServerId) -> Option<Arc<Entry<Listed>>> {
        self.servers.get(&id.to_string())
    }

    /// The host of that name, if a process with the role compute is up there.
    pub fn compute(&self, name: &str) -> Option<Arc<Entry<Host>>> {
        self.process(name, Role::Compute)
    }

    /// The process with that role on the host of that name, if it is up.
    pub fn process(&self, name: &str, role: Role) -> Option<Arc<Entry<Host>>> {
        let has = |host: &Arc<Entry<Host>>| host.value.roles.contains(&role);
        let first = self.hosts.get(name).filter(has);
        first.or_else(|| self.hosts.get(&format!("{name}/{role}")).filter(has))
    }

    /// The process of that key below `hosts/`, if it is up.
    pub(crate) fn host(&self, key: &str) -> Option<Arc<Entry<Host>>> {
        self.hosts.get(key)
    }

    /// The servers of a host.
    pub(crate) fn of_host(&self, name: &str) -> BTreeMap<ServerId, Listed> {
        self.servers.read(|servers| {
            let own = servers.iter().filter(|(_, entry)| entry.value.host == name);
            own.filter_map(|(id, entry)| Some((id.parse().ok()?, entry.value.clone()))).collect()
        })
    }

    /// Names and addresses of all hosts that are up in this role and have a cluster listener for it.
    pub fn up(&self, role: Role) -> Vec<(String, String)> {
        self.hosts.read(|hosts| {
            let has = |host: &Host| host.roles.contains(&role) && !host.for_users;
            let up = hosts.iter().filter(|(_, host)| has(&host.value));
            up.map(|(key, host)| (name_of(key).to_owned(), host.value.address.clone())).collect()
        })
    }

    /// Whether a process of this host is up.
    pub(crate) fn is_up(&self, name: &str) -> bool {
        self.hosts.read(|hosts| hosts.keys().any(|key| name_of(key) == name))
    }

    /// Names of all hosts that are up, of which a process has no cluster listener.
    pub(crate) fn for_users(&self) -> BTreeSet<String> {
        self.hosts.read(|hosts| {
            let them = hosts.iter().filter(|(_, host)| host.value.for_users);
            them.map(|(key, _)| name_of(key).to_owned()).collect()
        })
    }

    /// Names and addresses of all hosts that boot guests.
    pub fn with_libvirt(&self) -> Vec<(String, String)> {
        self.hosts.read(|hosts| {
            let booting = hosts.iter().filter(|(_, host)| host.value.libvirt);
            booting.map(|(name, host)| (name.clone(), host.value.address.clone())).collect()
        })
    }

    /// Names of hosts that have servers but are not up.
    pub fn lost(&self) -> Vec<String> {
        self.servers.read(|servers| {
            let names: BTreeSet<_> = servers.values().map(|server| &*server.value.host).collect();
            let lost = names.into_iter().filter(|name| self.compute(name).is_none());
            lost.map(ToOwned::to_owned).collect()
        })
    }

    /// A page of the servers.
    pub fn servers(&self, page: &Page<ServerMark>) -> Vec<api::Server> {
        let mut first = BTreeMap::new();
        self.servers.read(|servers| {
            for (id, entry) in servers {
                let Listed { project, name, .. } = &entry.value;
                // Most servers are not on this page, and this comparison already skips them.
                let is_before = page.after.as_ref().is_some_and(|after| *name < after.name);
                let last = first.last_key_value().filter(|_| first.len() == page.limit());
                if is_before || last.is_some_and(|(last, _): (&ServerMark, _)| *name > last.name) {
                    continue;
                }
                let Ok(id) = id.parse() else { continue };
                let mark = ServerMark { name: name.clone(), id };
                if page.is_of(project) && !page.is_behind(&mark) {
                    first.insert(mark, Arc::clone(entry));
                    if first.len() > page.limit() {
                        first.pop_last();
                    }
                }
            }
        });
        first.into_iter().map(|(mark, entry)| self.seen(mark.id, &entry.value)).collect()
    }

    /// A server as lists show it. It is lost where its host is not up.
    pub(crate) fn seen(&self, id: ServerId, listed: &Listed) -> api::Server {
        let is_up = self.compute(&listed.host).is_some();
        api::Server {
            id,
            name: listed.name.clone(),
            status: if is_up { listed.status } else { api::Status::HostLost },
            project: listed.project.clone(),
            host: listed.host.clone(),
            unusable_ports: listed.unusable_ports.clone(),
        }
    }
}

/// The host of a key below `hosts/`.
fn name_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(name, _)| name)
}
