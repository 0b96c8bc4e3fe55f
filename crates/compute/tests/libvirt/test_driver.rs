//! Against libvirt's test driver, which needs no daemon: it invents a hypervisor in this process.

use jiff::Timestamp;
use serialproxy_config::values::ServerProject;
use serialproxy_config::values::StaticLine;
use serialproxy_line::Start;
use serialproxy_line::Visitor;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::Status;
use serialproxy_proto::api::Stop;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::OpenConsole;
use serialproxy_proto::compute::Page;
use serialproxy_proto::compute::Power;
use serialproxy_proto::compute::ServerMark;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::terminal::TerminalSettings;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::role::Role;

const RUNNING: &str = "00000000-0000-4000-8000-000000000001";
const STOPPED: &str = "00000000-0000-4000-8000-000000000002";

/// A hypervisor with two guests: one runs with a port that the test plays, one does not run.
fn hypervisor(port: u16) -> (tempfile::TempDir, String) {
    let guest = |id: &str, name: &str, port: u16, state: u8| {
        format!(
            "<domain type='test' xmlns:t='http://libvirt.org/schemas/domain/test/1.0'>
             <t:runstate>{state}</t:runstate><name>{name}</name><uuid>{id}</uuid><metadata/>
             <memory>1024</memory><os><type>hvm</type></os><devices>
             <serial type='tcp'><source mode='bind' host='127.0.0.1' service='{port}'/></serial>
             <serial type='null'/></devices></domain>"
        )
    };
    let node = format!(
        "<node>{}{}</node>",
        guest(RUNNING, "zeta", port, 1),
        guest(STOPPED, "alpha", 1, 5)
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.xml");
    std::fs::write(&file, node).unwrap();
    let uri = format!("test://{}", file.display());
    (directory, uri)
}

fn id(text: &str) -> ServerId {
    text.parse().unwrap()
}

fn static_line(port: u16) -> StaticLine {
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port };
    StaticLine { name: "switch".into(), port: 0, endpoint, terminal: TerminalSettings::default() }
}

#[tokio::test]
async fn guests_and_static_servers_stand_side_by_side() {
    let guest = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let switch = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (_directory, uri) = hypervisor(guest.local_addr().unwrap().port());
    let static_port = switch.local_addr().unwrap().port();
    let role = Role::start(&uri, |config| config.static_lines.push(static_line(static_port)));

    let servers = role.servers().await;
    let seen: Vec<_> = servers.iter().map(|server| (server.name.as_str(), server.status)).collect();
    let expected =
        [("alpha", Status::Shutoff), ("switch", Status::Active), ("zeta", Status::Active)];
    assert_eq!(seen, expected);
    assert!(servers.iter().all(|server| server.host == "host-1"));

    for (listener, server) in [(guest, id(RUNNING)), (switch, ServerId::of_static("switch"))] {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"login: ").await.unwrap();
        role.until_printed(server, 0, "login: ").await;
        let line = role.until_connected(server, 0).await;
        assert_eq!(line.epoch, 0, "it was found running");
    }
}

#[tokio::test]
async fn a_console_is_given_for_a_running_guests_tcp_port_alone() {
    let (_directory, uri) = hypervisor(1);
    let role = Role::start(&uri, |config| config.static_lines.push(static_line(1)));
    let ask = async |server, port, wait| role.open(LineKey { server, port }, wait).await;
    assert_eq!(ask(id(RUNNING), 0, false).await, Ok(()));
    assert_eq!(ask(ServerId::of_static("switch"), 0, false).await, Ok(()));
    assert_eq!(ask(id(STOPPED), 0, true).await, Ok(()));
    let stopped = ask(id(STOPPED), 0, false).await.unwrap_err();
    assert!(matches!(&stopped, ComputeError::Conflict(text) if text.contains("SHUTOFF")));
    for (server, why) in [
        (id(RUNNING), "has no console: its type is 'null'"),
        (ServerId::of_static("switch"), "has no serial port 1, only 0"),
    ] {
        let refused = ask(server, 1, false).await.unwrap_err();
        let ComputeError::NotFound(text) = refused else { panic!("{refused}") };
        assert!(text.contains(why), "{text}");
    }
    let unknown = ask(ServerId::of_static("unknown"), 0, false).await.unwrap_err();
    let text = format!("Instance {} could not be found.", ServerId::of_static("unknown"));
    assert_eq!(unknown, ComputeError::NotFound(text));
}

