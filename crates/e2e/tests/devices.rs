//! What the REST calls do to the serial devices of real guests.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use reqwest::Method;
use rustix::process::Signal;
use serde_json::Value;
use serialproxy_e2e::address::free_port;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Guest;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::pki::Pki;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

/// Linux's output for the SysRq `h`.
const HELP: &[u8] = b"sysrq: HELP";

#[tokio::test]
async fn a_sysrq_prints_its_help_on_the_console_and_a_break_waits_for_its_key() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let mut shell = host.shell(&guest, 0).await;
    let line = format!("/v1/lines/{}/0", guest.id);
    assert_eq!(host.server.post(&format!("{line}/sysrq"), r#"{"key": "h"}"#).await.status, 204);
    shell.0.output_with(HELP).await;
    assert_eq!(host.server.post(&format!("{line}/break"), "").await.status, 204);
    shell.0.send("h").await;
    shell.0.output_with(HELP).await;
    let refused = host.server.post(&format!("{line}/sysrq"), r#"{"key": "\n"}"#).await;
    assert_eq!(refused.status, 400, "{:?}", refused.json);
    let nmi = format!("/v1/servers/{}/nmi", guest.id);
    assert_eq!(host.server.post(&nmi, "").await.status, 202);
    shell.0.output_with(b"NMI received").await;
    let log = host.server.log();
    for event in ["SysRq sent", "break sent"] {
        let said = log.lines().find(|said| said.contains(event)).unwrap();
        assert!(said.contains("admin") && said.contains(&guest.id), "{said}");
    }

    let action = format!("/v2.1/servers/{}/action", guest.id);
    let answer = host.server.post(&action, r#"{"os-getConsoleOutput": {}}"#).await;
    assert_eq!(answer.status, 200);
    let output = answer.json["output"].as_str().unwrap();
    assert!(output.contains("Linux version") && output.contains("sysrq: HELP"), "{output}");
    assert!(!output.contains('\r'));
}

#[tokio::test]
async fn a_paused_guest_gets_neither_and_who_sends_it_is_told_why() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let mut shell = host.shell(&guest, 0).await;
    host.virsh(&["suspend", &guest.id]);
    host.status(&guest, "PAUSED").await;
    let line = format!("/v1/lines/{}/0", guest.id);
    for (call, body, message) in [
        ("break", "", r#"{"type": "break"}"#),
        ("sysrq", r#"{"key": "h"}"#, r#"{"type": "sysrq", "key": "h"}"#),
    ] {
        let refused = host.server.post(&format!("{line}/{call}"), body).await;
        assert_eq!(refused.status, 409, "{:?}", refused.json);
        shell.0.say(message).await;
        let told = shell.0.message("error").await;
        let why = format!("Cannot '{call}' port 0 of {}: the guest is paused", guest.name);
        for said in [refused.message(), told["message"].as_str().unwrap()] {
            assert!(said.starts_with(&why), "{said}");
        }
    }
}

#[tokio::test]
async fn a_static_line_has_neither_and_says_so() {
    let port = Port::new("switch").await;
    let [flag, line] = port.flag();
    let server = Server::start(&[&flag, &format!("{line} backspace=ctrl-h newline=crlf")]).await;
    let _connected = port.accept().await;
    let line = format!("/v1/lines/{}/0", port.server());
    for (call, body) in [("break", ""), ("sysrq", r#"{"key": "h"}"#)] {
        let refused = server.post(&format!("{line}/{call}"), body).await;
        assert_eq!(refused.status, 409, "{:?}", refused.json);
        assert!(refused.message().contains("it is a static line"), "{}", refused.message());
    }
    let listed = &server.get("/v1/servers").await.json["servers"][0];
    assert_eq!(listed["static"], true);
    assert_eq!(listed["can"], serde_json::json!(["watch", "write", "force", "admin"]));
    let token = server.token(&port.server(), "").await;
    let hello = Socket::v1(&server.proxy, &token, "").await.message("hello").await;
    assert_eq!(hello["can"], serde_json::json!(["write", "force"]), "nobody has its power");
    let wants = serde_json::json!({"backspace": "ctrl-h", "newline": "crlf"});
    assert_eq!(hello["terminal"], wants, "an operator says what its device wants");
}

#[tokio::test]
async fn guests_of_the_unix_transport_are_reached_over_sockets() {
    let host = Host::start(&["--compute-transport", "unix"]).await;
    let guest = host.boot(1).await;
    let mut shell = host.shell(&guest, 0).await;
    shell.carries_every_byte().await;
    let line = host.server.line(&guest.id, 0).await;
    assert_eq!(line["endpoint"]["kind"], "unix");
    let path = format!("/v1/servers/{}", guest.id);
    assert_eq!(host.server.call(Method::DELETE, &path, "").await.status, 204);
}

/// Defines a guest as other programs do, without our mark, with this serial port.
async fn of_others(host: &Host, serial: &str) -> Guest {
    let guest = host.boot(1).await;
    let xml = host.virsh(&["dumpxml", "--inactive", &guest.id]);
    let path = format!("/v1/servers/{}", guest.id);
    assert_eq!(host.server.call(Method::DELETE, &path, "").await.status, 204);
    let without = |xml: &str, from: &str, to: &str| {
        let (before, rest) = xml.split_once(from).unwrap();
        format!("{before}{}", rest.split_once(to).unwrap().1)
    };
    let xml = without(&xml, "<metadata>", "</metadata>");
    let xml = without(&xml, "<serial", "</serial>");
    let xml = without(&xml, "<console", "</console>");
    let xml = xml.replace("</devices>", &format!("{serial}</devices>"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("domain.xml");
    std::fs::write(&file, xml).unwrap();
    host.virsh(&["define", file.to_str().unwrap()]);
    host.status(&guest, "SHUTOFF").await;
    guest
}

async fn connected(host: &Host, guest: &Guest) -> Value {
    eventually(async || {
        let line = host.server.line(&guest.id, 0).await;
        (line["state"] == "connected").then_some(line)
    })
    .await
}

#[tokio::test]
async fn a_pseudo_terminal_is_a_console_and_what_libvirt_logged_before_is_in_its_history() {
    let host = Host::start(&[]).await;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("guest.log");
    let serial =
        format!("<serial type='pty'><log file='{}' append='off'/></serial>", log.display());
    let guest = of_others(&host, &serial).await;
    host.server.signal(Signal::KILL);
    host.virsh(&["start", &guest.id]);
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually(async || logged().contains("Run /init").then_some(())).await;
    let host = host.kill_and_restart().await;

    let line = connected(&host, &guest).await;
    assert_eq!(line["endpoint"]["kind"], "pty");
    let tty = host.virsh(&["ttyconsole", &guest.id]);
    assert_eq!(line["endpoint"]["address"], tty.trim());
    let mut shell = host.shell(&guest, 0).await;
    shell.carries_every_byte().await;
    let action = format!("/v2.1/servers/{}/action", guest.id);
    let answer = host.server.post(&action, r#"{"os-getConsoleOutput": {}}"#).await;
    let output = answer.json["output"].as_str().unwrap();
    assert!(output.contains("Linux version"), "{output}");
    assert_eq!(output.matches("Run /init").count(), 1, "nothing is there twice: {output}");
}

/// A serial port on a free TCP port of this machine, with or without TLS.
fn raw_port(tls: &str) -> String {
    format!(
        "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='{}' tls='{tls}'/>\
         <protocol type='raw'/></serial>",
        free_port()
    )
}

/// Flags to trust guests of one CA, and to have the client certificate of another.
fn as_client(guests: &Pki, own: &Pki) -> [String; 3] {
    let option = |option, pki: &Pki, file| {
        format!("--serial_console-tls_{option}={}", pki.file(file).display())
    };
    [
        option("ca_certs", guests, "ca-cert.pem"),
        option("client_cert", own, "client-cert.pem"),
        option("client_key", own, "client-key.pem"),
    ]
}

#[tokio::test]
async fn where_tls_is_required_guests_have_it_and_plain_ports_are_refused() {
    let pki = Pki::new();
    let flags = as_client(&pki, &pki);
    let flags: Vec<&str> = ["--serial_console-tls_required"]
        .into_iter()
        .chain(flags.iter().map(String::as_str))
        .collect();
    let host = Host::start_with(&pki.qemu_conf(), &flags).await;
    let guest = host.boot(1).await;
    let line = host.server.line(&guest.id, 0).await;
    assert_eq!((&line["state"], &line["endpoint"]["kind"]), (&"connected".into(), &"tls".into()));
    let mut shell = host.shell(&guest, 0).await;
    shell.carries_every_byte().await;

    let plain = of_others(&host, &raw_port("no")).await;
    host.virsh(&["start", &plain.id]);
    let refused = eventually(async || {
        let line = host.server.line(&plain.id, 0).await;
        (line["state"] == "failed").then_some(line)
    })
    .await;
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("tls_required") && reason.contains("tls='yes'"), "{reason}");
}

#[tokio::test]
async fn a_client_certificate_that_qemu_refuses_is_named_as_the_reason() {
    let (pki, other) = (Pki::new(), Pki::new());
    let flags = as_client(&pki, &other);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let host = Host::start_with(&pki.qemu_conf(), &flags).await;
    let guest = of_others(&host, &raw_port("yes")).await;
    host.virsh(&["start", &guest.id]);
    let reason = eventually(async || {
        let line = host.server.line(&guest.id, 0).await;
        let reason = line["reason"].as_str()?.to_owned();
        reason.contains("certificate").then_some(reason)
    })
    .await;
    assert!(reason.contains("tls_client_cert"), "{reason}");
}

/// A client that a guest's QEMU serves: the next one when the line's connection has ended.
async fn served(endpoint: &str) -> TcpStream {
    let mut client = TcpStream::connect(endpoint).await.unwrap();
    client.write_all(b"\r").await.unwrap();
    within(client.read_u8()).await.unwrap();
    client
}

#[tokio::test]
async fn a_client_that_is_gone_and_whose_guest_reads_nothing_is_hung_up_on_once_somebody_asks() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let endpoint = host.endpoint(&guest, 0).await;
    host.shell(&guest, 0).await;
    host.server.signal(Signal::KILL);
    let mut gone = served(&endpoint).await;
    let address = gone.local_addr().unwrap();
    host.virsh(&["suspend", &guest.id]);
    // More than the device takes: QEMU does not read that the client is gone.
    gone.write_all(&[b'#'; 4096]).await.unwrap();
    // An end with unread output would be a reset, which QEMU notices.
    let mut gone = gone.into_std().unwrap();
    while std::io::Read::read(&mut gone, &mut [0; 4096]).is_ok() {}
    drop(gone);
    for _ in 0..2 {
        drop(TcpStream::connect(&endpoint).await.unwrap());
    }

    let host = host.kill_and_restart().await;
    let who = format!("another program holds {endpoint}: a client at {address}");
    eventually(async || {
        let line = host.server.line(&guest.id, 0).await;
        (line["cause"] == "held" && line["reason"] == who).then_some(())
    })
    .await;
    let token = host.server.token(&guest.id, "?mode=watch").await;
    let mut socket = Socket::v1(&host.server.proxy, &token, "").await;
    socket.message("hello").await;
    assert!(host.server.log().contains("made QEMU disconnect"));
}

#[tokio::test]
async fn a_stranger_who_took_the_port_first_is_hung_up_on_once_somebody_asks() {
    let host = Host::start(&[]).await;
    let guest = host.boot(1).await;
    let endpoint = host.endpoint(&guest, 0).await;
    host.shell(&guest, 0).await;
    host.server.signal(Signal::KILL);
    let stranger = served(&endpoint).await;
    // QEMU 7.2 has room for two that wait.
    let waits = TcpStream::connect(&endpoint).await.unwrap();
    drop(TcpStream::connect(&endpoint).await.unwrap());

    let host = host.kill_and_restart().await;
    held(&host.server, &guest.id, &endpoint).await;
    assert!(!host.server.log().contains("made QEMU disconnect"), "nobody asked");
    let mut shell = host.shell(&guest, 0).await;
    for mut stranger in [stranger, waits] {
        within(stranger.read_to_end(&mut Vec::new())).await.unwrap();
    }
    assert_eq!(shell.run("echo $((6*7))").await, "42");
    let log = host.server.log();
    assert!(log.contains("made QEMU disconnect"), "{log}");
}

/// Waits until a line says that this process holds its port, and sends no input.
async fn held(server: &Server, id: &str, port: &str) {
    eventually(async || {
        let line = server.line(id, 0).await;
        let reason = line["reason"].as_str().unwrap();
        let is_named = reason.starts_with(&format!("another program holds {port}: "))
            && reason.ends_with(&format!(" (pid {})", std::process::id()));
        (line["cause"] == "held" && is_named).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stranger_on_a_guest_s_socket_is_named_and_hung_up_on_once_somebody_asks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("console");
    let everybodys = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(directory.path(), everybodys).unwrap();
    let host = Host::start(&[]).await;
    let serial =
        format!("<serial type='unix'><source mode='bind' path='{}'/></serial>", path.display());
    let guest = of_others(&host, &serial).await;
    host.server.signal(Signal::KILL);
    host.virsh(&["start", &guest.id]);
    let mut stranger = within(UnixStream::connect(&path)).await.unwrap();
    within(stranger.read_u8()).await.unwrap();
    let waits = UnixStream::connect(&path).await.unwrap();
    drop(UnixStream::connect(&path).await.unwrap());

    let exclude = format!("--compute-exclude={}:0", guest.name);
    let other = host.beside(&[], &[&exclude]).await;
    let console = format!("/v3/servers/{}/get-serial-console", guest.id);
    let refused = other.post(&console, "").await;
    assert_eq!(refused.status, 400, "{:?}", refused.json);
    assert_eq!(other.get("/v1/lines").await.json["lines"], serde_json::json!([]));
    drop(other);

    let host = host.kill_and_restart().await;
    held(&host.server, &guest.id, "the guest's socket").await;
    assert!(!host.server.log().contains("made QEMU disconnect"), "nobody asked");
    stranger.write_all(b"\r").await.unwrap();
    within(stranger.read_u8()).await.unwrap();
    let mut shell = host.shell(&guest, 0).await;
    for mut stranger in [stranger, waits] {
        within(stranger.read_to_end(&mut Vec::new())).await.unwrap();
    }
    assert_eq!(shell.run("echo $((6*7))").await, "42");
    assert!(host.server.log().contains("made QEMU disconnect"));
}

#[tokio::test]
async fn a_telnet_serial_is_a_console_and_carries_every_byte() {
    let host = Host::start(&[]).await;
    let port = free_port();
    let serial = format!(
        "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='{port}'/>\
         <protocol type='telnet'/></serial>"
    );
    let guest = of_others(&host, &serial).await;
    host.virsh(&["start", &guest.id]);
    assert_eq!(connected(&host, &guest).await["endpoint"]["kind"], "telnet");
    let mut shell = host.shell(&guest, 0).await;
    shell.carries_every_byte().await;
    let line = format!("/v1/lines/{}/0", guest.id);
    assert_eq!(host.server.post(&format!("{line}/sysrq"), r#"{"key": "h"}"#).await.status, 204);
    shell.0.output_with(HELP).await;
    let adopted = host.server.post(&format!("/v1/servers/{}/adopt", guest.id), "").await;
    assert_eq!(adopted.status, 409);
    assert!(
        adopted.message().contains("already has a console, over telnet"),
        "{}",
        adopted.message()
    );
}

/// Connects as soon as a process listens there, types, and is disconnected.
async fn hung_up_on(address: &str) {
    let mut stranger = eventually(async || TcpStream::connect(address).await.ok()).await;
    let _ = stranger.write_all(b"\r").await;
    let read = within(stranger.read(&mut [0])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn where_qemu_connects_to_the_line_listens_for_it_and_for_nobody_else() {
    let host = Host::start(&[]).await;
    let port = free_port();
    let source = format!("<source mode='connect' host='127.0.0.1' service='{port}'>");
    let serial = format!(
        "<serial type='tcp'>{source}<reconnect enabled='yes' timeout='1'/></source>\
         <protocol type='raw'/></serial>"
    );
    let guest = of_others(&host, &serial).await;
    let address = format!("127.0.0.1:{port}");
    hung_up_on(&address).await;
    host.virsh(&["start", &guest.id]);
    let line = connected(&host, &guest).await;
    assert_eq!(line["endpoint"], serde_json::json!({"kind": "incoming", "address": address}));
    let mut shell = host.shell(&guest, 0).await;
    shell.carries_every_byte().await;
    assert_eq!(
        host.server
            .post(&format!("/v1/lines/{}/0/sysrq", guest.id), r#"{"key": "h"}"#)
            .await
            .status,
        204
    );
    shell.0.output_with(HELP).await;
    let said = host.server.log();
    assert!(said.contains("hung up on a program that is not the guest's QEMU"), "{said}");

    // QEMU connects again.
    let host = host.kill_and_restart().await;
    connected(&host, &guest).await;
    let mut shell = host.shell(&guest, 0).await;
    assert_eq!(shell.run("echo $((6*7))").await, "42");

    // Its user may want a port on which QEMU listens.
    let adopt = format!("/v1/servers/{}/adopt", guest.id);
    let adopted = host.server.post(&adopt, r#"{"restart": true}"#).await;
    assert_eq!(adopted.status, 200, "{:?}", adopted.json);
    let was = format!("tcp with mode='connect' to {address}");
    assert_eq!(adopted.json["ports"][0]["was"], was.as_str());
    let events = host.server.get("/v1/audit?user=admin").await.json;
    let mut events = events["events"].as_array().unwrap().iter();
    assert!(
        events
            .any(|event| event["event.name"] == "guest.adopted" && event["server.id"] == guest.id)
    );
    let now = adopted.json["ports"][0]["now"].as_str().unwrap();
    assert_eq!(host.endpoint(&guest, 0).await, now);
}

#[tokio::test]
async fn a_guest_whose_qemu_connects_once_is_served_from_its_start_on() {
    let host = Host::start(&[]).await;
    let port = free_port();
    let source = format!("<source mode='connect' host='127.0.0.1' service='{port}'/>");
    let guest = of_others(&host, &format!("<serial type='tcp'>{source}</serial>")).await;
    let address = format!("127.0.0.1:{port}");
    // QEMU does not start where no process listens.
    hung_up_on(&address).await;
    host.virsh(&["start", &guest.id]);
    connected(&host, &guest).await;
    let mut shell = host.shell(&guest, 0).await;
    assert_eq!(shell.run("echo $((6*7))").await, "42");
    let action = format!("/v2.1/servers/{}/action", guest.id);
    let answer = host.server.post(&action, r#"{"os-getConsoleOutput": {}}"#).await;
    let output = answer.json["output"].as_str().unwrap();
    assert!(output.contains("Linux version"), "the first byte is there: {output}");

    // A program that was not there at the start is told what to do.
    let host = host.kill_and_restart().await;
    let reason = eventually(async || {
        let line = host.server.line(&guest.id, 0).await;
        let reason = line["reason"].as_str().unwrap();
        reason.starts_with("QEMU has not connected to").then(|| reason.to_owned())
    })
    .await;
    assert!(reason.contains("<reconnect"), "{reason}");
}

#[tokio::test]
async fn why_a_port_has_no_console_and_what_to_change_reaches_whoever_asks_for_it() {
    let host = Host::start(&[]).await;
    let serials = [
        ("mode='connect' service='8611' tls='yes'", "over TLS (mode='connect')", 200),
        ("mode='bind' service='cisco-sccp'", "'cisco-sccp'", 409),
    ];
    for (source, why, adopted) in serials {
        let source = format!("<source host='127.0.0.1' {source}/>");
        let guest = of_others(&host, &format!("<serial type='tcp'>{source}</serial>")).await;
        let server = &host.server.get(&format!("/v1/servers/{}", guest.id)).await.json["server"];
        let unusable = &server["unusable_ports"][0];
        assert_eq!(unusable["port"], 0);
        assert!(unusable["reason"].as_str().unwrap().contains(why), "{unusable}");
        let console = format!("/v3/servers/{}/get-serial-console?wait=1", guest.id);
        let asked = [
            (400, host.server.post(&console, "").await),
            (404, host.server.get(&format!("/v1/lines/{}/0/output", guest.id)).await),
            (adopted, host.server.post(&format!("/v1/servers/{}/adopt", guest.id), "").await),
        ];
        for (status, answer) in asked {
            assert_eq!(answer.status, status, "{:?}", answer.json);
            assert!(status == 200 || answer.message().contains(why), "{:?}", answer.json);
        }
    }
}

#[tokio::test]
async fn a_port_that_cannot_be_taken_from_a_program_is_refused_with_its_name_and_gets_nothing() {
    let port = Port::new("switch").await;
    let endpoint = port.address().to_string();
    let mut stranger = TcpStream::connect(&endpoint).await.unwrap();
    let _served = port.accept().await;
    let [flag, line] = port.flag();
    let server = Server::start(&[&flag, &line]).await;
    held(&server, &port.server(), &endpoint).await;
    let path = format!("/?token={}", server.token(&port.server(), "").await);
    let refused = Socket::refused(&server.proxy, &path, &[]).await;
    assert_eq!(refused.status, 502);
    assert!(refused.reason.starts_with("held: another program holds"), "{refused:?}");
    let token = server.token(&port.server(), "").await;
    let mut v1 = Socket::v1(&server.proxy, &token, "").await;
    let state = v1.message("state").await;
    assert_eq!((&state["state"], &state["cause"]), (&"failed".into(), &"held".into()));
    assert_eq!(v1.closed().await.0, 4013);
    stranger.write_all(b"still mine").await.unwrap();
}

#[tokio::test]
async fn an_adopted_guest_has_a_console_and_is_what_it_was_after_the_undo() {
    let host = Host::start(&[]).await;
    let guest = of_others(&host, "<serial type='pty'/>").await;
    let path = format!("/v1/servers/{}", guest.id);
    let described = || host.virsh(&["dumpxml", "--inactive", "--security-info", &guest.id]);
    let before = described();

    let adopt = format!("{path}/adopt");
    let adopted = host.server.post(&adopt, r#"{"serial_ports": 1}"#).await;
    assert_eq!(adopted.status, 200, "{:?}", adopted.json);
    let port = &adopted.json["ports"][0];
    assert_eq!((&port["port"], &port["was"]), (&0.into(), &"pty".into()), "{port}");
    assert_eq!(adopted.json["server"]["status"], "SHUTOFF");
    assert_eq!(host.server.post(&adopt, "").await.status, 409);
    assert_eq!(host.server.post(&format!("{path}/start"), "").await.status, 202);
    let mut shell = host.shell(&guest, 0).await;
    assert_eq!(shell.run("echo $((6*7))").await, "42");
    let endpoint = host.endpoint(&guest, 0).await;
    assert!(endpoint.starts_with("127.0.0.1:"), "{endpoint}");

    let undone = host.server.call(Method::DELETE, &adopt, "").await;
    assert_eq!((undone.status, &undone.json["server"]["status"]), (200, &"ACTIVE".into()));
    assert_eq!(described(), before);
    assert_eq!(host.server.call(Method::DELETE, &adopt, "").await.status, 409);
}
