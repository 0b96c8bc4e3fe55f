//! Domains that others made are given TCP ports, and what they had is given back.

use serialproxy_e2e::libvirtd::Libvirtd;
use serialproxy_proto::api;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;

use crate::guests::SLOT;
use crate::guests::boot;
use crate::guests::connected;
use crate::guests::first_port;
use crate::guests::start;
use crate::role::Role;
use crate::role::eventually;

/// As virt-install makes them, with a log, a password and a console of its own beside.
const DEVICES: &str = "
    <serial type='pty'><log file='/var/log/libvirt/t.log' append='on'/><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <console type='pty'><target type='virtio' port='1'/></console>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='-1' autoport='yes' passwd='s3cret'/>";

fn request(serial_ports: Option<u8>, restart: bool) -> api::Adopt {
    api::Adopt { serial_ports, restart }
}

fn description(daemon: &Libvirtd, name: &str) -> String {
    daemon.virsh(&["dumpxml", "--inactive", "--security-info", name])
}

/// The description without its serial devices.
fn without_serials(xml: &str) -> String {
    let mut rest = String::new();
    let mut inside = false;
    for line in xml.lines() {
        let element = line.trim_start();
        inside |= element.starts_with("<serial") || element.starts_with("<console");
        if !inside {
            rest.push_str(line);
            rest.push('\n');
        }
        inside &= !(element.starts_with("</serial") || element.starts_with("</console"));
    }
    rest
}

async fn defined(role: &Role, daemon: &Libvirtd, name: &str, devices: &str) -> ServerId {
    let id = ServerId::of_static(name);
    daemon.define(name, &id.to_string(), devices);
    connected(role).await;
    eventually("the domain is seen", || async { role.manager.server(id).await.ok() }).await;
    id
}

