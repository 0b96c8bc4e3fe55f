//! The commands of the client as people run them, with their exit codes, against the real program.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use rustix::process::Signal;
use serialproxy_e2e::address;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Guest;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::stderr;
use serialproxy_e2e::stdout;
use serialproxy_e2e::terminal::Terminal;

#[tokio::test]
async fn a_log_is_all_that_was_printed_and_follows_over_a_restart() {
    let Rig { mut server, port, mut guest, .. } = Rig::fixed().await;
    let printed: Vec<u8> = (0..100_000u32).map(|n| (n % 253) as u8).collect();
    guest.print(&printed).await;
    eventually(async || {
        let line = server.line(&port.server(), 0).await;
        (line["offset"] == printed.len()).then_some(())
    })
    .await;
    let log = server.client(&["log", "switch"]).await;
    assert!(log.status.success() && log.stdout == printed, "{}", stderr(&log));
    let log = server.client(&["log", "switch", "--from", "99999"]).await;
    assert_eq!(log.stdout, [(99_999 % 253) as u8]);

    let mut follow = Terminal::run(server.command(&["log", "switch", "--follow"]));
    guest.print(b"before\r\n").await;
    follow.shows("before").await;
    server.signal(Signal::KILL);
    server = server.restart().await;
    drop(guest);
    let mut guest = port.accept().await;
    guest.print(b"after\r\n").await;
    follow.shows("the server started a new history in the meantime").await;
    follow.shows("after").await;
    drop(server);
}

#[tokio::test]
async fn commands_that_ask_print_tables_or_the_api_s_objects() {
    let rig = Rig::fixed().await;
    let run = async |arguments: &[&str]| {
        let output = rig.server.client(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    let servers = run(&["servers"]).await;
    assert!(servers.contains("| switch | 0    | connected |"), "{servers}");
    let url = run(&["get-serial-console", "switch", "serial", "-f", "json"]).await;
    let url: serde_json::Value = serde_json::from_str(&url).unwrap();
    assert_eq!(url["type"], "serial");
    let token = url["url"].as_str().unwrap().split_once("token=").unwrap().1;
    let mut socket = Socket::v1(&rig.server.proxy, token, "").await;
    socket.message("hello").await;
    let sessions = run(&["sessions"]).await;
    for word in ["switch", "admin", "typing", "console.v1", "live"] {
        assert!(sessions.contains(word), "{sessions}");
    }
    let sessions: serde_json::Value =
        serde_json::from_str(&run(&["sessions", "-f", "json"]).await).unwrap();
    assert_eq!(sessions["sessions"][0]["user"], "admin");
}

#[tokio::test]
async fn exit_codes_tell_what_went_wrong() {
    let rig = Rig::fixed().await;
    for (arguments, code, words) in [
        (&["connect"][..], 2, "SERVER"),
        (&["connect", "switch", "--watch", "--force"], 2, "cannot be used with"),
        (&["get-serial-console", "switch", "vnc"], 2, "Unavailable console type vnc."),
        (&["connect", "nothing"], 3, "nothing"),
        (&["connect", "switch", "--port", "7"], 3, "no serial port 7, only 0"),
        (&["log", "switch", "--port", "7"], 3, "no serial port 7"),
        (&["log", "nothing"], 3, "nothing"),
        (&["break", "nothing"], 3, "nothing"),
        (&["break", "switch"], 1, "break"),
        (&["sysrq", "switch"], 2, "KEY"),
        (&["sysrq", "switch", "b"], 1, ""),
        (&["nmi", "switch"], 1, ""),
        (&["reset", "switch"], 1, ""),
        (&["adopt", "nothing"], 3, "nothing"),
        (&["stop", "nothing"], 3, "nothing"),
        (&["delete", "nothing"], 3, "nothing"),
        (&["disconnect", "switch"], 3, ""),
        (&["boot", "t-none", "--image", "none"], 1, ""),
        (&["start", "switch"], 1, ""),
    ] {
        let output = rig.server.client(arguments).await;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(words) && !text.is_empty(), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_server_whose_name_has_the_form_of_a_uuid_is_found_by_it() {
    let name = "DEADBEEF-0000-4000-8000-000000000001";
    let port = Port::new(name).await;
    let own = [&address::fixed()[..], &port.flag()].concat();
    let server = Server::start(&own.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut guest = port.accept().await;
    let asked = server.client(&["get-serial-console", name, "serial"]).await;
    assert_eq!(asked.status.code(), Some(0), "{}", stderr(&asked));
    let mut terminal = Terminal::run(server.command(&["connect", name]));
    terminal.shows(&format!("connected to {name}, port 0")).await;
    terminal.keys("typed");
    assert_eq!(guest.typed(5).await, b"typed");
    guest.print(b"printed\r\n").await;
    terminal.shows("printed").await;
    terminal.keys("\r~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    let log = server.client(&["log", name]).await;
    assert!(stdout(&log).contains("printed"), "{}", stderr(&log));
    let other = "deadbeef-0000-4000-8000-000000000002";
    assert_eq!(server.client(&["log", other]).await.status.code(), Some(3));
}

/// Runs a command that must succeed.
async fn run(host: &Host, arguments: &[&str]) -> String {
    let output = host.server.client(arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

#[tokio::test]
async fn a_guest_is_booted_stopped_started_rebooted_and_deleted_by_commands() {
    let host = Host::fixed().await;
    let name = format!("t-client-{}", std::process::id());
    let boot = ["boot", &name, "--image", "demo", "--property", "serial_ports=1", "-f", "json"];
    let booted: serde_json::Value = serde_json::from_str(&run(&host, &boot).await).unwrap();
    let id = booted["server"]["id"].as_str().unwrap().to_owned();
    let guest = Guest { name: name.clone(), id };
    assert_eq!(booted["server"]["name"], name);
    host.status(&guest, "ACTIVE").await;

    run(&host, &["stop", &name, "--force"]).await;
    host.status(&guest, "SHUTOFF").await;
    // `connect` waits for the console of a server that is off.
    let mut terminal = Terminal::run(host.server.command(&["connect", &name]));
    terminal.shows("the server is off: waiting; to start it: serialproxy start").await;
    run(&host, &["start", &name]).await;
    terminal.shows("the guest is connected").await;
    terminal.shows("Linux version").await;
    // Before its shell runs, the guest ignores the request to reboot.
    eventually(async || {
        terminal.keys("echo li\"\"stens\r");
        terminal.shows_soon("\nlistens").await.then_some(())
    })
    .await;
    run(&host, &["reboot", &name]).await;
    terminal.shows("the guest was started again").await;
    terminal.shows("Linux version").await;
    run(&host, &["delete", &name]).await;
    assert_eq!(terminal.ended().await.code(), Some(3));
    assert!(!run(&host, &["servers"]).await.contains(&name));
    assert_eq!(host.server.client(&["connect", &name]).await.status.code(), Some(3));
}
