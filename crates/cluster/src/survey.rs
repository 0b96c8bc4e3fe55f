//! An overview of all hosts of a cluster, for people.

use std::collections::BTreeMap;

use serde::Serialize;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_proto::id::ServerId;

use crate::directory::CONFLICTS;
use crate::directory::HOSTS;
use crate::directory::Host;
use crate::directory::Listed;
use crate::directory::MOST_SERVERS;
use crate::directory::SERVERS;
use crate::drain::DRAINING;
use crate::drain::Drained;
use crate::member::Member;
use crate::members::MEMBERS;
use crate::members::MOST_MEMBERS;

/// A host that belongs to the cluster, or used to.
#[derive(Clone, Debug, Default)]
pub struct Surveyed {
    /// Its stored form; none where another PKI issues the certificates.
    pub member: Option<Member>,
    /// Its processes that are up.
    pub up: Vec<Host>,
    /// How many servers it has.
    pub servers: usize,
    /// How many of their serial ports have a console.
    pub lines: usize,
    /// The record that it must drain.
    pub drained: Option<Drained>,
    /// Servers that another host had first.
    pub conflicts: Vec<Conflict>,
}

/// A server that two hosts have. It belongs to the first.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Conflict {
    /// The server.
    pub server: ServerId,
    /// Its name.
    pub name: String,
    /// The host that had it first.
    pub host: String,
}

/// All hosts, by name.
///
/// # Errors
///
/// When etcd is away or refuses.
pub async fn survey(etcd: &Etcd) -> Result<BTreeMap<String, Surveyed>, EtcdError> {
    let (members, up, servers, drained) = tokio::try_join!(
        etcd.list::<Member>(MEMBERS, MOST_MEMBERS),
        processes(etcd),
        etcd.list::<Listed>(SERVERS, MOST_SERVERS.entries),
        etcd.list::<Drained>(DRAINING, MOST_MEMBERS),
    )?;
    let mut hosts: BTreeMap<String, Surveyed> = BTreeMap::new();
    for (name, member) in members {
        hosts.entry(name).or_default().member = Some(member);
    }
    for (name, process) in up {
        hosts.entry(name).or_default().up.push(process);
    }
    for (name, drained) in drained {
        hosts.entry(name).or_default().drained = Some(drained);
    }
    for (name, host) in &mut hosts {
        host.conflicts = conflicts(name, &host.up, &servers);
    }
    for (_, server) in servers {
        let host = hosts.entry(server.host).or_default();
        host.servers += 1;
        host.lines += server.ports.len();
    }
    Ok(hosts)
}

/// All processes that are up, each with the name of its host. Every role may read them.
///
/// # Errors
///
/// When etcd is away or refuses.
pub async fn processes(etcd: &Etcd) -> Result<Vec<(String, Host)>, EtcdError> {
    let mut up = etcd.list::<Host>(HOSTS, MOST_MEMBERS).await?;
    for (name, _) in &mut up {
        name.truncate(name.find('/').unwrap_or(name.len()));
    }
    Ok(up)
}

/// The other hosts that have the servers in a host's list of conflicts; `servers` are ordered.
fn conflicts(host: &str, up: &[Host], servers: &[(String, Listed)]) -> Vec<Conflict> {
    let named = up.iter().flat_map(|process| process.conflicts.iter().take(CONFLICTS));
    let found = named.filter_map(|server| {
        let id = server.to_string();
        let place = servers.binary_search_by(|(key, _)| key.as_str().cmp(&id)).ok()?;
        let (_, listed) = servers.get(place).filter(|(_, listed)| listed.host != host)?;
        let (name, host) = (listed.name.clone(), listed.host.clone());
        Some(Conflict { server: *server, name, host })
    });
    found.collect()
}
