//! What an api role makes of the answers of another host, which may lie: with a real etcd, and mutual TLS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use serde_json::json;
use serialproxy_audit::Audit;
use serialproxy_cluster::Authority;
use serialproxy_cluster::Directory;
use serialproxy_cluster::Has;
use serialproxy_cluster::Host;
use serialproxy_cluster::Identity;
use serialproxy_cluster::Links;
use serialproxy_cluster::Listed;
use serialproxy_cluster::MakeLink;
use serialproxy_cluster::Remote;
use serialproxy_cluster::Role;
use serialproxy_cluster::Served;
use serialproxy_cluster::Strangers;
use serialproxy_cluster::WatchRequest;
use serialproxy_cluster::Watchable;
use serialproxy_cluster::Watching;
use serialproxy_cluster::serve;
use serialproxy_config::Config;
use serialproxy_config::values::Cluster;
use serialproxy_e2e::etcd::Etcd;
use serialproxy_etcd::Settings;
use serialproxy_proto::api;
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
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::id::SessionId;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A host that speaks of a server that another one has, whatever it is asked.
#[derive(Debug)]
struct Liar;

fn own() -> ServerId {
    ServerId::of_static("own")
}

fn anothers() -> ServerId {
    ServerId::of_static("another's")
}

fn unasked<T>() -> Answer<'static, T>
where
    T: Send + 'static,
{
    Box::pin(async { Err(ComputeError::Failed("it was not to be asked".into())) })
}

fn line(server: ServerId) -> api::Line {
    let line = json!({
        "server": {"id": server, "name": "a"}, "port": 0, "state": "connected", "reason": "",
        "endpoint": null, "line": server, "epoch": 0, "offset": 0, "first_offset": 0,
        "bytes_in": 0, "bytes_out": 0, "writer": null, "watchers": 0
    });
    serde_json::from_value(line).unwrap()
}

fn session(server: ServerId) -> api::Session {
    let session = json!({
        "id": SessionId::new(), "server": {"id": server, "name": "a"}, "port": 0, "user": "eve",
        "mode": "write", "since": "2026-11-29T00:00:00Z", "address": "192.0.2.1", "protocol": "raw",
        "state": "live"
    });
    serde_json::from_value(session).unwrap()
}

impl Servers for Liar {
    fn servers(&self, _: Page<ServerMark>) -> Answer<'_, api::Servers> {
        unasked()
    }

    fn server(&self, _: ServerId) -> Answer<'_, api::Server> {
        let (name, host) = ("a".into(), "liar".into());
        let (status, project) = (api::Status::Active, "p".into());
        let (id, unusable_ports) = (anothers(), Vec::new());
        Box::pin(async move { Ok(api::Server { id, name, status, project, host, unusable_ports }) })
    }

    fn boot(&self, _: api::Boot, _: String) -> Answer<'_, api::Server> {
        unasked()
    }

    fn delete(&self, _: ServerId) -> Answer<'_, ()> {
        unasked()
    }

    fn power(&self, _: ServerId, _: Power) -> Answer<'_, ()> {
        unasked()
    }

    fn adopt(&self, _: ServerId, _: api::Adopt) -> Answer<'_, api::Adopted> {
        unasked()
    }

    fn unadopt(&self, _: ServerId) -> Answer<'_, api::Server> {
        unasked()
    }
}

impl LineBook for Liar {
    fn open_console(&self, ask: OpenConsole) -> Answer<'_, OpenedConsole> {
        // Of its own server, it only says that it is another project's.
        let (server, project) = match ask.wait {
            true => (own(), "others"),
            false => (anothers(), "p"),
        };
        let (line, name) = (LineKey { server, port: 0 }, "a".into());
        Box::pin(async move { Ok(OpenedConsole { line, name, project: project.into() }) })
    }

    fn lines(&self, _: Page<LineKey>) -> Answer<'_, api::Lines> {
        let lines = vec![line(own()), line(anothers())];
        Box::pin(async { Ok(api::Lines { lines, unreachable: Vec::new() }) })
    }

    fn line(&self, _: LineKey) -> Answer<'_, api::Line> {
        unasked()
    }

    fn output(&self, _: LineKey, _: u64, _: usize) -> Answer<'_, Output> {
        unasked()
    }

    fn boots(&self, _: LineKey) -> Answer<'_, api::BootList> {
        unasked()
    }

    fn send_break(&self, _: LineKey) -> Answer<'_, ()> {
        unasked()
    }

    fn sysrq(&self, _: LineKey, _: char) -> Answer<'_, ()> {
        unasked()
    }

    fn sessions(&self, _: Option<String>) -> Answer<'_, api::Sessions> {
        let sessions = vec![session(own()), session(anothers())];
        Box::pin(async { Ok(api::Sessions { sessions, unreachable: Vec::new() }) })
    }

    fn disconnect_writer(&self, _: LineKey, _: Disconnect) -> Answer<'_, api::Writer> {
        unasked()
    }

    fn disconnect(&self, _: LineKey, _: SessionId, _: Disconnect) -> Answer<'_, ()> {
        unasked()
    }
}

