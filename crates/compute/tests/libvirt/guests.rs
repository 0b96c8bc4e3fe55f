//! Against real guests under a libvirtd of the test's own.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use serialproxy_config::Config;
use serialproxy_config::values::PortRange;
use serialproxy_config::values::VirtType;
use serialproxy_e2e::libvirtd::Libvirtd;
use serialproxy_proto::api;
use serialproxy_proto::api::Status;
use serialproxy_proto::api::Stop;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::Power;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::console::LineState;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use crate::role::Role;
use crate::role::eventually;

/// Ports of a range at most.
pub(crate) const SLOT: u16 = 10;

/// What a kernel prints first.
const FIRST: &str = "Linux version";

/// What a guest prints when its shell is there.
pub(crate) const PROMPT: &str = " # ";

/// A role at a running daemon, with a range of so many ports.
pub(crate) fn start(ports: u16) -> (Libvirtd, Role) {
    let mut daemon = Libvirtd::prepare();
    daemon.start();
    let role = Role::start(&daemon.uri(), settings(ports));
    (daemon, role)
}

pub(crate) fn settings(ports: u16) -> impl FnOnce(&mut Config) {
    let images = serialproxy_e2e::libvirtd::images();
    move |config| {
        config.compute.images_path = images;
        config.serial_console.port_range = range(ports);
        // Whether KVM works is found out elsewhere; emulated, a guest is the same everywhere.
        config.libvirt.virt_type = VirtType::Qemu;
    }
}

/// A range that no other test uses. All share the host's ports, where those of the last run may
/// still be in TIME_WAIT.
fn range(ports: u16) -> PortRange {
    static USED: AtomicU32 = AtomicU32::new(0);
    assert!(ports <= SLOT);
    let slot = std::process::id() * 13 + USED.fetch_add(1, Ordering::Relaxed);
    let start = 20_000 + u16::try_from(slot % 1000).unwrap() * SLOT;
    PortRange { start, end: u32::from(start + ports) }
}

pub(crate) fn first_port(role: &Role) -> u16 {
    role.config.serial_console.port_range.start
}

pub(crate) async fn connected(role: &Role) {
    eventually("libvirt answers", || async {
        let unknown = role.manager.server(ServerId::of_static("unknown")).await;
        matches!(unknown, Err(ComputeError::NotFound(_))).then_some(())
    })
    .await;
}

fn request(name: &str) -> api::Boot {
    api::Boot {
        name: name.into(),
        image: "demo".into(),
        properties: BTreeMap::new(),
        flavor_properties: BTreeMap::new(),
        host: None,
    }
}

pub(crate) async fn boot(role: &Role, name: &str) -> ServerId {
    connected(role).await;
    let server = role.manager.boot(request(name), "team-a".into()).await.unwrap();
    assert_eq!((server.name.as_str(), server.status), (name, Status::Active));
    assert_eq!(server.project, "team-a");
    server.id
}

async fn force_off(role: &Role, id: ServerId) {
    let stop = Stop { timeout: None, force: true };
    role.manager.power(id, Power::Stop(stop)).await.unwrap();
    assert_eq!(role.manager.server(id).await.unwrap().status, Status::Shutoff);
}

