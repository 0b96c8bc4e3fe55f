//! `serialproxy cluster status`.

use std::fmt::Write;

use serialproxy_cluster::Surveyed;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Node;

/// The columns, and the spaces between them.
const HEADINGS: [&str; 7] =
    ["NAME", "ROLES", "UP", "VERSION", "SERVERS", "LINES", "CERTIFICATE UNTIL"];
const GAP: &str = "  ";

/// The hosts as a table, and a line for each node of etcd.
pub(super) fn table<'a>(
    hosts: impl IntoIterator<Item = (&'a String, &'a Surveyed)>,
    nodes: &[Node],
) -> String {
    let rows = hosts.into_iter().map(|(name, host)| row(name, host));
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
    for node in nodes {
        let _ = writeln!(text, "etcd {}: {}", node.endpoint, health(node));
    }
    text
}

fn row(name: &str, host: &Surveyed) -> [String; 7] {
    let roles = host.member.as_ref().map(|member| member.roles.to_string());
    let up = host.up.iter().map(|process| {
        let roles = process.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",");
        if process.draining { format!("{roles} (draining)") } else { roles }
    });
    let mut versions: Vec<_> = host.up.iter().map(|process| process.version.clone()).collect();
    versions.dedup();
    let ends = host.member.iter().flat_map(|member| &member.certificates);
    let end = ends.map(|valid| valid.until).max().map(|until| format!("{until:.0}"));
    let cells = [
        name.to_owned(),
        roles.unwrap_or_default(),
        up.collect::<Vec<_>>().join(","),
        versions.join(","),
        host.servers.to_string(),
        host.lines.to_string(),
        end.unwrap_or_default(),
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
    use std::collections::BTreeMap;

    use serialproxy_cluster::Host;
    use serialproxy_cluster::Role;
    use serialproxy_etcd::Health;

    use super::*;

    #[test]
    fn hosts_are_rows_and_nodes_of_etcd_are_lines() {
        let up = Host {
            draining: true,
            version: "1.2\u{1b}[2J".into(),
            ..Host::of("h1:6084".into(), Role::Compute)
        };
        let hosts = BTreeMap::from([
            ("h1".to_owned(), Surveyed { up: vec![up], servers: 2, lines: 3, member: None }),
            ("long-name".to_owned(), Surveyed::default()),
        ]);
        let (version, bytes) = ("3.4.23".to_owned(), 3_000_000);
        let health = Health { version, bytes, has_leader: true, is_leader: true };
        let nodes = [
            Node { endpoint: "http://e1:2379".into(), health: Ok(health) },
            Node { endpoint: "http://e2:2379".into(), health: Err(EtcdError::Away("no".into())) },
        ];
        assert_eq!(
            table(&hosts, &nodes),
            "NAME       ROLES  UP                  VERSION  SERVERS  LINES  CERTIFICATE UNTIL\n\
             h1         -      compute (draining)  1.2[2J   2        3      -\n\
             long-name  -      -                   -        0        0      -\n\
             etcd http://e1:2379: version 3.4.23, 3 MiB, leader\n\
             etcd http://e2:2379: does not answer: no\n"
        );
    }
}
