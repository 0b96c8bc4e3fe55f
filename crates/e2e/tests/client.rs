//! `connect` as people run it, in a pseudo-terminal and in a pipe, against the real program.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::process::Stdio;

use rustix::process::Signal;
use serialproxy_e2e::address;
use serialproxy_e2e::eventually;
use serialproxy_e2e::guest::Host;
use serialproxy_e2e::network::Network;
use serialproxy_e2e::page::tell;
use serialproxy_e2e::port::Port;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::server::Server;
use serialproxy_e2e::stderr;
use serialproxy_e2e::stdout;
use serialproxy_e2e::terminal::Terminal;
use serialproxy_e2e::within;
use tokio::io::AsyncWriteExt;

fn connect(rig: &Rig, more: &[&str]) -> Terminal {
    Terminal::run(rig.server.command(&[&["connect", "switch"], more].concat()))
}

/// A terminal that writes to the port.
async fn writer(rig: &Rig) -> Terminal {
    let mut terminal = connect(rig, &[]);
    terminal.shows("connected to switch, port 0, as admin. ~. leaves").await;
    assert!(terminal.is_raw());
    terminal
}

#[tokio::test]
async fn what_is_typed_reaches_the_port_and_what_it_prints_is_shown() {
    let mut rig = Rig::fixed().await;
    let mut terminal = writer(&rig).await;
    terminal.keys("ls\r\x03");
    assert_eq!(rig.guest.typed(4).await, b"ls\r\x03");
    rig.guest.print("ünï\r\n".as_bytes()).await;
    terminal.shows("ünï\r\n").await;
    terminal.keys("\r~?");
    terminal.shows("  .  leave this console").await;
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
async fn a_busy_console_is_watched_at_once_and_used_here_if_it_is_open_in_another_window() {
    let mut rig = Rig::fixed().await;
    let mut first = writer(&rig).await;
    let mut second = connect(&rig, &[]);
    second.shows("watching switch, port 0").await;
    second
        .shows("You have this console open in another window. You are watching: ~p uses it here")
        .await;
    rig.guest.print(b"to both\r\n").await;
    second.shows("to both\r\n").await;
    second.keys("id\r");
    second.shows("what you type is not sent. ~p uses it here, ~. or Ctrl-C leaves").await;
    second.keys("~p");
    second.shows("you are typing now").await;
    first.shows("you are typing in another window now. You are watching").await;
    second.keys("x");
    assert_eq!(rig.guest.typed(1).await, b"x");
    second.keys("\r~.");
    assert_eq!(second.ended().await.code(), Some(0));
    first.shows("Nobody is typing. ~p lets you type").await;
    first.keys("~p");
    first.shows("you are typing now").await;
    first.keys("y");
    assert_eq!(rig.guest.typed(2).await, b"\ry");
}

#[tokio::test]
async fn who_has_to_type_gets_exit_code_4_at_a_busy_console_and_an_untouched_tty() {
    let rig = Rig::fixed().await;
    let _first = writer(&rig).await;
    let mut second = connect(&rig, &["--type"]);
    second.shows("busy: admin since 20").await;
    second.shows("--force to take over").await;
    assert_eq!(second.ended().await.code(), Some(4));
    let piped = rig.server.client(&["connect", "switch"]).await;
    assert_eq!(piped.status.code(), Some(4), "{}", stderr(&piped));
}

#[tokio::test]
async fn a_watcher_sees_all_and_types_nothing() {
    let mut rig = Rig::fixed().await;
    let mut writer = writer(&rig).await;
    let mut watcher = connect(&rig, &["--watch"]);
    watcher.shows("watching switch, port 0").await;
    watcher.keys("reboot\r");
    watcher.shows("what you type is not sent").await;
    writer.keys("x");
    assert_eq!(rig.guest.typed(1).await, b"x");
    // Also a query: a watcher's terminal gets none.
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
    let mut rig = Rig::fixed().await;
    let mut first = writer(&rig).await;
    let mut second = connect(&rig, &["--force"]);
    second.shows("connected to switch").await;
    first.shows("admin is typing now. You are watching").await;
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
    let mut rig = Rig::fixed().await;
    writer(&rig).await.signal(Signal::KILL);
    eventually(async || {
        let line = rig.server.line(&rig.port.server(), 0).await;
        line["writer"]["free_in"].is_u64().then_some(())
    })
    .await;
    let mut refused = connect(&rig, &["--type"]);
    refused.shows("(lost the connection, free in ").await;
    refused.shows("That is your own session: --ask takes over from it at once").await;
    assert_eq!(refused.ended().await.code(), Some(4));
    let listed = rig.server.client(&["sessions"]).await;
    assert!(stdout(&listed).contains("lost, ends in "), "{}", stdout(&listed));
    let mut back = connect(&rig, &[]);
    back.shows("You have this console open in another window, last seen ").await;
    back.keys("~p");
    back.shows("you are typing now").await;
    back.keys("x");
    assert_eq!(rig.guest.typed(1).await, b"x");
}

#[tokio::test]
async fn what_the_terminal_answers_at_a_prompt_leaves_the_escapes_where_they_were() {
    let mut rig = Rig::fixed().await;
    let mut terminal = writer(&rig).await;
    terminal.keys("\r");
    rig.guest.print(b"\r\n/ # \x1b[6n").await;
    terminal.shows("/ # \x1b[6n").await;
    terminal.keys("\x1b[5;5R~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    assert_eq!(rig.guest.typed(7).await, b"\r\x1b[5;5R");
}

#[tokio::test]
async fn what_the_guest_set_of_the_terminal_is_set_back_when_the_client_leaves() {
    let mut rig = Rig::fixed().await;
    for program in ["", "\x1b[?1049h"] {
        let mut terminal = writer(&rig).await;
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
    let rig = Rig::fixed().await;
    let mut terminal = writer(&rig).await;
    let by = rig.server.client(&["disconnect", "switch", "--reason", "maintenance"]).await;
    assert_eq!(by.status.code(), Some(0), "{}", stderr(&by));
    assert!(
        stdout(&by).starts_with("disconnected admin, who was typing since 20"),
        "{}",
        stdout(&by)
    );
    terminal.shows("disconnected by admin: maintenance").await;
    assert_eq!(terminal.ended().await.code(), Some(1));

    let mut terminal = writer(&rig).await;
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
    let rig = Rig::fixed().await;
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")] {
        let mut terminal = writer(&rig).await;
        terminal.signal(signal);
        terminal.shows(&format!("ended by {name}")).await;
        assert_eq!(terminal.ended().await.code(), Some(1));
    }
}

#[tokio::test]
async fn a_program_that_stops_or_dies_and_starts_again_is_come_back_to() {
    let Rig { mut server, port, mut guest, .. } = Rig::fixed().await;
    let mut terminal = Terminal::run(server.command(&["connect", "switch"]));
    terminal.shows("connected to switch").await;
    for (signal, words) in [
        (Signal::TERM, "the proxy is shutting down; reconnecting"),
        (Signal::KILL, "connection lost"),
    ] {
        // The stored key outlives the program.
        eventually(async || server.log().contains("sessions are kept").then_some(())).await;
        server.signal(signal);
        server = server.restart().await;
        guest = {
            drop(guest);
            port.accept().await
        };
        terminal.shows(words).await;
        terminal.shows("reconnected to switch, port 0: the session continues").await;
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
    let mut rig = Rig::fixed().await;
    let mut first = writer(&rig).await;
    let mut second = connect(&rig, &["--ask", "--reason", "my turn"]);
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
    second.shows("admin keeps typing: denied").await;
    first.keys("~w");
    first.shows("attached: admin (typing, you), admin (watching)").await;
    second.keys("~.");
    assert_eq!(second.ended().await.code(), Some(0));
    let mut second = connect(&rig, &["--ask"]);
    first.shows("admin asks to type").await;
    first.keys("~g");
    first.shows("admin is typing now: granted. You are watching").await;
    second.shows("you are typing now").await;
    first.keys("x");
    first.shows("what you type is not sent").await;
    second.keys("y");
    assert_eq!(rig.guest.typed(1).await, b"y");
    first.keys("\r~fy");
    second.shows("admin is typing now. You are watching").await;
    first.shows("you are typing now").await;
    first.keys("z");
    assert_eq!(rig.guest.typed(1).await, b"z");
    first.keys("\r~p");
    first.shows("you stopped typing").await;
    second.shows("Nobody is typing. ~p lets you type").await;
    assert_eq!(rig.guest.typed(1).await, b"\r");
}

#[tokio::test]
async fn a_paste_arrives_whole_and_ctrl_c_overtakes_what_is_left_of_one() {
    let mut rig = Rig::fixed().await;
    let mut terminal = writer(&rig).await;
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
    assert!(1000 + rest < paste.len(), "{rest}");
    terminal.keys("\r~.");
    assert_eq!(terminal.ended().await.code(), Some(0));
    assert_eq!(rig.guest.typed(1).await, b"\r");
}

#[tokio::test]
async fn a_file_goes_through_a_pipe_byte_by_byte() {
    let mut rig = Rig::fixed().await;
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
async fn a_real_guest_s_shell_is_used_from_a_terminal_and_from_a_pipe() {
    let host = Host::fixed().await;
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
    terminal.shows("  S  send a magic SysRq").await;
    terminal.keys("s");
    terminal.shows("you are typing (since ").await;
    terminal.shows(" ms; boot 1; ").await;
    terminal.shows(&format!("/console/{}/0", guest.name)).await;
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
