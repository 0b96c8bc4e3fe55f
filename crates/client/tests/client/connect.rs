//! `connect`, in a terminal and in a pipe.

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::json;
use serialproxy_proto::bounds::FRAME;
use tokio::net::TcpListener;
use tokio_websockets::ServerBuilder;

use crate::console::BOB;
use crate::console::BUSY;
use crate::console::Console;
use crate::console::ID;
use crate::console::LINE;
use crate::console::NEW_LINE;
use crate::console::beside;
use crate::support::Api;
use crate::support::Terminal;
use crate::support::client;
use crate::support::run;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_types_and_reads_and_leaves_a_terminal_that_is_as_before() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.welcome().await;
    terminal.wait_for("serialproxy: connected to demo, port 0, as alice");
    assert!(terminal.is_raw());
    peer.print(b"login: ").await;
    terminal.wait_for("login: ");
    terminal.keys("root\r\x03");
    assert_eq!(peer.input(6).await, "root\r\x03");
    terminal.keys("\r~?");
    terminal.wait_for("  .  leave this console");
    terminal.keys("~");
    terminal.keys(".");
    let (code, _) = terminal.end();
    assert_eq!(code, 0);
    assert_eq!(peer.rest().await, b"\r");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_before_leaving_is_sent() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let peer = console.welcome().await;
    terminal.wait_for("connected to demo");
    terminal.keys("exit\r~.");
    assert_eq!(peer.rest().await, b"exit\r");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_in_good_order() {
    for (signal, name) in
        [(Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP"), (Signal::INT, "SIGINT")]
    {
        let console = Console::start().await;
        let mut terminal = Terminal::run(console.client(&[]));
        let peer = console.welcome().await;
        terminal.wait_for("connected to demo");
        terminal.kill(signal);
        let rest = tokio::spawn(peer.rest());
        let (code, screen) = terminal.end();
        assert_eq!(code, 1);
        assert!(screen.contains(&format!("serialproxy: ended by {name}")), "{screen}");
        assert_eq!(rest.await.unwrap(), b"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_type_gets_exit_code_4_and_the_holders_name_at_a_busy_console() {
    let console = Console::start().await;
    let terminal = Terminal::run(console.client(&["--type"]));
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), "token=t");
    peer.tell(json!({"type": "pen", "state": "held", "holder": "bob"})).await;
    peer.close(4004, BUSY).await;
    let (code, screen) = terminal.end();
    assert_eq!(code, 4);
    assert!(screen.contains("serialproxy: busy: bob since 2026-11-22T09:00:00Z"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_forced_off_learns_why() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let peer = console.welcome().await;
    terminal.wait_for("connected to demo");
    peer.close(4006, "disconnected by carol: maintenance\x1b[2J").await;
    let (code, screen) = terminal.end();
    assert_eq!(code, 1);
    let text = r"serialproxy: disconnected by carol: maintenance\u{1b}[2J";
    assert!(screen.contains(text), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn force_takes_the_pen_of_a_busy_console_before_anything_is_typed() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--force", "--reason", "fire"]));
    console.accept().await.close(4004, BUSY).await;
    let mut peer = console.welcome().await;
    assert_eq!(peer.query(), "token=t&mode=watch");
    peer.pen("held", BOB, "bob").await;
    assert_eq!(peer.control().await, json!({"type": "pen", "do": "force", "reason": "fire"}));
    terminal.wait_for("connected to demo");
    peer.tell(json!({"type": "viewers", "count": 2})).await;
    terminal.keys("id\r");
    assert_eq!(peer.input(3).await, "id\r");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_take_over_is_told_so() {
    let console = Console::start().await;
    let terminal = Terminal::run(console.client(&["--force"]));
    console.accept().await.close(4004, BUSY).await;
    let mut peer = console.accept().await;
    peer.hello_with(json!({"can": ["write"]})).await;
    assert_eq!(peer.rest().await, b"");
    let (code, screen) = terminal.end();
    assert_eq!(code, 4);
    assert!(screen.contains(BUSY) && screen.contains("alice may not take over"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sends_nothing_and_its_terminal_is_asked_nothing() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--watch", "--port", "1"]));
    let mut peer = console.welcome().await;
    assert_eq!(peer.query(), "token=t&mode=watch");
    terminal.wait_for("watching demo");
    peer.print(b"a\x1b[6").await;
    peer.print(b"nb").await;
    terminal.wait_for("ab");
    terminal.keys("reboot\r");
    terminal.wait_for("you are watching");
    terminal.keys("\x03");
    assert_eq!(peer.rest().await, b"");
    assert_eq!(terminal.end().0, 0);
    let path = format!("POST /v3/servers/{ID}/get-serial-console?port=1&mode=watch&wait=1");
    assert_eq!(console.api.lines(), [path]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_pen_is_told_by_whom_and_types_no_more() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.welcome().await;
    terminal.wait_for("connected to demo");
    peer.tell(json!({"type": "pen", "state": "lost", "by": "bob", "reason": "my turn"})).await;
    terminal.wait_for("bob is typing now: my turn. You are watching: ~p asks to type");
    terminal.keys("rm -rf /\r~.");
    assert_eq!(peer.rest().await, b"");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_live_queries_reach_the_terminal() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.welcome().await;
    peer.tell(json!({"type": "replay", "kind": "screen", "bytes": 8, "offset": 0})).await;
    peer.print(b"ab\x1b[6ncd\x1b[5nef").await;
    terminal.wait_for("abcd\x1b[5nef");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_first_stays_to_be_seen_below_the_screen_that_is_painted() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--watch"]));
    let mut peer = console.welcome().await;
    peer.pen("held", BOB, "bob").await;
    peer.tell(json!({"type": "replay", "kind": "screen", "bytes": 10, "offset": 0})).await;
    peer.print(b"old\r\n").await;
    peer.print(b"login").await;
    terminal.wait_for("old\r\nlogin\r\nserialproxy: watching demo");
    terminal.wait_for("serialproxy: bob is typing");
    peer.print(b": ").await;
    terminal.wait_for(": ");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greeting_stays_below_a_long_history_that_arrives_in_pieces() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--from", "start"]));
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), "token=t&mode=auto&from=start");
    peer.hello_with(json!({"offset": 0})).await;
    let history = json!({"type": "replay", "kind": "history", "bytes": 20, "offset": 20});
    peer.tell(history).await;
    for piece in ["first\r\n", "second\r\n", "third"] {
        peer.print(piece.as_bytes()).await;
        terminal.wait_for(piece);
    }
    terminal.wait_for("\r\nserialproxy: connected to demo, port 0");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_types_while_no_guest_is_connected_is_told_that_it_is_dropped() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.accept().await;
    peer.hello_with(json!({"state": "waiting", "reason": "the server is SHUTOFF"})).await;
    terminal.wait_for("to start it");
    // The answer of a terminal is not typing.
    terminal.keys("\x1b[5;10R");
    assert_eq!(peer.input(7).await, "\x1b[5;10R");
    peer.print(b"mark").await;
    assert!(!terminal.until("mark").contains("dropped"));
    terminal.keys("root\r");
    terminal.wait_for("what you type now is dropped: no guest is connected");
    peer.tell(json!({"type": "state", "state": "connected", "reason": ""})).await;
    terminal.wait_for("the guest is connected");
    terminal.keys("~.");
    peer.rest().await;
    let (code, screen) = terminal.end();
    assert_eq!(code, 0);
    assert!(!screen.contains("dropped"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guests_state_and_what_is_missing_is_said() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.welcome().await;
    for (reason, notice) in [
        (
            "the server is SHUTOFF",
            "the server is off: waiting; to start it: serialproxy start demo",
        ),
        ("connecting", "waiting for the guest: connecting"),
    ] {
        peer.tell(json!({"type": "state", "state": "waiting", "reason": reason})).await;
        terminal.wait_for(&format!("serialproxy: {notice}\r\n"));
    }
    peer.tell(json!({"type": "epoch", "epoch": 2, "offset": 0})).await;
    terminal.wait_for("the guest was started again");
    peer.tell(json!({"type": "gap", "from": 10, "to": 42})).await;
    terminal.wait_for("32 bytes of output are missing here");
    peer.tell(json!({"type": "news of a later version"})).await;
    peer.close(1000, "Target closed").await;
    let (code, screen) = terminal.end();
    assert_eq!(code, 0);
    assert!(screen.contains("the console ended: Target closed"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_comes_back_and_what_was_typed_meanwhile_is_dropped() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.welcome().await;
    peer.print(b"0123456789").await;
    terminal.wait_for("0123456789");
    drop(peer);
    terminal.wait_for("connection lost");
    terminal.wait_for("what you type until then is dropped");
    terminal.keys("ls\r");
    drop(console.accept().await);
    terminal.wait_for("retrying in 0.6 s");
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), format!("token=t&mode=auto&from=10&line={LINE}"));
    peer.hello(LINE, 10).await;
    terminal.wait_for("connected to demo");
    peer.print(b"ABC").await;
    terminal.wait_for("ABC");
    terminal.keys("\rid\r");
    assert_eq!(peer.input(4).await, "\rid\r");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
    assert_eq!(console.api.lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_drains_is_left_at_once_and_an_expired_token_is_replaced() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--force"]));
    let peer = console.welcome().await;
    terminal.wait_for("connected to demo");
    peer.close(4012, "draining").await;
    let peer = console.accept().await;
    peer.close(4001, "token missing, unknown or expired").await;
    let peer = console.welcome().await;
    terminal.wait_for("connected to demo");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
    assert_eq!(console.api.lines().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_began_anew_is_shown_from_its_beginning() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--force"]));
    let mut peer = console.welcome().await;
    peer.print(b"0123456789").await;
    terminal.wait_for("0123456789");
    drop(peer);
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), format!("token=t&mode=auto&from=10&line={LINE}"));
    peer.hello(NEW_LINE, 0).await;
    terminal.wait_for("the server started a new history");
    peer.print(b"ABC").await;
    terminal.wait_for("ABC");
    peer.close(4012, "draining").await;
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), format!("token=t&mode=auto&from=3&line={NEW_LINE}"));
    peer.hello_with(json!({"mode": "watch", "line": NEW_LINE})).await;
    peer.pen("held", BOB, "bob").await;
    terminal.wait_for("bob is typing. You are watching");
    terminal.keys("~.");
    assert_eq!(peer.rest().await, b"", "force is for the first time only");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_pen_comes_back_as_a_watcher() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.welcome().await;
    peer.tell(json!({"type": "pen", "state": "lost", "by": "bob"})).await;
    peer.close(4012, "draining").await;
    let peer = console.welcome().await;
    assert_eq!(peer.query(), format!("token=t&mode=watch&from=0&line={LINE}"));
    terminal.wait_for("watching demo");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_works_while_the_connection_is_away() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    drop(console.welcome().await);
    drop(console.listener);
    terminal.wait_for("connection lost");
    terminal.keys("~.");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_sent_once_the_guest_runs_and_its_answer_is_printed() {
    let console = Console::start().await;
    let command = console.client(&[]);
    let ended = tokio::spawn(beside(|| run(command, b"~.uname\n")));
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), "token=t&from=live", "the screen from before is no answer");
    peer.hello_with(json!({"state": "waiting", "reason": "the server is SHUTOFF"})).await;
    peer.print(b"booting\r\n").await;
    peer.tell(json!({"type": "state", "state": "connected", "reason": ""})).await;
    assert_eq!(peer.input(8).await, "~.uname\n");
    peer.print(b"Linux\r\n\x1b[6n").await;
    peer.acknowledge(8).await;
    assert_eq!(peer.rest().await, b"");
    let ended = ended.await.unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.text(), "booting\r\nLinux\r\n\x1b[6n");
    assert!(ended.stderr.starts_with("serialproxy: connected to demo, port 0, as alice\n"));
    assert!(ended.stderr.contains("the server is off: waiting; to start it"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_arrives_whole_and_is_acknowledged_as_it_is_written() {
    let console = Console::start().await;
    let command = console.client(&["--watch"]);
    let ended = tokio::spawn(beside(|| run(command, b"")));
    let mut peer = console.welcome().await;
    let (total, window) = (8 << 20, 512 << 10);
    let (mut sent, mut acknowledged) = (0u64, 0u64);
    while acknowledged + window < total {
        while sent < total && sent - acknowledged < window {
            peer.print(&[b'x'; 16 << 10]).await;
            sent += 16 << 10;
        }
        let ack = peer.control().await;
        assert_eq!(ack["type"], "ack");
        assert!(ack["offset"].as_u64().unwrap() > acknowledged);
        acknowledged = ack["offset"].as_u64().unwrap();
        assert!(acknowledged <= sent);
    }
    while sent < total {
        peer.print(&[b'x'; 16 << 10]).await;
        sent += 16 << 10;
    }
    peer.close(1000, "").await;
    let ended = ended.await.unwrap();
    assert_eq!((ended.code, ended.stdout.len() as u64), (0, total));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_frame_that_a_proxy_sends_is_shown() {
    let console = Console::start().await;
    let command = console.client(&["--watch"]);
    let ended = tokio::spawn(beside(|| run(command, b"")));
    let mut peer = console.welcome().await;
    peer.print(&[b'x'; FRAME]).await;
    peer.close(1000, "").await;
    let ended = ended.await.unwrap();
    assert_eq!((ended.code, ended.text().len()), (0, FRAME));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_speaks_only_raw_is_recognized() {
    let console = Console::start().await;
    let command = console.client(&[]);
    let ended = tokio::spawn(beside(|| run(command, b"")));
    let (socket, _) = console.listener.accept().await.unwrap();
    let (_, stream) = ServerBuilder::new().accept(socket).await.unwrap();
    let ended = ended.await.unwrap();
    drop(stream);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("does not speak console.v1"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_there_is_named_without_the_token() {
    let free: SocketAddr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("ws://{free}/?token=5ecret");
    let api = Api::start(move |_| (202, json!({"serial_console": {"url": url}}).to_string()));
    let command = client(api.address, &["connect", ID]);
    let ended = beside(|| run(command, b"")).await;
    assert_eq!(ended.code, 1);
    let text = format!("cannot reach the console at ws://{free}: Connection refused");
    assert!(ended.stderr.contains(&text), "{ended:?}");
    assert!(!ended.stderr.contains("5ecret"));
}
