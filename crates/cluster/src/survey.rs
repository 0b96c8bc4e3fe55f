//! All hosts of a cluster, for people.

use std::collections::BTreeMap;

use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;

use crate::directory::HOSTS;
use crate::directory::Host;
use crate::directory::Listed;
use crate::directory::MOST_SERVERS;
use crate::directory::SERVERS;
use crate::member::Member;
use crate::members::MEMBERS;
use crate::members::MOST_MEMBERS;

/// A host that belongs to the cluster, or did.
#[derive(Clone, Debug, Default)]
pub struct Surveyed {
    /// What its certificates say; none where another PKI issues them.
    pub member: Option<Member>,
    /// Its processes that are up.
    pub up: Vec<Host>,
    /// How many servers it has.
    pub servers: usize,
    /// How many of their serial ports have a console.
    pub lines: usize,
}

/// All hosts, by name.
///
/// # Errors
///
/// When etcd is away or refuses.
pub async fn survey(etcd: &Etcd) -> Result<BTreeMap<String, Surveyed>, EtcdError> {
    let (members, up, servers) = tokio::try_join!(
        etcd.list::<Member>(MEMBERS, MOST_MEMBERS),
        etcd.list::<Host>(HOSTS, MOST_MEMBERS),
        etcd.list::<Listed>(SERVERS, MOST_SERVERS.entries),
    )?;
    let mut hosts: BTreeMap<String, Surveyed> = BTreeMap::new();
    for (name, member) in members {
        hosts.entry(name).or_default().member = Some(member);
    }
    for (key, process) in up {
        let name = key.split_once('/').map_or(key.as_str(), |(name, _)| name);
        hosts.entry(name.to_owned()).or_default().up.push(process);
    }
    for (_, server) in servers {
        let host = hosts.entry(server.host).or_default();
        host.servers += 1;
        host.lines += server.ports.len();
    }
    Ok(hosts)
}