pub(crate) fn lines(id: ServerId) -> [LineKey; 2] {
    [0, 1].map(|port| LineKey { server: id, port })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_with_its_consoles_attached_and_is_deleted_without_a_trace() {
    let (daemon, role) = start(4);
    let id = boot(&role, "t-compute-boot").await;

    let [first, second] = lines(id);
    let port = first_port(&role);
    assert_eq!(role.leases(), [(port, first), (port + 1, second)]);
    let xml = daemon.virsh(&["dumpxml", "t-compute-boot"]);
    for port in [port, port + 1] {
        assert!(xml.contains(&format!("host='127.0.0.1' service='{port}'")), "{xml}");
    }
    for port in [0, 1] {
        let line = role.line(id, port).unwrap();
        assert_eq!((line.state, line.epoch), (LineState::Connected, 1));
    }
    let printed = role.until_printed(id, 0, PROMPT).await;
    assert!(printed.contains(FIRST), "the first bytes are there: {printed}");
    role.until_printed(id, 1, PROMPT).await;

    let again = role.manager.boot(request("t-compute-boot"), "team-a".into()).await.unwrap_err();
    assert!(matches!(again, ComputeError::Conflict(_)), "{again}");

    role.manager.delete(id).await.unwrap();
    assert_eq!(daemon.virsh(&["list", "--all", "--name"]).trim(), "");
    assert!(role.leases().is_empty() && role.lines.all().is_empty());
    let gone = role.manager.server(id).await.unwrap_err();
    assert_eq!(gone, ComputeError::NotFound(format!("Instance {id} could not be found.")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_shut_down_and_started_again_at_the_same_ports() {
    let (_daemon, role) = start(SLOT);
    let id = boot(&role, "t-compute-stop").await;
    role.until_printed(id, 1, PROMPT).await;
    role.manager.power(id, Power::Stop(Stop::default())).await.unwrap();
    assert_eq!(role.manager.server(id).await.unwrap().status, Status::Shutoff);
    let leases = role.leases();
    let off = role.open(lines(id)[0], false).await.unwrap_err();
    assert!(matches!(off, ComputeError::Conflict(_)), "{off}");

    role.manager.power(id, Power::Start).await.unwrap();
    assert_eq!(role.leases(), leases);
    assert_eq!(role.until_connected(id, 0).await.epoch, 2);
    role.open(lines(id)[0], false).await.unwrap();
    let twice = role.manager.power(id, Power::Start).await.unwrap_err();
    assert!(matches!(twice, ComputeError::Conflict(_)), "{twice}");
    role.manager.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_another_boot_on_the_same_connection() {
    let (_daemon, role) = start(SLOT);
    let id = boot(&role, "t-compute-reset").await;
    role.until_printed(id, 1, PROMPT).await;
    role.manager.power(id, Power::Nmi).await.unwrap();
    role.manager.power(id, Power::Reboot).await.unwrap();
    let line = role.line(id, 0).unwrap();
    assert_eq!((line.state, line.epoch), (LineState::Connected, 2));
    role.until_printed_times(id, 1, PROMPT, 2).await;
    role.manager.power(id, Power::Reset).await.unwrap();
    eventually("the reset is seen", || async { role.line(id, 0).filter(|line| line.epoch == 3) })
        .await;
    role.manager.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_guest_is_shown_so_and_keeps_its_power_and_its_console() {
    let (daemon, role) = start(SLOT);
    let id = boot(&role, "t-compute-paused").await;
    role.until_printed(id, 1, PROMPT).await;
    let (paused, goes_on) = (Some(Cause::Paused), None);
    let seen = async |status: Status, cause: Option<Cause>| {
        eventually("the change is seen", || async {
            let line = role.line(id, 0)?;
            let server = role.manager.server(id).await.ok()?;
            let connected = line.state == LineState::Connected;
            (connected && server.status == status && line.cause == cause).then_some(line.reason)
        })
        .await
    };
    seen(Status::Active, goes_on).await;
    daemon.virsh(&["suspend", "t-compute-paused"]);
    let reason = seen(Status::Paused, paused).await;
    assert!(reason.starts_with("connected; the guest is paused: what is typed"), "{reason}");
    role.open(lines(id)[0], false).await.unwrap();

    let asks_the_guest = [Power::Stop(Stop::default()), Power::Reboot, Power::Pause];
    for power in asks_the_guest {
        let refused = role.manager.power(id, power).await.unwrap_err();
        assert!(matches!(&refused, ComputeError::Conflict(text) if text.contains("is PAUSED")));
    }
    let line = lines(id)[0];
    let heard = [role.manager.send_break(line).await, role.manager.sysrq(line, 'h').await];
    for refused in heard.map(Result::unwrap_err) {
        let ComputeError::Conflict(text) = refused else { panic!("{refused}") };
        assert!(
            text.contains("t-compute-paused: the guest is paused, and would hear it"),
            "{text}"
        );
    }
    let adopt = api::Adopt { restart: true, ..api::Adopt::default() };
    assert!(role.manager.adopt(id, adopt).await.is_err());
    assert_eq!(daemon.virsh(&["domstate", "t-compute-paused"]).trim(), "paused");

    role.manager.power(id, Power::Resume).await.unwrap();
    seen(Status::Active, goes_on).await;
    role.manager.power(id, Power::Pause).await.unwrap();
    seen(Status::Paused, paused).await;
    role.manager.power(id, Power::Start).await.unwrap();
    let twice = role.manager.power(id, Power::Resume).await.unwrap_err();
    assert!(matches!(twice, ComputeError::Conflict(_)), "{twice}");
    role.manager.power(id, Power::Pause).await.unwrap();
    force_off(&role, id).await;

    // One that others start paused stays so, and is shown so.
    daemon.virsh(&["start", "--paused", "t-compute-paused"]);
    seen(Status::Paused, paused).await;
    role.manager.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_guest_whose_port_a_stranger_took_gets_another() {
    let (_daemon, role) = start(SLOT);
    let id = boot(&role, "t-compute-stranger").await;
    force_off(&role, id).await;
    let port = first_port(&role);
    let stranger = TcpListener::bind(("127.0.0.1", port + 1)).unwrap();
    role.manager.power(id, Power::Start).await.unwrap();
    let [first, second] = lines(id);
    assert_eq!(role.leases(), [(port, first), (port + 2, second)]);
    let line = role.until_connected(id, 1).await;
    assert_eq!(line.endpoint.unwrap().address(), format!("127.0.0.1:{}", port + 2));
    role.until_printed(id, 1, PROMPT).await;
    drop(stranger);
    role.manager.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_fails_leaves_nothing_behind() {
    let (daemon, role) = start(2);
    connected(&role).await;
    let stranger = TcpListener::bind(("127.0.0.1", first_port(&role))).unwrap();
    let error = role.manager.boot(request("t-compute-full"), "team-a".into()).await.unwrap_err();
    assert!(error.to_string().starts_with("Not able to acquire a free port for 127.0.0.1"));
    drop(stranger);

    let broken = tempfile::tempdir().unwrap();
    let image = broken.path().join("broken");
    std::fs::create_dir(&image).unwrap();
    std::fs::write(image.join("kernel"), "no kernel").unwrap();
    std::fs::write(image.join("disk"), vec![0; 65536]).unwrap();
    std::fs::write(image.join("image.toml"), "kernel = 'kernel'\ndisk = 'disk'").unwrap();
    let second = Role::start(&daemon.uri(), |config| {
        config.compute.images_path = broken.path().into();
        config.serial_console.port_range = range(2);
    });
    connected(&second).await;
    let boot = api::Boot { image: "broken".into(), ..request("t-compute-broken") };
    let error = second.manager.boot(boot, "team-a".into()).await.unwrap_err();
    assert!(matches!(&error, ComputeError::Failed(_)), "{error}");
    assert!(!error.to_string().contains(broken.path().to_str().unwrap()), "a path: {error}");

    for role in [role, second] {
        assert!(role.leases().is_empty() && role.lines.all().is_empty());
        let guests = std::fs::read_dir(role.state().join("guests")).map_or(0, Iterator::count);
        assert_eq!(guests, 0);
    }
    assert_eq!(daemon.virsh(&["list", "--all", "--name"]).trim(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_role_finds_its_guests_and_leases_again() {
    let (_daemon, role) = start(SLOT);
    let running = boot(&role, "t-compute-runs").await;
    let stopped = boot(&role, "t-compute-off").await;
    force_off(&role, stopped).await;
    let leases = role.leases();

    let role = role.restart();
    let line = role.until_connected(running, 0).await;
    assert_eq!(line.epoch, 0, "it did not boot since");
    assert_eq!(role.leases(), leases);
    let third = boot(&role, "t-compute-third").await;
    let port = first_port(&role) + 4;
    assert_eq!(role.leases()[4..], [(port, lines(third)[0]), (port + 1, lines(third)[1])]);
    role.manager.power(stopped, Power::Start).await.unwrap();
    role.until_connected(stopped, 1).await;
    for id in [running, stopped, third] {
        role.manager.delete(id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_go_on_while_libvirt_is_away() {
    let mut daemon = Libvirtd::prepare();
    let role = Role::start(&daemon.uri(), settings(SLOT));
    assert!(role.servers().await.is_empty());
    let away = role.manager.boot(request("t-compute-early"), "team-a".into()).await.unwrap_err();
    assert!(matches!(away, ComputeError::Unavailable(_)), "{away}");

    daemon.start();
    let id = boot(&role, "t-compute-away").await;
    let line = role.until_connected(id, 0).await;
    daemon.kill();
    eventually("the loss is seen", || async {
        let server = role.manager.server(id).await.ok()?;
        (server.status == Status::Error).then_some(())
    })
    .await;
    role.until_printed(id, 0, PROMPT).await;
    role.open(lines(id)[0], false).await.unwrap();

    daemon.start();
    eventually("libvirt is back", || async {
        let server = role.manager.server(id).await.ok()?;
        (server.status == Status::Active).then_some(())
    })
    .await;
    let after = role.until_connected(id, 0).await;
    assert_eq!((after.line, after.epoch), (line.line, line.epoch));
    role.manager.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_reached_over_ipv6() {
    let (daemon, _) = start(SLOT);
    if TcpListener::bind(("::1", 0)).is_err() {
        return;
    }
    let settings = settings(SLOT);
    let role = Role::start(&daemon.uri(), |config| {
        settings(config);
        config.serial_console.proxyclient_address = "::1".into();
    });
    let id = boot(&role, "t-compute-ipv6").await;
    let endpoint = role.until_connected(id, 0).await.endpoint.unwrap();
    assert_eq!(endpoint.address(), format!("[::1]:{}", first_port(&role)));
    role.manager.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_consoles_a_guest_has_no_tcp_port() {
    let (daemon, _) = start(SLOT);
    let settings = settings(SLOT);
    let role = Role::start(&daemon.uri(), |config| {
        settings(config);
        config.serial_console.enabled = false;
    });
    let id = boot(&role, "t-compute-pty").await;
    let xml = daemon.virsh(&["dumpxml", "t-compute-pty"]);
    assert!(xml.contains("<serial type='pty'>") && !xml.contains("type='tcp'"), "{xml}");
    assert!(role.leases().is_empty() && role.lines.all().is_empty());
    role.manager.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_process_hangs_does_not_hold_up_the_others() {
    let (mut daemon, role) = start(SLOT);
    let hung = boot(&role, "t-compute-hung").await;
    let other = boot(&role, "t-compute-fine").await;
    daemon.freeze("t-compute-hung");
    let manager = Arc::clone(&role.manager);
    let stop = Stop { timeout: Some(600), force: false };
    let waiting = tokio::spawn(async move { manager.power(hung, Power::Stop(stop)).await });

    role.open(lines(other)[0], false).await.unwrap();
    force_off(&role, other).await;
    let second = role.manager.power(hung, Power::Reboot).await.unwrap_err();
    let text = format!("Cannot 'reboot' instance {hung} while it is in task_state powering-off");
    assert_eq!(second, ComputeError::Conflict(text));
    force_off(&role, hung).await;
    waiting.await.unwrap().unwrap();
    for id in [hung, other] {
        role.manager.delete(id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_boot_that_was_broken_off_is_removed_at_the_start() {
    let (_daemon, role) = start(SLOT);
    let id = boot(&role, "t-compute-leftover").await;
    let guests = role.state().join("guests");
    let left = guests.join(ServerId::of_static("left").to_string());
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("unfinished"), "").unwrap();
    std::fs::write(left.join("disk.qcow2"), "half").unwrap();
    let role = role.restart();
    connected(&role).await;
    role.manager.server(id).await.unwrap();
    assert!(!left.exists());
    role.manager.delete(id).await.unwrap();
    assert_eq!(std::fs::read_dir(&guests).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_to_guests_is_followed() {
    let (daemon, role) = start(SLOT);
    let id = boot(&role, "t-compute-others").await;
    daemon.virsh(&["destroy", "t-compute-others"]);
    eventually("the stop is seen", || async {
        role.line(id, 0).filter(|line| line.state == LineState::Waiting)
    })
    .await;
    daemon.virsh(&["start", "t-compute-others"]);
    assert_eq!(role.until_connected(id, 0).await.epoch, 2);
    daemon.virsh(&["destroy", "t-compute-others"]);
    daemon.virsh(&["undefine", "t-compute-others"]);
    eventually("the removal is seen", || async {
        (role.lines.all().is_empty() && role.leases().is_empty()).then_some(())
    })
    .await;
}