async fn refused(role: &Role, id: ServerId, adopt: api::Adopt) -> String {
    match role.manager.adopt(id, adopt).await {
        Err(ComputeError::Conflict(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_serial_devices_change_and_the_undo_is_exact() {
    let (daemon, role) = start(SLOT);
    let name = "t-adopt-exact";
    let id = defined(&role, &daemon, name, DEVICES).await;
    let before = description(&daemon, name);
    assert!(before.contains("s3cret") && before.contains("<serial type='pty'>"), "{before}");

    let api::Adopted { server, ports } =
        role.manager.adopt(id, request(Some(2), true)).await.unwrap();
    assert_eq!((server.id, server.status), (id, Status::Shutoff));
    let replaced: Vec<_> = ports.iter().map(|port| (port.port, port.was.as_deref())).collect();
    assert_eq!(replaced, [(0, Some("pty")), (1, None)]);
    assert_eq!(ports[1].now, format!("127.0.0.1:{}", first_port(&role) + 1));
    let adopted = description(&daemon, name);
    assert_eq!(without_serials(&adopted), without_serials(&before));
    let port = first_port(&role);
    let line = |port| LineKey { server: id, port };
    assert_eq!(role.leases(), [(port, line(0)), (port + 1, line(1))]);
    for port in [port, port + 1] {
        let source = format!("<source mode='bind' host='127.0.0.1' service='{port}'");
        assert!(adopted.contains(&source), "{adopted}");
    }
    for kept in ["<log file='/var/log/libvirt/t.log' append='on'/>", "<target type='virtio'"] {
        assert!(adopted.contains(kept), "{adopted}");
    }
    let again = refused(&role, id, request(None, false)).await;
    assert!(again.contains("already adopted"), "{again}");

    let role = role.restart();
    connected(&role).await;
    role.manager.unadopt(id).await.unwrap();
    assert_eq!(description(&daemon, name), before);
    assert!(role.leases().is_empty(), "{:?}", role.leases());
    let twice = role.manager.unadopt(id).await.unwrap_err();
    assert!(matches!(&twice, ComputeError::Conflict(text) if text.contains("not adopted")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_domain_has_its_ports_from_the_next_start_or_at_once() {
    let (daemon, role) = start(SLOT);
    let name = "t-adopt-runs";
    let id = defined(&role, &daemon, name, "<serial type='null'/>").await;
    daemon.virsh(&["start", name]);
    eventually("it runs", || async {
        let server = role.manager.server(id).await.unwrap();
        (server.status == Status::Active).then_some(())
    })
    .await;
    let before = description(&daemon, name);
    let live = daemon.virsh(&["dumpxml", name]);
    let adopted = role.manager.adopt(id, request(None, false)).await.unwrap();
    assert_eq!(adopted.server.status, Status::Active);
    assert_eq!(daemon.virsh(&["dumpxml", name]), live, "the process goes on as it was");
    assert_eq!(role.leases().len(), 1);
    role.manager.unadopt(id).await.unwrap();
    assert_eq!(description(&daemon, name), before);
    assert!(role.leases().is_empty(), "{:?}", role.leases());

    // Without an operating system nobody hears the power button, so it is cut off in the end.
    let adopting = role.manager.adopt(id, request(Some(1), true));
    let cut = async {
        eventually("the adoption is defined", || async {
            description(&daemon, name).contains("mode='bind'").then_some(())
        })
        .await;
        daemon.virsh(&["destroy", name]);
    };
    let (adopted, ()) = tokio::join!(adopting, cut);
    assert_eq!(adopted.unwrap().server.status, Status::Active);
    let line = role.until_connected(id, 0).await;
    let port = role.leases()[0].0;
    assert_eq!(line.endpoint.unwrap().address(), format!("127.0.0.1:{port}"));

    role.manager.unadopt(id).await.unwrap();
    assert_eq!(description(&daemon, name), before);
    assert_eq!(role.leases().len(), 1, "the process still has the port");
    daemon.virsh(&["destroy", name]);
    eventually("the port is given back", || async { role.leases().is_empty().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_adopted_is_refused_and_left_as_it_is() {
    let (daemon, role) = start(SLOT);
    let relied = "<serial type='file'><source path='/dev/null'/></serial>";
    let id = defined(&role, &daemon, "t-adopt-relied", relied).await;
    let before = description(&daemon, "t-adopt-relied");
    for (adopt, why) in [
        (request(Some(5), false), "at most 4 serial ports"),
        (request(None, false), "serial port 0 is of type 'file'"),
    ] {
        let text = refused(&role, id, adopt).await;
        assert!(text.contains(why), "{text}");
    }
    let none = role.manager.adopt(id, request(Some(0), false)).await.unwrap_err();
    assert!(matches!(none, ComputeError::Invalid(_)), "{none}");
    assert_eq!(description(&daemon, "t-adopt-relied"), before);
    assert!(role.leases().is_empty());
    let unknown = role.manager.adopt(ServerId::of_static("x"), request(None, false)).await;
    assert!(matches!(unknown, Err(ComputeError::NotFound(_))), "{unknown:?}");

    let ours = boot(&role, "t-adopt-ours").await;
    let text = refused(&role, ours, request(None, false)).await;
    assert!(text.contains("made by `boot`"), "{text}");
    role.manager.delete(ours).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_others_changed_since_are_not_overwritten() {
    let (daemon, role) = start(SLOT);
    let name = "t-adopt-changed";
    let id = defined(&role, &daemon, name, "<serial type='pty'/>").await;
    let before = description(&daemon, name);
    role.manager.adopt(id, request(None, false)).await.unwrap();
    daemon.define(name, &id.to_string(), "<serial type='null'/>");
    let changed = description(&daemon, name);
    let refused = role.manager.unadopt(id).await.unwrap_err();
    let ComputeError::Conflict(text) = refused else { panic!("{refused}") };
    assert!(text.contains("changed after"), "{text}");
    assert_eq!(description(&daemon, name), changed);

    daemon.define(name, &id.to_string(), "<serial type='pty'/>");
    role.manager.unadopt(id).await.unwrap();
    assert_eq!(without_serials(&description(&daemon, name)), without_serials(&before));
    daemon.virsh(&["undefine", name]);
    eventually("it is gone", || async { role.manager.server(id).await.is_err().then_some(()) })
        .await;
    assert!(role.leases().is_empty());
}
