//! The client as people run it, against the real program: `connect` in a pseudo-terminal, and the
//! commands with their exit codes.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::process::Output;
use std::process::Stdio;

use rustix::process::Signal;
use serialproxy_e2e::address;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Guest;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::network::Network;
use serialproxy_e2e::page::tell;
use serialproxy_e2e::port;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::server::program;
use serialproxy_e2e::socket::Socket;
use serialproxy_e2e::terminal::Terminal;
use serialproxy_e2e::within;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

struct Rig {
    server: Server,
    port: Port,
    guest: port::Guest,
}

async fn rig() -> Rig {
    let port = Port::new("switch").await;
    let own = [&address::fixed()[..], &port.flag()].concat();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = Server::start(&own).await;
    let guest = port.accept().await;
    Rig { server, port, guest }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Rig {
    fn connect(&self, more: &[&str]) -> Terminal {
        Terminal::run(self.server.command(&[&["connect", "switch"], more].concat()))
    }

    /// A terminal that writes to the port.
    async fn writer(&self) -> Terminal {
        let mut terminal = self.connect(&[]);
        terminal.shows("connected to switch, port 0, as admin. ~. leaves").await;
        assert!(terminal.is_raw());
        terminal
    }
}

#[tokio::test]
async fn what_is_typed_reaches_the_port_and_what_it_prints_is_shown() {
    let mut rig = rig().await;
    let mut terminal = rig.writer().await;
    terminal.keys("ls\r\x03");
    assert_eq!(rig.guest.typed(4).await, b"ls\r\x03");
    rig.guest.print("ünï\r\n".as_bytes()).await;
    terminal.shows("ünï\r\n").await;
    terminal.keys("\r~?");
    terminal.shows("~.  leave this console").await;
    terminal.keys("~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    assert_eq!(rig.guest.typed(1).await, b"\r");
    eventually(async || {
        let line = rig.server.line(&rig.port.server(), 0).await;
        line["writer"].is_null().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_busy_console_is_exit_code_4_with_the_holder_s_name_and_the_tty_untouched() {
    let rig = rig().await;
    let _first = rig.writer().await;
    let mut second = rig.connect(&[]);
    second.shows("busy: admin since 20").await;
    second.shows("--force to take over").await;
    assert_eq!(second.ended().await.code(), Some(4));
}

#[tokio::test]
async fn a_watcher_sees_all_and_types_nothing() {
    let mut rig = rig().await;
    let mut writer = rig.writer().await;
    let mut watcher = rig.connect(&["--watch"]);
    watcher.shows("watching switch, port 0").await;
    watcher.keys("reboot\r");
    watcher.shows("what you type is not sent").await;
    writer.keys("x");
    assert_eq!(rig.guest.typed(1).await, b"x");
    // A query too: nothing is asked of a watcher's terminal.
    rig.guest.print(b"seen\x1b[6n\r\n").await;
    watcher.shows("seen\r\n").await;
    writer.shows("seen\x1b[6n\r\n").await;
    watcher.keys("\x03");
    assert_eq!(watcher.ended().await.code(), Some(0));
    writer.keys("y");
    assert_eq!(rig.guest.typed(1).await, b"y");
}

#[tokio::test]
async fn force_takes_over_and_who_wrote_before_only_watches_and_knows() {
    let mut rig = rig().await;
    let mut first = rig.writer().await;
    let mut second = rig.connect(&["--force"]);
    second.shows("connected to switch").await;
    first.shows("admin is typing now, you are watching").await;
    first.keys("lost");
    first.shows("you are watching: what you type is not sent").await;
    second.keys("x");
    assert_eq!(rig.guest.typed(1).await, b"x");
    rig.guest.print(b"to both\r\n").await;
    first.shows("to both").await;
    second.shows("to both").await;
    first.keys("\r~.");
    assert_eq!(first.ended().await.code(), Some(0));
    second.keys("y");
    assert_eq!(rig.guest.typed(1).await, b"y");
}

#[tokio::test]
async fn a_session_of_one_s_own_that_lost_its_connection_is_taken_back_at_once() {
    let mut rig = rig().await;
    rig.writer().await.signal(Signal::KILL);
    eventually(async || {
        let line = rig.server.line(&rig.port.server(), 0).await;
        line["writer"]["free_in"].is_u64().then_some(())
    })
    .await;
    let mut refused = rig.connect(&[]);
    refused.shows("(lost the connection, free in ").await;
    refused.shows("That is your own session: --ask takes over from it at once").await;
    assert_eq!(refused.ended().await.code(), Some(4));
    let listed = rig.server.client(&["sessions"]).await;
    assert!(stdout(&listed).contains("lost, ends in "), "{}", stdout(&listed));
    let mut back = rig.connect(&["--ask"]);
    back.shows("you are typing now").await;
    back.keys("x");
    assert_eq!(rig.guest.typed(1).await, b"x");
}

#[tokio::test]
async fn what_the_terminal_answers_at_a_prompt_leaves_the_escapes_where_they_were() {
    let mut rig = rig().await;
    let mut terminal = rig.writer().await;
    terminal.keys("\r");
    rig.guest.print(b"\r\n/ # \x1b[6n").await;
    terminal.shows("/ # \x1b[6n").await;
    terminal.keys("\x1b[5;5R~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    assert_eq!(rig.guest.typed(7).await, b"\r\x1b[5;5R");
}

#[tokio::test]
async fn what_the_guest_set_of_the_terminal_is_set_back_when_the_client_leaves() {
    let mut rig = rig().await;
    for program in ["", "\x1b[?1049h"] {
        let mut terminal = rig.writer().await;
        let modes = "\x1b[?7l\x1b[5;10r\x1b[?6h\x1b[4h\x1b[?5h\x1b)0\x0e\x1b[?1h\x1b=\x1b[?1003;1006;1004;2004h\
                     \x1b[?25l\x1b[5 q\x1b[31;7;1m\x1b[3;3H";
        rig.guest.print(format!("{program}{modes}set").as_bytes()).await;
        terminal.shows("set").await;
        terminal.keys("\r~.");
        assert_eq!(terminal.ended().await.code(), Some(0));
        terminal.shows("\x1b[23;0t").await;
        tell("terminal.mjs", serde_json::json!({ "shown": terminal.shown() })).await;
        assert_eq!(rig.guest.typed(1).await, b"\r");
        rig.guest.print(b"\x1bc").await;
        rig.server.client(&["disconnect", "switch"]).await;
    }
}

#[tokio::test]
async fn who_is_disconnected_reads_by_whom_and_why_and_has_exit_code_1() {
    let rig = rig().await;
    let mut terminal = rig.writer().await;
    let by = rig.server.client(&["disconnect", "switch", "--reason", "maintenance"]).await;
    assert_eq!(by.status.code(), Some(0), "{}", stderr(&by));
    assert!(
        stdout(&by).starts_with("disconnected admin, who was typing since 20"),
        "{}",
        stdout(&by)
    );
    terminal.shows("disconnected by admin: maintenance").await;
    assert_eq!(terminal.ended().await.code(), Some(1));

    let mut terminal = rig.writer().await;
    let listed = rig.server.client(&["sessions", "-f", "json"]).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let id = listed["sessions"][0]["id"].as_str().unwrap();
    let by = rig.server.client(&["disconnect", "--session", id]).await;
    assert_eq!(by.status.code(), Some(0), "{}", stderr(&by));
    terminal.shows("disconnected by admin").await;
    assert_eq!(terminal.ended().await.code(), Some(1));
}

#[tokio::test]
async fn a_client_that_is_told_to_end_gives_the_terminal_back() {
    let rig = rig().await;
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")] {
        let mut terminal = rig.writer().await;
        terminal.signal(signal);
        terminal.shows(&format!("ended by {name}")).await;
        assert_eq!(terminal.ended().await.code(), Some(1));
    }
}

#[tokio::test]
async fn a_program_that_stops_or_dies_and_starts_again_is_come_back_to() {
    let Rig { mut server, port, mut guest } = rig().await;
    let mut terminal = Terminal::run(server.command(&["connect", "switch"]));
    terminal.shows("connected to switch").await;
    for (signal, words) in [
        (Signal::TERM, "the proxy is shutting down; reconnecting"),
        (Signal::KILL, "connection lost"),
    ] {
        server.signal(signal);
        server = server.restart().await;
        guest = {
            drop(guest);
            port.accept().await
        };
        terminal.shows(words).await;
        terminal.shows("connected to switch").await;
        guest.print(b"here again\r\n").await;
        terminal.shows("here again\r\n").await;
        terminal.keys("x");
        assert_eq!(guest.typed(1).await, b"x");
    }
    terminal.keys("\r~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_network_that_breaks_is_survived_with_every_key_once_and_every_byte() {
    let (near, port) = (address::free_port(), Port::new("switch").await);
    let mut own = address::fixed();
    let proxy: u16 = own[3].parse().unwrap();
    own[5] = format!("http://127.0.0.1:{near}/serial.html");
    own.extend(port.flag());
    let server = Server::start(&own.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut guest = port.accept().await;
    let network = Network::new(near, proxy).await;
    let mut terminal = Terminal::run(server.command(&["connect", "switch"]));
    terminal.shows("connected to switch").await;
    let session = server.line(&port.server(), 0).await["writer"]["session"].clone();
    for round in 0..5u8 {
        let key = [b'a' + round; 3];
        terminal.keys(std::str::from_utf8(&key).unwrap());
        assert_eq!(guest.typed(3).await, key);
        network.cut();
        terminal.shows("connection lost").await;
        guest.print(format!("missed {round}\r\n").as_bytes()).await;
        terminal.shows("reconnected to switch, port 0: the session continues").await;
        terminal.shows(&format!("missed {round}\r\n")).await;
    }
    let line = server.line(&port.server(), 0).await;
    assert_eq!(line["writer"]["session"], session);
    terminal.keys("\r~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    assert_eq!(guest.typed(1).await, b"\r");
    eventually(async || server.line(&port.server(), 0).await["writer"].is_null().then_some(()))
        .await;
}

#[tokio::test]
async fn the_console_is_asked_for_kept_and_given_and_each_sees_who_is_there() {
    let mut rig = rig().await;
    let mut first = rig.writer().await;
    let mut second = rig.connect(&["--ask", "--reason", "my turn"]);
    second.shows("watching switch").await;
    first
        .shows(
            "admin asks to type: ~g allows it, ~d refuses; without an answer admin can type \
             in 15 s: my turn",
        )
        .await;
    second.shows("admin was asked").await;
    first.keys("~d");
    first.shows("refused: you are still typing").await;
    second.shows("admin is typing: denied").await;
    first.keys("~w");
    first.shows("attached: admin (typing, you), admin (watching)").await;
    second.keys("~p");
    first.shows("admin asks to type").await;
    first.keys("~g");
    first.shows("admin is typing now, you are watching").await;
    second.shows("you are typing now").await;
    first.keys("x");
    first.shows("what you type is not sent").await;
    second.keys("y");
    assert_eq!(rig.guest.typed(1).await, b"y");
    first.keys("\r~fy");
    second.shows("admin is typing now, you are watching").await;
    first.shows("you are typing now").await;
    first.keys("z");
    assert_eq!(rig.guest.typed(1).await, b"z");
    first.keys("\r~p");
    first.shows("you stopped typing").await;
    second.shows("nobody is typing now").await;
    assert_eq!(rig.guest.typed(1).await, b"\r");
}

#[tokio::test]
async fn a_paste_arrives_whole_and_ctrl_c_overtakes_what_is_left_of_one() {
    let mut rig = rig().await;
    let mut terminal = rig.writer().await;
    let paste: String = (0..1000).map(|line| format!("line {line} of a paste\r")).collect();
    terminal.keys(&paste);
    assert!(rig.guest.typed(paste.len()).await == paste.as_bytes());
    terminal.shows("pasted all 19 890 bytes").await;
    terminal.keys(&paste);
    rig.guest.typed(1000).await;
    terminal.keys("\x03");
    terminal.shows("paste stopped").await;
    let mut rest = 0;
    while rig.guest.typed(1).await != b"\x03" {
        rest += 1;
    }
    assert!(rest < 10_000, "{rest}");
    terminal.keys("\r~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    assert_eq!(rig.guest.typed(1).await, b"\r");
}

#[tokio::test]
async fn a_file_goes_through_a_pipe_byte_by_byte() {
    let mut rig = rig().await;
    let file: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let mut pipe = rig
        .server
        .command(&["connect", "switch", "--no-pace"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, whole) = (pipe.stdin.take().unwrap(), file.clone());
    let writing = tokio::spawn(async move { stdin.write_all(&whole).await });
    assert!(rig.guest.typed(file.len()).await == file);
    writing.await.unwrap().unwrap();
    let output = within(pipe.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[tokio::test]
async fn a_log_is_all_that_was_printed_and_follows_over_a_restart() {
    let Rig { mut server, port, mut guest } = rig().await;
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
    let rig = rig().await;
    let run = async |arguments: &[&str]| {
        let output = rig.server.client(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    let servers = run(&["servers"]).await;
    assert!(servers.contains("switch") && servers.contains("ACTIVE"), "{servers}");
    let url = run(&["get-serial-console", "switch", "serial", "-f", "json"]).await;
    let url: serde_json::Value = serde_json::from_str(&url).unwrap();
    assert_eq!(url["type"], "serial");
    let token = url["url"].as_str().unwrap().split_once("token=").unwrap().1;
    let mut socket = Socket::v1(&rig.server.proxy, token, "").await;
    socket.message("hello").await;
    let sessions = run(&["sessions"]).await;
    for word in ["switch", "admin", "write", "console.v1", "live"] {
        assert!(sessions.contains(word), "{sessions}");
    }
    let sessions: serde_json::Value =
        serde_json::from_str(&run(&["sessions", "-f", "json"]).await).unwrap();
    assert_eq!(sessions["sessions"][0]["user"], "admin");
}

#[tokio::test]
async fn exit_codes_tell_what_went_wrong() {
    let rig = rig().await;
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
async fn completions_are_there_for_three_shells_and_bash_understands_them() {
    for shell in ["bash", "zsh", "fish"] {
        let run = Command::new(program()).args(["completions", shell]).output();
        let output = within(run).await.unwrap();
        assert!(output.status.success());
        for command in ["get-serial-console", "log", "break", "sysrq", "nmi", "reset", "adopt"] {
            assert!(stdout(&output).contains(command), "{shell}: {command}");
        }
        if shell == "bash" {
            let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            bash.stdin.take().unwrap().write_all(&output.stdout).await.unwrap();
            assert!(within(bash.wait()).await.unwrap().success());
        }
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

/// A host whose console URLs lead to its own proxy.
async fn host() -> Host {
    let own = address::fixed();
    Host::start(&own.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Runs a command that has to succeed.
async fn run(host: &Host, arguments: &[&str]) -> String {
    let output = host.server.client(arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

#[tokio::test]
async fn a_guest_is_booted_stopped_started_rebooted_and_deleted_by_commands() {
    let host = host().await;
    let name = format!("t-client-{}", std::process::id());
    let boot = ["boot", &name, "--image", "demo", "--property", "serial_ports=1", "-f", "json"];
    let booted: serde_json::Value = serde_json::from_str(&run(&host, &boot).await).unwrap();
    let id = booted["server"]["id"].as_str().unwrap().to_owned();
    let guest = Guest { name: name.clone(), id };
    assert_eq!(booted["server"]["name"], name);
    host.status(&guest, "ACTIVE").await;

    run(&host, &["stop", &name, "--force"]).await;
    host.status(&guest, "SHUTOFF").await;
    // A console of a server that is off is waited for.
    let mut terminal = Terminal::run(host.server.command(&["connect", &name]));
    terminal.shows("the server is SHUTOFF: waiting; to start it: serialproxy start").await;
    run(&host, &["start", &name]).await;
    terminal.shows("the guest is connected").await;
    terminal.shows("Linux version").await;
    // Before it runs a shell the guest does not hear that it is asked to reboot.
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

#[tokio::test]
async fn a_real_guest_s_shell_is_used_from_a_terminal_and_from_a_pipe() {
    let host = host().await;
    let guest = host.boot(1).await;
    host.shell(&guest, 0).await.0.leave().await;
    let free = async || {
        eventually(async || {
            let line = host.server.line(&guest.id, 0).await;
            line["writer"].is_null().then_some(())
        })
        .await;
    };
    free().await;
    let mut terminal = Terminal::run(host.server.command(&["connect", &guest.name]));
    terminal.shows(&format!("connected to {}", guest.name)).await;
    terminal.keys("uname -a\r");
    terminal.shows("uname -a\r\nLinux ").await;
    terminal.keys("~?");
    terminal.shows("~?  show this list").await;
    terminal.keys("~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    free().await;

    let mut pipe = host
        .server
        .command(&["connect", &guest.id])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    pipe.stdin.take().unwrap().write_all(b"uname\n").await.unwrap();
    let output = within(pipe.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("uname\r\nLinux\r\n"), "{}", stdout(&output));
}
