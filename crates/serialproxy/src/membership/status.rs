//! `serialproxy cluster status`.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::json;
use serialproxy_cluster::Conflict;
use serialproxy_cluster::Surveyed;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Health;
use serialproxy_etcd::Node;

/// The columns, and the spaces between them.
const HEADINGS: [&str; 8] =
    ["NAME", "ROLES", "UP", "VERSION", "SERVERS", "LINES", "CERTIFICATE UNTIL", "DRAINED SINCE"];
const GAP: &str = "  ";

/// The hosts as a table, and a line for each server that two of them have and each node of etcd.
pub(super) fn table(hosts: &BTreeMap<String, Surveyed>, nodes: &[Node]) -> String {
    let rows = hosts.iter().map(|(name, host)| row(name, host));
    let rows: Vec<_> = [HEADINGS.map(str::to_owned)].into_iter().chain(rows).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let widths = rows.iter().filter_map(|row| row.get(column));
            let width = widths.map(|cell| cell.chars().count()).max().unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell:width$}{GAP}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for (other, host) in hosts {
        for Conflict { server, name, host } in &host.conflicts {
            let (name, host, other) = (shown(name), shown(host), shown(other));
            let _ = writeln!(
                text,
                "conflict: hosts {host} and {other} both have server {name} ({server}); it is that of {host}"
            );
        }
    }
    for node in nodes {
        let _ = writeln!(text, "etcd {}: {}", node.endpoint, health(node));
    }
    text
}

/// The same for programs.
pub(super) fn json(hosts: &BTreeMap<String, Surveyed>, nodes: &[Node]) -> String {
    let hosts = hosts.iter().map(|(name, host)| {
        json!({
            "name": name,
            "roles": host.member.as_ref().map(|member| &member.roles),
            "up": host.up,
            "servers": host.servers,
            "lines": host.lines,
            "certificate_until": certificate_until(host),
            "drained_since": host.drained.map(|drained| drained.since),
            "conflicts": host.conflicts,
        })
    });
    let nodes = nodes.iter().map(|node| match &node.health {
        Ok(Health { version, bytes, has_leader, is_leader }) => json!({
            "endpoint": node.endpoint, "version": version, "bytes": bytes,
            "has_leader": has_leader, "is_leader": is_leader,
        }),
        Err(error) => json!({"endpoint": node.endpoint, "error": error.to_string()}),
    });
    let (hosts, nodes) = (hosts.collect::<Vec<_>>(), nodes.collect::<Vec<_>>());
    format!("{:#}\n", json!({"hosts": hosts, "etcd": nodes}))
}

fn certificate_until(host: &Surveyed) -> Option<Timestamp> {
    let all = host.member.iter().flat_map(|member| &member.certificates);
    all.map(|valid| valid.until).max()
}

fn row(name: &str, host: &Surveyed) -> [String; 8] {
    let roles = host.member.as_ref().map(|member| member.roles.to_string());
    let up = host.up.iter().map(|process| {
        let roles = process.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",");
        if process.draining { format!("{roles} (draining)") } else { roles }
    });
    let mut versions: Vec<_> = host.up.iter().map(|process| process.version.clone()).collect();
    versions.dedup();
    let end = certificate_until(host).map(|until| format!("{until:.0}"));
    let drained = host.drained.map(|drained| format!("{:.0}", drained.since));
    let cells = [
        name.to_owned(),
        roles.unwrap_or_default(),
        up.collect::<Vec<_>>().join(","),
        versions.join(","),
        host.servers.to_string(),
        host.lines.to_string(),
        end.unwrap_or_default(),
        drained.unwrap_or_default(),
    ];
    cells.map(|cell| shown(&cell))
}

/// What others wrote, as a terminal may show it; a sign for nothing.
fn shown(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

fn health(node: &Node) -> String {
    match &node.health {
        Ok(health) => {
            let leads = match (health.has_leader, health.is_leader) {
                (false, _) => "no leader: etcd accepts no changes",
                (true, true) => "leader",
                (true, false) => "follower",
            };
            let mebibytes = health.bytes.div_ceil(1024 * 1024);
            format!("version {}, {mebibytes} MiB, {leads}", shown(&health.version))
        }
        Err(EtcdError::Away(reason)) => format!("does not answer: {}", shown(reason)),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serialproxy_cluster::Drained;
    use serialproxy_cluster::Host;
    use serialproxy_cluster::Role;

    use super::*;

    const SERVER: &str = "2b0b6b7e-3f0c-5c8f-9b1a-6f5f2f3f4f50";

    fn hosts() -> BTreeMap<String, Surveyed> {
        let up = Host {
            draining: true,
            version: "1.2\u{1b}[2J".into(),
            ..Host::of("h1:6084".into(), Role::Compute)
        };
        let drained = Some(Drained { since: "2026-11-29T10:00:00.7Z".parse().unwrap() });
        let (server, name, host) = (SERVER.parse().unwrap(), "sw\n1".into(), "h2".into());
        let conflicts = vec![Conflict { server, name, host }];
        let (up, servers, lines) = (vec![up], 2, 3);
        let h1 = Surveyed { up, servers, lines, member: None, drained, conflicts };
        BTreeMap::from([("h1".to_owned(), h1), ("long-name".to_owned(), Surveyed::default())])
    }

    fn nodes() -> [Node; 2] {
        let (version, bytes) = ("3.4.23".to_owned(), 3_000_000);
        let health = Health { version, bytes, has_leader: true, is_leader: true };
        [
            Node { endpoint: "http://e1:2379".into(), health: Ok(health) },
            Node { endpoint: "http://e2:2379".into(), health: Err(EtcdError::Away("no".into())) },
        ]
    }

    #[test]
    fn hosts_are_rows_and_conflicts_and_nodes_of_etcd_are_lines() {
        assert_eq!(
            table(&hosts(), &nodes()),
            format!(
                "\
NAME       ROLES  UP                  VERSION  SERVERS  LINES  CERTIFICATE UNTIL  DRAINED SINCE
h1         -      compute (draining)  1.2[2J   2        3      -                  2026-11-29T10:00:00Z
long-name  -      -                   -        0        0      -                  -
conflict: hosts h2 and h1 both have server sw1 ({SERVER}); it is that of h2
etcd http://e1:2379: version 3.4.23, 3 MiB, leader
etcd http://e2:2379: does not answer: no
"
            )
        );
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let status: Value = serde_json::from_str(&json(&hosts(), &nodes())).unwrap();
        let host = &status["hosts"][0];
        assert_eq!((&host["name"], &host["up"][0]["draining"]), (&"h1".into(), &true.into()));
        assert_eq!(host["drained_since"], "2026-11-29T10:00:00.7Z");
        assert_eq!(host["conflicts"][0]["host"], "h2");
        assert_eq!(status["hosts"][1]["drained_since"], Value::Null);
        assert_eq!(status["etcd"][0]["version"], "3.4.23");
        assert_eq!(status["etcd"][1]["error"], "etcd does not answer: no");
    }
}