#[tokio::test]
async fn lists_come_in_pages_of_a_project_or_of_all() {
    let (_directory, uri) = hypervisor(1);
    let role = Role::start(&uri, |config| {
        config.static_lines.push(static_line(1));
        let of = |server: &str, project: &str| ServerProject {
            server: server.into(),
            project: project.into(),
        };
        config.compute.projects = vec![of("zeta", "team-a"), of("alpha", "team-a")];
    });
    let servers = async |project: Option<&str>, after: Option<(&str, ServerId)>, limit| {
        let after = after.map(|(name, id)| ServerMark { name: name.into(), id });
        let page = Page { project: project.map(str::to_owned), after, limit, changed_within: None };
        let servers = role.manager.servers(page).await.unwrap().servers;
        servers.into_iter().map(|server| server.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(servers(None, None, 2).await, "alpha switch");
    let switch = ("switch", ServerId::of_static("switch"));
    assert_eq!(servers(None, Some(switch), 2).await, "zeta");
    assert_eq!(servers(Some("team-a"), None, 9).await, "alpha zeta");
    assert_eq!(servers(Some("team-a"), None, 0).await, "");
    assert_eq!(servers(Some("team-a"), Some(switch), 9).await, "zeta");

    let lines = async |project: Option<&str>, after, limit| {
        let page = Page { project: project.map(str::to_owned), after, limit, changed_within: None };
        let lines = role.manager.lines(page).await.unwrap().lines;
        lines.into_iter().map(|line| line.server.name).collect::<Vec<_>>()
    };
    let all = lines(None, None, 9).await;
    assert_eq!(all.len(), 3);
    assert_eq!(lines(None, None, 2).await, all[..2]);
    let first = LineKey { server: id(RUNNING), port: 0 };
    assert_eq!(lines(None, Some(first), 9).await, all[1..]);
    assert_eq!(lines(Some("team-a"), None, 9).await, ["zeta", "alpha"]);
    assert_eq!(lines(Some("admin"), None, 9).await, ["switch"]);
}

#[tokio::test]
async fn a_console_of_another_projects_server_is_answered_as_one_that_does_not_exist() {
    let (_directory, uri) = hypervisor(1);
    let role = Role::start(&uri, |config| {
        config.static_lines.push(static_line(1));
        config.compute.default_project = "team-a".into();
    });
    for (server, name) in [(id(RUNNING), "zeta"), (ServerId::of_static("switch"), "switch")] {
        let ask = |project: &str, port| {
            let (line, project) = (LineKey { server, port }, Some(project.to_owned()));
            role.manager.open_console(OpenConsole { line, project, wait: false })
        };
        let opened = ask("team-a", 0).await.unwrap();
        assert_eq!((opened.name.as_str(), opened.project.as_str()), (name, "team-a"));
        for port in [0, 1] {
            let text = format!("Instance {server} could not be found.");
            assert_eq!(ask("team-b", port).await.unwrap_err(), ComputeError::NotFound(text));
        }
    }
}

#[tokio::test]
async fn a_guest_is_powered_off_once() {
    // All connections of this process share the guest of this one, which no other test uses.
    let role = Role::start("test:///default", |_| {});
    let servers = role.servers().await;
    let [guest] = servers.as_slice() else { panic!("{servers:?}") };
    assert_eq!((guest.name.as_str(), guest.status), ("test", Status::Active));

    let stop = Stop { timeout: None, force: true };
    role.manager.power(guest.id, Power::Stop(stop)).await.unwrap();
    assert_eq!(role.manager.server(guest.id).await.unwrap().status, Status::Shutoff);
    let again = role.manager.power(guest.id, Power::Reset).await.unwrap_err();
    let text = format!("Cannot 'reset' instance {} while it is SHUTOFF.", guest.id);
    assert_eq!(again, ComputeError::Conflict(text));
}

#[tokio::test]
async fn only_what_boot_made_is_deleted() {
    let (_directory, uri) = hypervisor(1);
    let role = Role::start(&uri, |config| config.static_lines.push(static_line(1)));
    for server in [id(RUNNING), ServerId::of_static("switch")] {
        let error = role.manager.delete(server).await.unwrap_err();
        assert!(matches!(error, ComputeError::Conflict(_)), "{error}");
    }
    let unknown = role.manager.delete(ServerId::of_static("unknown")).await.unwrap_err();
    assert!(matches!(unknown, ComputeError::NotFound(_)), "{unknown}");
    let switch = ServerId::of_static("switch");
    let power = role.manager.power(switch, Power::Reset).await.unwrap_err();
    assert!(matches!(power, ComputeError::Unsupported(_)), "{power}");
}

#[tokio::test]
async fn ports_of_guests_that_do_not_run_are_leased_as_well() {
    let (_directory, uri) = hypervisor(2);
    let role = Role::start(&uri, |_| {});
    role.servers().await;
    let line = |server| LineKey { server: id(server), port: 0 };
    assert_eq!(role.leases(), [(1, line(STOPPED)), (2, line(RUNNING))]);
}

#[tokio::test]
async fn without_consoles_no_port_is_touched() {
    let guest = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = guest.local_addr().unwrap().port();
    let (_directory, uri) = hypervisor(port);
    let role = Role::start(&uri, |config| {
        config.serial_console.enabled = false;
        config.static_lines.push(static_line(port));
    });
    assert_eq!(role.servers().await.len(), 3);
    assert!(role.lines.all().is_empty());
    let line = LineKey { server: id(RUNNING), port: 0 };
    let refused = role.open(line, false).await.unwrap_err();
    assert_eq!(refused, ComputeError::Invalid("Unavailable console type serial.".into()));
}

#[tokio::test]
async fn a_hypervisor_that_is_away_is_no_reason_to_stop() {
    let role = Role::start("qemu+unix:///system?socket=/nonexistent/socket", |config| {
        config.static_lines.push(static_line(1));
    });
    let servers = role.servers().await;
    assert_eq!(servers.len(), 1);
    let unknown = role.manager.server(ServerId::of_static("guest")).await.unwrap_err();
    let ComputeError::Unavailable(text) = unknown else { panic!("{unknown}") };
    assert!(text.contains("Check that libvirtd is running"), "{text}");
    assert!(!text.contains("/nonexistent"), "a path in {text:?}");
    // Nor can anybody say whether there is a guest in the place of another project's static server.
    let line = LineKey { server: ServerId::of_static("switch"), port: 0 };
    let ask = OpenConsole { line, project: Some("team-b".into()), wait: false };
    let refused = role.manager.open_console(ask).await.unwrap_err();
    assert!(matches!(refused, ComputeError::Unavailable(_)), "{refused}");
}

/// Writes into the descriptions of all guests which project Nova made them for.
fn note_project(uri: &str, project: &str) {
    let file = uri.strip_prefix("test://").unwrap();
    let node = std::fs::read_to_string(file).unwrap();
    let metadata = format!(
        "<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
         <nova:owner><nova:user uuid='u'>alice</nova:user><nova:project uuid='{project}'>p\
         </nova:project></nova:owner></nova:instance></metadata>"
    );
    let (head, rest) = node.split_once("<metadata").unwrap();
    let end = if rest.starts_with("/>") { "/>" } else { "</metadata>" };
    let rest = rest.split_once(end).unwrap().1;
    std::fs::write(file, format!("{head}{metadata}{rest}")).unwrap();
}

#[tokio::test]
async fn a_server_belongs_to_whom_its_description_names_and_else_to_whom_the_configuration_does() {
    let (_directory, uri) = hypervisor(1);
    note_project(&uri, "0fe7");
    let role = Role::start(&uri, |config| {
        config.static_lines.push(static_line(1));
        config.compute.default_project = "rest".into();
        for (server, project) in [("zeta", "not-this"), ("switch", "team-a")] {
            let (server, project) = (server.into(), project.into());
            config.compute.projects.push(ServerProject { server, project });
        }
    });
    let servers = role.servers().await;
    let seen: Vec<_> =
        servers.iter().map(|server| (server.name.as_str(), server.project.as_str())).collect();
    assert_eq!(seen, [("alpha", "rest"), ("switch", "team-a"), ("zeta", "0fe7")]);
    assert_eq!(role.manager.server(id(RUNNING)).await.unwrap().project, "0fe7");
}

/// Whether a grant for a server of this project is good.
fn is_good(role: &Role, server: ServerId, project: &str) -> bool {
    let visitor = Visitor {
        project: Some(project.into()),
        token: TokenDigest::of("a token"),
        user: "alice".into(),
        mode: Mode::Watch,
        yields: false,
        may: Mode::Watch,
        operator: false,
        wait: true,
        limit: None,
        link: None,
        protocol: Protocol::ConsoleV1,
        address: "192.0.2.1:4".into(),
        source: None,
        start: Start::Live,
        now: Timestamp::now(),
    };
    role.lines.get(LineKey { server, port: 0 }).unwrap().attach(&visitor).is_ok()
}

#[tokio::test]
async fn a_grant_ends_when_the_server_comes_to_another_project_also_while_nobody_looks() {
    let (_directory, uri) = hypervisor(1);
    note_project(&uri, "old");
    let role = Role::start(&uri, |config| config.static_lines.push(static_line(1)));
    role.servers().await;
    let switch = ServerId::of_static("switch");
    assert!(is_good(&role, id(RUNNING), "old") && !is_good(&role, id(RUNNING), "new"));
    assert!(is_good(&role, switch, "admin"));
    note_project(&uri, "new");
    let mut role = role;
    let named = ServerProject { server: "switch".into(), project: "new".into() };
    role.config.compute.projects.push(named);
    let role = role.restart();
    assert_eq!(role.manager.server(id(RUNNING)).await.unwrap().project, "new");
    for server in [id(RUNNING), switch] {
        assert!(is_good(&role, server, "new") && !is_good(&role, server, "old"));
        assert!(!is_good(&role, server, "admin"));
    }
    assert!(is_good(&role, id(STOPPED), "admin"));
}
