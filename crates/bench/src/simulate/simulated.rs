//! Hosts with servers but without consoles, which are published to the cluster by the code of a
//! real compute role.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use serialproxy_cluster::Directory;
use serialproxy_cluster::Has;
use serialproxy_cluster::Host;
use serialproxy_cluster::Peer;
use serialproxy_cluster::Role;
use serialproxy_cluster::Serial;
use serialproxy_cluster::publish;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::Settings;
use serialproxy_proto::api;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::Answer;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::OpenedConsole;
use serialproxy_proto::compute::Output;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::Power;
use serialproxy_proto::compute::ServerMark;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::id::SessionId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many projects share the servers.
const PROJECTS: usize = 100;

/// How long the certificates are valid, which no other host sees.
const VALID: Duration = Duration::from_secs(3600);

/// The hosts of a process.
#[derive(clap::Args, Debug)]
pub(crate) struct HostsOptions {
    /// URL of etcd
    etcd: String,
    /// How many there are
    hosts: usize,
    /// Servers of each
    servers: usize,
}

/// Simulates this many hosts until the process is killed. They share one copy of the directory;
/// real hosts have one each.
pub(crate) async fn run(options: &HostsOptions) -> anyhow::Result<()> {
    let directory = Directory::follow(&etcd(&options.etcd)?);
    for number in 0..options.hosts {
        let name = format!("compute-{number:04}.example.com");
        let listing = Host::of("127.0.0.1:1".to_owned(), Role::Compute);
        let simulated = Arc::new(Simulated::new(&name, options.servers));
        let has = Has { servers: simulated.clone(), lines: simulated };
        let now = SystemTime::now();
        let own = Peer {
            host: name,
            roles: Role::Compute.into(),
            serial: Serial::from(format!("{number:x}")),
            since: now,
            until: now + VALID,
            key: Vec::new(),
        };
        let store = (etcd(&options.etcd)?, directory.clone());
        let listing = (listing, watch::Sender::new(false).subscribe());
        tokio::spawn(publish(store, own, listing, Some(has), CancellationToken::new()));
    }
    pending().await
}

/// The etcd of the cluster.
pub(crate) fn etcd(url: &str) -> anyhow::Result<Etcd> {
    let (endpoints, prefix) = (vec![url.to_owned()], "/serialproxy/v1/".to_owned());
    Ok(Etcd::new(Settings { endpoints, tls: None, user: None, prefix })?)
}

/// The contents of a host.
#[derive(Debug)]
struct Simulated {
    /// Ordered by name.
    servers: Vec<api::Server>,
    /// Ordered by server.
    lines: Vec<api::Line>,
}

impl Simulated {
    fn new(host: &str, count: usize) -> Self {
        let mut servers: Vec<_> = (0..count).map(|number| server(host, number)).collect();
        servers.sort_by_cached_key(|server| ServerMark::from(server));
        let mut lines: Vec<_> = servers.iter().map(line).collect();
        lines.sort_by_key(|line| line.server.id);
        Self { servers, lines }
    }
}

fn server(host: &str, number: usize) -> api::Server {
    let project = ServerId::of_static(&format!("project-{}", number % PROJECTS)).0;
    let id = ServerId::of_static(&format!("{number}.{host}"));
    api::Server {
        id,
        name: format!("instance-{:08x}", id.0.as_fields().0),
        status: Status::Active,
        project: project.simple().to_string(),
        host: String::new(),
        unusable_ports: Vec::new(),
    }
}

fn line(server: &api::Server) -> api::Line {
    api::Line {
        server: ServerRef { id: server.id, name: server.name.clone() },
        port: 0,
        state: LineState::Connected,
        reason: String::new(),
        cause: None,
        endpoint: None,
        line: server.id.0,
        epoch: 0,
        offset: 0,
        first_offset: 0,
        bytes_in: 0,
        bytes_out: 0,
        writer: None,
        watchers: 0,
        last_line: None,
        idle: None,
    }
}

/// The items after a mark in a sorted list, at most a page.
fn page<T: Clone, Mark: Ord>(all: &[T], page: &Page<Mark>, mark: impl Fn(&T) -> Mark) -> Vec<T> {
    let start = all.partition_point(|item| page.is_behind(&mark(item)));
    all.iter().skip(start).take(page.limit()).cloned().collect()
}

/// The answer to calls that a simulated host never gets.
fn nothing<T: Send + 'static>() -> Answer<'static, T> {
    Box::pin(async { Err(ComputeError::Unsupported("this host is simulated".into())) })
}

impl Servers for Simulated {
    fn servers(&self, wanted: Page<ServerMark>) -> Answer<'_, api::Servers> {
        let servers = page(&self.servers, &wanted, |server| ServerMark::from(server));
        Box::pin(async move { Ok(api::Servers::new(servers, None)) })
    }

    fn server(&self, _: ServerId) -> Answer<'_, api::Server> {
        nothing()
    }

    fn boot(&self, _: api::Boot, _: String) -> Answer<'_, api::Server> {
        nothing()
    }

    fn delete(&self, _: ServerId) -> Answer<'_, ()> {
        nothing()
    }

    fn power(&self, _: ServerId, _: Power) -> Answer<'_, ()> {
        nothing()
    }

    fn adopt(&self, _: ServerId, _: api::Adopt) -> Answer<'_, api::Adopted> {
        nothing()
    }

    fn unadopt(&self, _: ServerId) -> Answer<'_, api::Server> {
        nothing()
    }
}

impl LineBook for Simulated {
    fn open_console(&self, _: OpenConsole) -> Answer<'_, OpenedConsole> {
        nothing()
    }

    fn lines(&self, wanted: Page<LineKey>) -> Answer<'_, api::Lines> {
        let key = |line: &api::Line| LineKey { server: line.server.id, port: line.port };
        let lines = page(&self.lines, &wanted, key);
        Box::pin(async move { Ok(api::Lines { lines, unreachable: Vec::new() }) })
    }

    fn line(&self, _: LineKey) -> Answer<'_, api::Line> {
        nothing()
    }

    fn output(&self, _: LineKey, _: u64, _: usize) -> Answer<'_, Output> {
        nothing()
    }

    fn boots(&self, _: LineKey) -> Answer<'_, api::BootList> {
        nothing()
    }

    fn send_break(&self, _: LineKey) -> Answer<'_, ()> {
        nothing()
    }

    fn sysrq(&self, _: LineKey, _: char) -> Answer<'_, ()> {
        nothing()
    }

    fn sessions(&self, _: Option<String>) -> Answer<'_, api::Sessions> {
        nothing()
    }

    fn disconnect_writer(&self, _: LineKey, _: Disconnect) -> Answer<'_, api::Writer> {
        nothing()
    }

    fn disconnect(&self, _: LineKey, _: SessionId, _: Disconnect) -> Answer<'_, ()> {
        nothing()
    }
}
