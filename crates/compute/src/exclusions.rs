//! Domains and ports that are excluded from consoles.

use std::collections::HashSet;

use serialproxy_config::values::Compute;
use serialproxy_proto::id::ServerId;

use crate::domain::Facts;

/// Why an excluded port has no line.
const WHY: &str = "[compute] exclude names it: remove it there to get a console";

/// The domains and ports in `[compute] exclude`.
#[derive(Debug)]
pub(crate) struct Exclusions(HashSet<(String, Option<u8>)>);

impl Exclusions {
    pub(crate) fn new(config: &Compute) -> Self {
        let all = config.excluded.iter().map(|excluded| {
            let id = excluded.server.parse::<ServerId>().ok();
            (id.map_or_else(|| excluded.server.clone(), |id| id.to_string()), excluded.port)
        });
        Self(all.collect())
    }

    /// Moves the excluded ports to those that cannot have a line.
    pub(crate) fn apply(&self, id: ServerId, name: &str, facts: &mut Facts) {
        if self.0.is_empty() {
            return;
        }
        let id = id.to_string();
        let is_excluded = |port: u8| {
            [id.as_str(), name].into_iter().any(|server| {
                [None, Some(port)]
                    .into_iter()
                    .any(|port| self.0.contains(&(server.to_owned(), port)))
            })
        };
        let excluded = facts.ports.extract_if(.., |port| is_excluded(port.port));
        facts.unusable.extend(excluded.map(|port| (port.port, WHY.into())));
        facts.unusable.sort_by_key(|(port, _)| *port);
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_config::Config;
    use serialproxy_config::values::Excluded;

    use super::*;
    use crate::domain::Device;
    use crate::domain::SerialPort;

    fn left(excluded: &[(&str, Option<u8>)], id: ServerId) -> (Vec<u8>, Vec<u8>) {
        let mut config = Config::default().compute;
        config.excluded = excluded
            .iter()
            .map(|(server, port)| Excluded { server: (*server).to_owned(), port: *port })
            .collect();
        let device = Device::Uart;
        let ports =
            [0, 1].map(|port| SerialPort { port, at: None, device, alias: None, log: None }).into();
        let mut facts = Facts { ports, ..Facts::default() };
        Exclusions::new(&config).apply(id, "db", &mut facts);
        let unusable = facts.unusable.iter().map(|(port, _)| *port).collect();
        (facts.ports.iter().map(|port| port.port).collect(), unusable)
    }

    #[test]
    fn a_domain_or_one_port_is_left_alone_by_name_or_uuid() {
        let id = ServerId::of_static("db");
        let upper = id.to_string().to_uppercase();
        assert_eq!(left(&[], id), (vec![0, 1], vec![]));
        assert_eq!(left(&[("other", None)], id), (vec![0, 1], vec![]));
        assert_eq!(left(&[("db", None)], id), (vec![], vec![0, 1]));
        assert_eq!(left(&[("db", Some(1))], id), (vec![0], vec![1]));
        assert_eq!(left(&[(&upper, Some(0))], id), (vec![1], vec![0]));
    }
}