fn identity(ca: &Authority, directory: &Path, name: &str, role: Role) -> Arc<Identity> {
    let key = KeyPair::generate().unwrap();
    let issued = ca.issue(name, &role.into(), &key, Duration::from_secs(3600)).unwrap();
    let file = |kind: &str, text: &str| {
        let path = directory.join(format!("{name}-{kind}.pem"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let cluster = Cluster {
        name: name.to_owned(),
        ca_file: file("ca", ca.certificate()),
        cert_file: file("cert", &issued.chain),
        key_file: file("key", &key.serialize_pem()),
        ..Config::default().cluster
    };
    let identity = Identity::load(&cluster).unwrap();
    identity.removed().replace(BTreeSet::new());
    Arc::new(identity)
}

fn listed(host: &str) -> Listed {
    let (host, name, project) = (host.to_owned(), "a".into(), "p".into());
    let (status, ports, unusable_ports) = (api::Status::Active, vec![0], Vec::new());
    Listed { host, name, project, status, ports, unusable_ports }
}

/// etcd with these hosts, of which `liar` and `another` have a server each, and what follows it.
async fn directory_of(hosts: &[(&str, &str, Role)]) -> (Directory, Etcd) {
    let nodes = Etcd::start(1).await;
    let (endpoints, prefix) = (nodes.endpoints(), "/s/".to_owned());
    let settings = Settings { endpoints, tls: None, user: None, prefix };
    let etcd = serialproxy_etcd::Etcd::new(settings).unwrap();
    for (name, address, role) in hosts {
        let host = Host::of((*address).to_owned(), *role);
        etcd.put(&format!("hosts/{name}"), &host, None).await.unwrap();
    }
    etcd.put(&format!("servers/{}", own()), &listed("liar"), None).await.unwrap();
    etcd.put(&format!("servers/{}", anothers()), &listed("another"), None).await.unwrap();
    let followed = Directory::follow(&etcd);
    followed.complete().await;
    (followed, nodes)
}

/// An api role, and the host `liar`; `another` has a server too, and is not there.
async fn beside_a_liar() -> (Remote, Etcd, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let ca = Authority::create(directory.path()).unwrap();
    let liar = identity(&ca, directory.path(), "liar", Role::Compute);
    let api = identity(&ca, directory.path(), "ctl", Role::Api);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let has = Has { servers: Arc::new(Liar), lines: Arc::new(Liar) };
    let removed = liar.removed().clone();
    let (attach, admission, watching) = (None, None, None);
    let audit = Audit::none();
    let served = Served { attach, calls: Some(has), audit, admission, watching, removed };
    let tls = liar.server_config(Strangers::Refused).unwrap();
    tokio::spawn(serve(listener, tls, served, 100, CancellationToken::new()));

    let (followed, nodes) = directory_of(&[("liar", &address, Role::Compute)]).await;
    (Remote::new(followed, Links::new(api)), nodes, directory)
}

#[tokio::test]
async fn a_host_opens_no_console_of_another_host_s_server() {
    let (remote, _etcd, _directory) = beside_a_liar().await;
    for wait in [false, true] {
        let line = LineKey { server: own(), port: 0 };
        let ask = OpenConsole { line, project: Some("p".into()), wait };
        let opened = remote.open_console(ask).await;
        assert!(matches!(opened, Err(ComputeError::Failed(_))), "{opened:?}");
    }
}

#[tokio::test]
async fn a_host_speaks_for_no_server_of_another_host() {
    let (remote, _etcd, _directory) = beside_a_liar().await;
    assert_eq!(remote.known_project(own()), Some("p".to_owned()));
    assert_eq!(remote.known_project(ServerId::of_static("nobody's")), None);
    let server = remote.server(own()).await;
    assert!(matches!(server, Err(ComputeError::Failed(_))), "{server:?}");
    let page = Page { project: None, after: None, limit: 10, changed_within: None };
    let lines = remote.lines(page).await.unwrap();
    let of: Vec<_> = lines.lines.iter().map(|line| line.server.id).collect();
    assert_eq!((of, lines.unreachable), (vec![own()], vec!["another".to_owned()]));
    let project = Some("q".into());
    let page = Page { project, after: None, limit: 10, changed_within: None };
    assert_eq!(remote.lines(page).await.unwrap().lines, [], "nor for one of another project");
    let sessions = remote.sessions(None).await.unwrap().sessions;
    let of: Vec<_> = sessions.iter().map(|session| session.server.id).collect();
    assert_eq!(of, [own()]);
}

#[tokio::test]
async fn a_host_gets_links_for_its_own_servers_alone() {
    let files = tempfile::tempdir().unwrap();
    let ca = Authority::create(files.path()).unwrap();
    let api = identity(&ca, files.path(), "ctl", Role::Api);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (directory, _etcd) = directory_of(&[("ctl", &address, Role::Api)]).await;
    let make: MakeLink = Arc::new(|host, asked: WatchRequest| {
        Box::pin(async move { Ok(format!("link of {} at {host}", asked.user)) })
    });
    let watching = Some(Watching::new(directory.clone(), make));
    let removed = api.removed().clone();
    let audit = Audit::none();
    let served = Served { attach: None, calls: None, audit, admission: None, watching, removed };
    let tls = api.server_config(Strangers::Refused).unwrap();
    tokio::spawn(serve(listener, tls, served, 100, CancellationToken::new()));

    let link = async |name, role, server| {
        let asked = WatchRequest {
            line: LineKey { server, port: 0 },
            project: "p".into(),
            user: "alice".into(),
            expires: "2030-01-01T00:00:00Z".parse().unwrap(),
        };
        let identity = identity(&ca, files.path(), name, role);
        Watchable::new(identity, directory.clone()).link(&asked).await
    };
    let made = link("liar", Role::Compute, own()).await;
    assert_eq!(made, Ok("link of alice at liar".into()));
    let refused = link("liar", Role::Compute, anothers()).await.unwrap_err();
    assert!(refused.contains("the host does not have server"), "{refused}");
    // The name of the host with another role.
    let refused = link("another", Role::Proxy, anothers()).await.unwrap_err();
    assert!(refused.contains("role"), "{refused}");
}
