//! The cluster of this host: etcd, whether this host still belongs to it, and the other hosts.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serialproxy_cluster::Host;
use serialproxy_cluster::Identity;
use serialproxy_cluster::Members;
use serialproxy_cluster::Role as ClusterRole;
use serialproxy_cluster::etcd_settings;
use serialproxy_cluster::processes;
use serialproxy_cluster::server_name;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Node;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Role;
use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::finding::first;
use super::permissions;
use super::wire;

/// Bytes of etcd's database that are a warning; by default etcd refuses changes at 2 GiB.
const LARGE: u64 = 3 << 29;

/// Hosts that are connected to, at most, and for how long.
const PEERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(2);

/// How far the clocks of two hosts may be apart, in seconds: HTTP's times are whole ones.
const APART: i64 = 5;

/// etcd and the hosts that it lists.
pub(super) async fn check(subject: &Subject) -> Vec<Finding> {
    let etcd = match Etcd::new(etcd_settings(&subject.config().cluster)) {
        Ok(etcd) => etcd,
        Err(error) => {
            let fix = "correct [cluster] etcd_endpoints and the files for etcd";
            return vec![Finding::problem(Check::Etcd, error.to_string(), fix)];
        }
    };
    let (mut findings, answers) = nodes(&etcd.nodes().await);
    if !answers {
        return findings;
    }
    let asked = async {
        match permissions::check(subject, &etcd).await? {
            Some(denied) => Ok(Err(denied)),
            None => processes(&etcd).await.map(Ok),
        }
    };
    let up = match asked.await {
        Ok(Ok(up)) => up,
        Ok(Err(denied)) => {
            findings.push(denied);
            return findings;
        }
        Err(error) => {
            findings.push(Finding::problem(Check::Etcd, error.to_string(), remedy(&error)));
            return findings;
        }
    };
    findings.push(versions(&up));
    findings.extend(conflicts(&up));
    if let Ok(identity) = Identity::load(&subject.config().cluster) {
        findings.extend(membership(&identity, &etcd).await);
        findings.extend(peers(subject, Arc::new(identity), &up).await);
    }
    findings
}

/// What the nodes say, and whether any serves.
fn nodes(nodes: &[Node]) -> (Vec<Finding>, bool) {
    let mut findings = Vec::new();
    let leaderless = nodes.iter().find(|node| lacks_leader(node));
    let silent: Vec<_> = nodes
        .iter()
        .filter(|node| !lacks_leader(node))
        .filter_map(|node| Some(format!("{} ({})", node.endpoint, node.health.as_ref().err()?)))
        .collect();
    let healthy = nodes.iter().filter_map(|node| Some((node, node.health.as_ref().ok()?)));
    let healthy: Vec<_> = healthy.collect();
    let start = "start etcd on that host, open its port, or correct [cluster] etcd_endpoints and the files \
                 and credentials for etcd";
    match (silent.is_empty(), healthy.first()) {
        (true, Some((_, health))) => findings.push(Finding::ok(
            Check::Etcd,
            format!("all {} nodes of etcd respond (version {})", nodes.len(), health.version),
        )),
        (true, None) => {}
        (false, None) if leaderless.is_none() => {
            let text = format!("no node of etcd responds: {}", first(&silent));
            findings.push(Finding::problem(Check::Etcd, text, start));
        }
        (false, _) => {
            let text = format!("nodes of etcd do not respond: {}", first(&silent));
            findings.push(Finding::warning(Check::Etcd, text, start));
        }
    }
    if let Some(node) = leaderless {
        findings.push(Finding::problem(
            Check::Etcd,
            format!("etcd has no leader at {}, so that it accepts no changes", node.endpoint),
            "start the other nodes of etcd: more than half of them have to run",
        ));
    }
    if let Some((node, health)) = healthy.iter().find(|(_, health)| health.bytes > LARGE) {
        findings.push(Finding::warning(
            Check::Etcd,
            format!("the database of etcd at {} has {} MiB", node.endpoint, health.bytes >> 20),
            "compact and defragment it (`etcdctl compact`, `etcdctl defrag`), before etcd refuses changes",
        ));
    }
    (findings, healthy.iter().any(|(_, health)| health.has_leader))
}

