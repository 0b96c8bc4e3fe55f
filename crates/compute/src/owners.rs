//! The projects of servers.

use std::collections::BTreeMap;

use serialproxy_config::values::Compute;
use serialproxy_proto::id::ServerId;

/// The projects of servers whose domain XML names none.
#[derive(Debug)]
pub(crate) struct Owners {
    /// Projects by a server's name, or by its UUID in the usual form.
    named: BTreeMap<String, String>,
    fallback: String,
}

impl Owners {
    /// From `[compute] project` and `default_project`.
    pub(crate) fn new(config: &Compute) -> Self {
        let named = config.projects.iter().flat_map(|named| {
            // A name may have the form of a UUID.
            let id = named.server.parse::<ServerId>().ok().map(|id| id.to_string());
            let keys = [Some(named.server.clone()), id].into_iter().flatten();
            keys.map(|key| (key, named.project.clone()))
        });
        Self { named: named.collect(), fallback: config.default_project.clone() }
    }

    /// The project of a server. A UUID takes precedence over a name, which tenants choose.
    pub(crate) fn of(&self, id: ServerId, name: &str) -> String {
        let named = self.named.get(&id.to_string()).or_else(|| self.named.get(name));
        named.unwrap_or(&self.fallback).clone()
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_config::Config;
    use serialproxy_config::values::ServerProject;

    use super::*;

    #[test]
    fn the_uuid_counts_before_the_name_and_who_is_not_named_is_the_defaults() {
        let id = ServerId::of_static("web");
        let mut config = Config::default().compute;
        let uuid = id.to_string().to_uppercase();
        for (server, project) in [("web", "by-name"), (&*uuid, "by-id")] {
            config.projects.push(ServerProject { server: server.into(), project: project.into() });
        }
        let owners = Owners::new(&config);
        assert_eq!(owners.of(id, "web"), "by-id");
        assert_eq!(owners.of(ServerId::of_static("other"), "web"), "by-name");
        assert_eq!(owners.of(ServerId::of_static("other"), "other"), "admin");
        assert_eq!(owners.of(ServerId::of_static("other"), &uuid), "by-id", "a name of that form");
    }
}
