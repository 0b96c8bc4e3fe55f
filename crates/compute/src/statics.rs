//! Static lines: servers that are not at a hypervisor and always run.

use std::collections::BTreeMap;
use std::sync::Arc;

use serialproxy_config::values::StaticLine;
use serialproxy_line::Lines;
use serialproxy_line::Resolve;
use serialproxy_line::Unresolved;
use serialproxy_line::claim_at;
use serialproxy_proto::api;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use crate::no_console::no_such_port;
use crate::owners::Owners;

/// All static servers.
#[derive(Debug)]
pub(crate) struct Statics {
    /// Name of this host.
    host: String,
    servers: BTreeMap<ServerId, Server>,
}

#[derive(Debug)]
struct Server {
    name: String,
    project: String,
    ports: Vec<u8>,
}

impl Statics {
    /// Adds the lines, which connect at once. Without consoles, adds only the servers.
    pub(crate) fn start(
        host: &str,
        statics: &[StaticLine],
        owners: &Owners,
        enabled: bool,
        lines: &Lines,
    ) -> Self {
        let mut servers = BTreeMap::<ServerId, Server>::new();
        for StaticLine { name, port, endpoint, terminal } in statics {
            let id = ServerId::of_static(name);
            let project = owners.of(id, name);
            let server = Server { name: name.clone(), project, ports: Vec::new() };
            servers.entry(id).or_insert(server).ports.push(*port);
            if enabled {
                let server = ServerRef { id, name: name.clone() };
                let resolve = Arc::new(Fixed(endpoint.clone()));
                let line = lines.add(&server, Some(&owners.of(id, name)), *port, resolve);
                line.guest_wants(*terminal);
                line.guest_running();
            }
        }
        Self { host: host.to_owned(), servers }
    }

    pub(crate) fn all(&self) -> Vec<api::Server> {
        self.servers.iter().map(|(id, server)| self.present(*id, server)).collect()
    }

    pub(crate) fn get(&self, id: ServerId) -> Option<api::Server> {
        self.servers.get(&id).map(|server| self.present(id, server))
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.servers.contains_key(&ServerId::of_static(name))
    }

    /// Whether this port exists, if the server is a static one.
    pub(crate) fn check_port(&self, line: LineKey) -> Option<Result<(), ComputeError>> {
        let server = self.servers.get(&line.server)?;
        if server.ports.contains(&line.port) {
            return Some(Ok(()));
        }
        Some(Err(no_such_port(line.server, line.port, &server.ports, None)))
    }

    fn present(&self, id: ServerId, server: &Server) -> api::Server {
        api::Server {
            id,
            name: server.name.clone(),
            status: Status::Active,
            project: server.project.clone(),
            host: self.host.clone(),
            unusable_ports: Vec::new(),
        }
    }
}

/// An endpoint that never changes.
#[derive(Debug)]
struct Fixed(Endpoint);

impl Resolve for Fixed {
    fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    /// Two hosts' files may give the same name to different switches.
    fn claim(&self, line: LineKey, endpoint: &Endpoint) -> String {
        claim_at(line, endpoint)
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_line::Settings;
    use serialproxy_proto::terminal::TerminalSettings;
    use tokio::net::UnixListener;

    use super::*;

    fn owners() -> Owners {
        Owners::new(&serialproxy_config::Config::default().compute)
    }

    fn lines() -> Lines {
        Lines::new(Settings::default(), vec![tokio::runtime::Handle::current()])
    }

    #[tokio::test]
    async fn each_line_of_a_static_server_is_dialed_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let ports = [0, 3].map(|port| {
            let path = directory.path().join(format!("port{port}"));
            let listener = UnixListener::bind(&path).unwrap();
            let endpoint = Endpoint::Unix(path);
            let terminal = TerminalSettings::default();
            (listener, StaticLine { name: "switch".into(), port, endpoint, terminal })
        });
        let lines = lines();
        let config = ports.each_ref().map(|(_, line)| line.clone());
        let statics = Statics::start("host-1", &config, &owners(), true, &lines);
        for (listener, line) in &ports {
            listener.accept().await.unwrap();
            let key = LineKey { server: ServerId::of_static("switch"), port: line.port };
            assert_eq!(statics.check_port(key), Some(Ok(())));
        }
        let servers = statics.all();
        assert_eq!((servers.len(), servers[0].status), (1, Status::Active));
        assert_eq!(servers[0].host, "host-1");
        assert!(statics.has_name("switch") && !statics.has_name("other"));
    }

    #[tokio::test]
    async fn a_port_that_a_static_server_does_not_have_is_refused() {
        let endpoint = Endpoint::Tcp { host: "192.0.2.1".into(), port: 7 };
        let terminal = TerminalSettings::default();
        let line = StaticLine { name: "switch".into(), port: 1, endpoint, terminal };
        let statics = Statics::start("host-1", &[line], &owners(), false, &lines());
        let key = |name, port| LineKey { server: ServerId::of_static(name), port };
        let refused = statics.check_port(key("switch", 0)).unwrap().unwrap_err();
        assert!(matches!(refused, ComputeError::NotFound(_)), "{refused}");
        assert_eq!(statics.check_port(key("other", 1)), None);
    }
}