/// A node that has known for long that there is none refuses to be asked.
fn lacks_leader(node: &Node) -> bool {
    match &node.health {
        Ok(health) => !health.has_leader,
        Err(error) => error.to_string().contains("no leader"),
    }
}

fn remedy(error: &EtcdError) -> &'static str {
    match error {
        EtcdError::Refused(_) => {
            "give the user of this role the permissions of docs/cluster.md, or correct etcd_username and \
             etcd_password"
        }
        _ => "start more than half of etcd's nodes",
    }
}

fn versions(up: &[(String, Host)]) -> Finding {
    let mut by_version: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    by_version.entry(env!("CARGO_PKG_VERSION")).or_default().insert("this program");
    for (name, process) in up {
        by_version.entry(&process.version).or_default().insert(name);
    }
    let shown = by_version.iter().map(|(version, hosts)| {
        let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
        format!("{version} ({})", first(&hosts))
    });
    let shown: Vec<_> = shown.collect();
    match shown.len() {
        1 => Finding::ok(
            Check::Versions,
            format!("all {} processes of the cluster run {}", up.len(), env!("CARGO_PKG_VERSION")),
        ),
        _ => Finding::warning(
            Check::Versions,
            format!("the hosts of the cluster run different versions: {}", first(&shown)),
            "upgrade all hosts to one version, and restart their services",
        ),
    }
}

fn conflicts(up: &[(String, Host)]) -> Option<Finding> {
    let named = up.iter().filter(|(_, process)| !process.conflicts.is_empty());
    let named: Vec<_> = named.map(|(name, _)| name.clone()).collect();
    (!named.is_empty()).then(|| {
        Finding::warning(
            Check::Conflicts,
            format!("{} have servers that another host had first", first(&named)),
            "`serialproxy cluster status` lists them: remove the [static] line or the domain on one host",
        )
    })
}

/// Whether this host was removed.
async fn membership(identity: &Identity, etcd: &Etcd) -> Option<Finding> {
    let own = identity.own().ok()?;
    let is_removed = Members::new(etcd.clone()).is_removed(&own.serial).await.ok()?;
    is_removed.then(|| {
        Finding::problem(
            Check::Certificate,
            format!("this host, {}, was removed from the cluster", own.host),
            "run `serialproxy enroll` on an api host, and the command that it prints here",
        )
    })
}

/// That this host reaches those that it needs, and that their clocks agree.
async fn peers(subject: &Subject, identity: Arc<Identity>, up: &[(String, Host)]) -> Vec<Finding> {
    let needed: &[ClusterRole] = match subject.role {
        Role::Compute => &[ClusterRole::Api],
        _ => &[ClusterRole::Api, ClusterRole::Compute],
    };
    let mut asked = JoinSet::new();
    for (name, process) in up {
        let role = process.roles.iter().find(|role| needed.contains(role)).copied();
        let Some(role) = role.filter(|_| asked.len() < PEERS) else { continue };
        let (identity, name, address) =
            (Arc::clone(&identity), name.clone(), process.address.clone());
        asked.spawn(async move {
            let time = timeout(PATIENCE, time_of(&identity, role, &name, &address)).await;
            (
                format!("{name} ({address})"),
                time.unwrap_or_else(|_| Err("no answer in time".into())),
            )
        });
    }
    let all = asked.join_all().await;
    let mut findings = Vec::new();
    let silent =
        all.iter().filter_map(|(host, time)| Some(format!("{host}: {}", time.as_ref().err()?)));
    let silent: Vec<_> = silent.collect();
    findings.push(match silent.is_empty() {
        true => Finding::ok(Check::Peers, format!("{} other processes of the cluster respond", all.len())),
        false => Finding::problem(
            Check::Peers,
            format!("hosts that are up cannot be used from here: {}", first(&silent)),
            "open the port of [cluster] listen between the hosts, and correct [cluster] advertise there",
        ),
    });
    let apart = all.iter().filter_map(|(host, time)| {
        let apart = time.as_ref().ok()?.abs();
        (apart > APART).then(|| format!("{host} by {apart} s"))
    });
    let apart: Vec<_> = apart.collect();
    findings.push(match apart.is_empty() {
        true => Finding::ok(Check::ClusterClock, "the clocks of the hosts agree"),
        false => Finding::problem(
            Check::ClusterClock,
            format!("the clock of this host differs from {}", first(&apart)),
            "let chrony or systemd-timesyncd keep the clocks of all hosts",
        ),
    });
    findings
}

