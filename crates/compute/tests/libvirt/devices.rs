//! What the serial devices of guests can do, and how their lines are reached.

use serialproxy_config::values::StaticLine;
use serialproxy_config::values::Transport;
use serialproxy_e2e::libvirtd::Libvirtd;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::LineBook;
use serialproxy_proto::compute::Power;
use serialproxy_proto::compute::Servers;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::endpoint::EndpointKind;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::terminal::TerminalSettings;

use crate::guests::PROMPT;
use crate::guests::SLOT;
use crate::guests::boot;
use crate::guests::connected;
use crate::guests::first_port;
use crate::guests::lines;
use crate::guests::settings;
use crate::guests::start;
use crate::role::Role;
use crate::role::eventually;

/// What Linux prints for a SysRq that it does not know, or for `h`.
const HELP: &str = "sysrq: HELP";

#[tokio::test(flavor = "multi_thread")]
async fn a_sysrq_reaches_the_kernel_and_a_break_alone_waits_for_its_key() {
    let (_daemon, role) = start(SLOT);
    let id = boot(&role, "t-compute-sysrq").await;
    let [first, _] = lines(id);
    role.until_printed(id, 0, PROMPT).await;
    role.manager.sysrq(first, 'h').await.unwrap();
    role.until_printed(id, 0, HELP).await;

    role.manager.send_break(first).await.unwrap();
    assert!(role.lines.get(first).unwrap().press(b"h"));
    role.until_printed_times(id, 0, HELP, 2).await;

    for key in ['\r', ' ', 'ä', '\u{1b}'] {
        let refused = role.manager.sysrq(first, key).await.unwrap_err();
        assert!(matches!(refused, ComputeError::Invalid(_)), "{refused}");
    }
    role.manager.power(id, Power::Nmi).await.unwrap();
    role.manager.delete(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_breaks_refuses_one_and_takes_a_sysrq_as_typed_characters() {
    let (daemon, role) = start(SLOT);
    let id = ServerId::of_static("t-compute-virtio");
    let console = format!(
        "<console type='tcp'><source mode='bind' host='127.0.0.1' service='{}'/>
         <target type='virtio'/></console>",
        first_port(&role)
    );
    daemon.define("t-compute-virtio", &id.to_string(), &console);
    connected(&role).await;
    let line = LineKey { server: id, port: 0 };
    let off = role.manager.send_break(line).await.unwrap_err();
    assert!(matches!(&off, ComputeError::Conflict(text) if text.contains("SHUTOFF")), "{off}");

    daemon.virsh(&["start", "t-compute-virtio"]);
    role.until_connected(id, 0).await;
    let refused = role.manager.send_break(line).await.unwrap_err();
    let ComputeError::Conflict(text) = refused else { panic!("{refused}") };
    assert!(text.contains("has no break"), "{text}");
    role.manager.sysrq(line, 'h').await.unwrap();
    eventually("^O and the key are written", || async {
        role.line(id, 0).filter(|line| line.bytes_in == 2)
    })
    .await;
    let elsewhere = role.manager.sysrq(LineKey { server: id, port: 1 }, 'h').await.unwrap_err();
    assert!(matches!(elsewhere, ComputeError::NotFound(_)), "{elsewhere}");
    daemon.virsh(&["destroy", "t-compute-virtio"]);
}

#[tokio::test]
async fn a_static_line_has_no_break() {
    let role = Role::start("test:///default", |config| {
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: 1 };
        config.static_lines.push(StaticLine {
            name: "switch".into(),
            port: 0,
            endpoint,
            terminal: TerminalSettings::default(),
        });
    });
    let line = |port| LineKey { server: ServerId::of_static("switch"), port };
    for refused in [role.manager.send_break(line(0)).await, role.manager.sysrq(line(0), 'b').await]
    {
        let Err(ComputeError::Conflict(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains("static line"), "{text}");
    }
    let unknown = role.manager.send_break(line(1)).await.unwrap_err();
    assert!(matches!(unknown, ComputeError::NotFound(_)), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_reached_over_sockets_that_go_with_it() {
    let mut daemon = Libvirtd::prepare();
    daemon.start();
    let settings = settings(SLOT);
    let role = Role::start(&daemon.uri(), |config| {
        settings(config);
        config.compute.transport = Transport::Unix;
    });
    let id = boot(&role, "t-compute-unix").await;
    let directory = role.state().join("guests").join(id.to_string());
    for port in [0, 1] {
        let endpoint = role.until_connected(id, port).await.endpoint.unwrap();
        let socket = directory.join(format!("serial{port}"));
        assert_eq!(endpoint.kind(), EndpointKind::Unix);
        assert_eq!(endpoint.address(), socket.display().to_string());
        role.until_printed(id, port, PROMPT).await;
    }
    assert!(role.leases().is_empty(), "no TCP port is used");
    role.manager.delete(id).await.unwrap();
    assert!(!directory.exists());
}