/// How many seconds the clock of a host is ahead, by what its answer says.
async fn time_of(
    identity: &Identity,
    role: ClusterRole,
    name: &str,
    address: &str,
) -> Result<i64, String> {
    let said = |error: std::io::Error| serialproxy_cluster::reason(&error);
    let config = identity.client_config(role, name).map_err(|error| error.to_string())?;
    let addresses: Vec<_> = lookup_host(address).await.map_err(said)?.collect();
    let tls = (Arc::new(config), server_name());
    let mut stream = wire::connect(&addresses, Some(tls)).await.map_err(said)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let head = wire::ask(&mut stream, &request).await.map_err(said)?;
    let date = head.get("date").and_then(|date| rfc2822::parse(date).ok());
    let date = date.ok_or_else(|| "its answer has no date".to_owned())?;
    Ok(date.timestamp().as_second() - Timestamp::now().as_second())
}

#[cfg(test)]
mod tests {
    use serialproxy_etcd::Health;

    use super::*;
    use crate::doctor::finding::Level;

    fn node(health: Result<(bool, u64), &str>) -> Node {
        let health = health.map(|(has_leader, bytes)| Health {
            version: "3.4.23".into(),
            bytes,
            has_leader,
            is_leader: has_leader,
        });
        let health = health.map_err(|why| EtcdError::Away(why.into()));
        Node { endpoint: "http://e:2379".into(), health }
    }

    fn worst(all: &[Node]) -> Level {
        let (findings, _) = nodes(all);
        let rank = |level: Level| {
            [Level::Ok, Level::Warning, Level::Problem].iter().position(|l| *l == level)
        };
        findings.iter().map(|finding| finding.level).max_by_key(|level| rank(*level)).unwrap()
    }

    #[test]
    fn etcd_is_as_healthy_as_its_nodes_say() {
        let good = || node(Ok((true, 1 << 20)));
        assert_eq!(worst(&[good(), good()]), Level::Ok);
        assert_eq!(worst(&[good(), node(Err("refused"))]), Level::Warning);
        assert_eq!(worst(&[node(Err("refused"))]), Level::Problem);
        assert_eq!(worst(&[node(Ok((false, 1 << 20)))]), Level::Problem);
        assert_eq!(worst(&[node(Err("etcdserver: no leader"))]), Level::Problem);
        assert_eq!(worst(&[node(Ok((true, LARGE + 1)))]), Level::Warning);
    }

    #[test]
    fn hosts_of_other_versions_are_named() {
        let host = |version: &str| Host {
            version: version.into(),
            ..Host::of("h:1".into(), ClusterRole::Compute)
        };
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(versions(&[("h1".into(), host(own))]).level, Level::Ok);
        let found = versions(&[("h1".into(), host(own)), ("h2".into(), host("9.9.9"))]);
        assert_eq!(found.level, Level::Warning);
        assert!(found.text().contains("9.9.9 (h2)"), "{found:?}");
    }
}
