//! Escapes that speak to the console: the pen, breaks, SysRq, the terminal's size.

use serde_json::Value;
use serde_json::json;

use crate::console::BOB;
use crate::console::BUSY;
use crate::console::Console;
use crate::console::ME;
use crate::console::Peer;
use crate::support::Terminal;

async fn writer(console: &Console) -> (Terminal, Peer) {
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.welcome().await;
    peer.pen("held", ME, "alice").await;
    terminal.wait_for("connected to demo");
    (terminal, peer)
}

async fn leave(mut terminal: Terminal, peer: Peer) {
    terminal.keys("\r~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

fn pen_do(action: &str) -> Value {
    json!({"type": "pen", "do": action, "reason": null})
}

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_of_one_user_are_told_apart_by_their_session() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console).await;
    peer.pen("held", BOB, "alice").await;
    terminal.wait_for("alice is typing now. You are watching: ~p asks to type, ~f takes over");
    terminal.keys("lost");
    terminal.wait_for("you are watching: what you type is not sent");
    terminal.keys("\r~p");
    terminal.wait_for("~p asks to type");
    assert_eq!(peer.control().await, pen_do("request"));
    let ask = json!({"type": "pen", "state": "requested", "session": ME, "by": "alice",
        "holder": "alice", "seconds": 20});
    peer.tell(ask).await;
    terminal.wait_for("alice was asked; without an answer you can type in 20 s");
    peer.pen("held", ME, "alice").await;
    terminal.wait_for("you are typing now");
    terminal.keys("id");
    assert_eq!(peer.input(2).await, "id");
    leave(terminal, peer).await;
}

/// A client that finds a busy console, on whose clock it is 11 in the morning at 9 UTC.
async fn watcher(console: &Console, pen: Value) -> (Terminal, Peer) {
    let mut command = console.client(&[]);
    let mut terminal = Terminal::run({
        command.env("TZ", "<+02>-2");
        command
    });
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), "token=t&mode=auto");
    peer.hello_with(json!({"mode": "watch"})).await;
    let mut message = json!({"type": "pen", "state": "held", "session": BOB});
    message.as_object_mut().unwrap().extend(pen.as_object().unwrap().clone());
    peer.tell(message).await;
    terminal.wait_for("watching demo, port 0. ~. or Ctrl-C leaves");
    (terminal, peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_console_is_watched_with_who_types_since_when_and_what_to_do() {
    let console = Console::start().await;
    let pen = json!({"holder": "bob", "since": "2020-11-22T09:04:00Z"});
    let (mut terminal, mut peer) = watcher(&console, pen).await;
    terminal.wait_for(
        "serialproxy: bob is typing (since 22 Nov 11:04). You are watching: ~p asks to type, \
             ~f takes over\r\n",
    );
    for key in ["r", "e", "b", "o", "o", "t"] {
        terminal.keys(key);
    }
    terminal.keys("\r~w");
    let shown = terminal.until("attached: ");
    let told = "you are watching: what you type is not sent. ~p asks to type, ~f takes over, ~. or \
                Ctrl-C leaves";
    assert_eq!(shown.matches(told).count(), 1, "{shown}");
    terminal.keys("\r~p");
    assert_eq!(peer.control().await, pen_do("request"));
    peer.tell(json!({"type": "pen", "state": "held", "session": BOB, "holder": "bob",
        "by": "bob", "cause": "denied", "reason": "denied: two minutes"}))
        .await;
    terminal.wait_for("bob keeps typing: denied: two minutes");
    peer.tell(json!({"type": "pen", "state": "free", "cause": "left"})).await;
    terminal.wait_for("serialproxy: Nobody is typing. ~p lets you type\r\n");
    terminal.keys("~p");
    assert_eq!(peer.control().await, pen_do("request"));
    peer.pen("held", ME, "alice").await;
    terminal.wait_for("you are typing now");
    terminal.keys("id");
    assert_eq!(peer.input(2).await, "id");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_is_open_in_another_window_is_used_here_without_permission_to_force() {
    let console = Console::start().await;
    let own = json!({"holder": "alice", "own": true, "since": "2020-11-22T09:04:00Z"});
    let (mut terminal, mut peer) = watcher(&console, own).await;
    terminal.wait_for(
        "serialproxy: You have this console open in another window. You are watching: ~p uses it \
             here\r\n",
    );
    terminal.keys("~p");
    assert_eq!(peer.control().await, pen_do("take"));
    peer.tell(json!({"type": "pen", "state": "held", "session": ME, "holder": "alice",
        "by": "alice", "cause": "moved"}))
        .await;
    terminal.wait_for("you are typing now");
    peer.tell(json!({"type": "pen", "state": "lost", "session": BOB, "holder": "alice",
        "by": "alice", "cause": "moved", "own": true}))
        .await;
    terminal.wait_for("you are typing in another window now. You are watching: ~p uses it here");
    leave(terminal, peer).await;

    let lost = json!({"holder": "alice", "own": true, "free_in": 48, "seen_ago": 12});
    let (mut terminal, peer) = watcher(&console, lost).await;
    terminal.wait_for("You have this console open in another window, last seen 12 s ago.");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_know_the_mode_is_asked_to_type_and_then_to_watch() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    console.accept().await.close(1002, "mode must be watch or write").await;
    let peer = console.accept().await;
    assert_eq!(peer.query(), "token=t");
    peer.close(4004, BUSY).await;
    let peer = console.welcome().await;
    assert_eq!(peer.query(), "token=t&mode=watch");
    terminal.wait_for("watching demo");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_console_is_asked_for_and_watched_until_it_is_given() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--ask", "--reason", "fire"]));
    console.accept().await.close(4004, BUSY).await;
    let mut peer = console.welcome().await;
    assert_eq!(peer.query(), "token=t&mode=watch");
    assert_eq!(peer.control().await, json!({"type": "pen", "do": "request", "reason": "fire"}));
    peer.pen("held", BOB, "bob").await;
    terminal.wait_for("watching demo");
    terminal.wait_for("bob is typing");
    peer.pen("held", ME, "alice").await;
    terminal.wait_for("you are typing now");
    terminal.keys("id");
    assert_eq!(peer.input(2).await, "id");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_for_the_pen_gives_it_or_keeps_it() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console).await;
    let ask = json!({"type": "pen", "state": "requested", "session": BOB, "by": "bob",
        "holder": "alice", "reason": "my turn", "seconds": 20});
    terminal.keys("~d");
    terminal.wait_for("nobody asks to type");
    peer.tell(ask.clone()).await;
    terminal.wait_for(
        "bob asks to type: ~g allows it, ~d refuses; without an answer bob can \
             type in 20 s: my turn",
    );
    terminal.keys("~d");
    assert_eq!(peer.control().await, pen_do("deny"));
    terminal.wait_for("refused: you are still typing");
    peer.tell(ask).await;
    terminal.wait_for("bob asks to type");
    terminal.keys("~g");
    assert_eq!(peer.control().await, pen_do("grant"));
    peer.pen("lost", BOB, "bob").await;
    terminal.wait_for("bob is typing now. You are watching");
    terminal.keys("x");
    terminal.wait_for("what you type is not sent");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pen_is_given_back_and_taken_over_after_a_yes() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console).await;
    terminal.keys("~f\r~p");
    terminal.wait_for("you are typing already");
    assert_eq!(peer.control().await, pen_do("release"));
    peer.tell(json!({"type": "pen", "state": "free"})).await;
    terminal.wait_for("you stopped typing");
    peer.pen("held", BOB, "bob").await;
    terminal.wait_for("bob is typing");
    terminal.keys("~fn");
    terminal.wait_for("Press y to take over, any other key to cancel");
    terminal.wait_for("nothing was sent");
    terminal.keys("~fy");
    assert_eq!(peer.control().await, pen_do("force"));
    peer.pen("held", ME, "alice").await;
    terminal.wait_for("you are typing now");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_watch_is_told_what_they_would_need() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--watch"]));
    let mut peer = console.accept().await;
    peer.hello_with(json!({"can": []})).await;
    peer.pen("held", BOB, "bob").await;
    terminal.wait_for("bob is typing. You are watching.\r\n");
    terminal.keys("~p");
    terminal.wait_for("this session may only watch");
    terminal.keys("~fy");
    terminal.wait_for("you may not take over");
    terminal.keys("~r");
    terminal.wait_for("what you type is not sent");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn break_and_sysrq_go_and_a_refusal_is_told() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console).await;
    terminal.keys("~B");
    assert_eq!(peer.control().await, json!({"type": "break"}));
    peer.tell(json!({"type": "error", "message": "a pseudo-terminal has no break"})).await;
    terminal.wait_for("serialproxy: a pseudo-terminal has no break");
    terminal.keys("~S");
    terminal.wait_for("magic SysRq: press a letter or digit");
    terminal.keys("h");
    assert_eq!(peer.control().await, json!({"type": "sysrq", "key": "h"}));
    terminal.keys("x");
    assert_eq!(peer.input(1).await, "x", "a refused break changes nothing about the pen");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_is_told_when_it_changes_and_typed_only_when_asked() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console).await;
    terminal.keys("~r");
    terminal.wait_for("the size of this terminal is not known");
    terminal.resize(40, 132);
    assert_eq!(peer.control().await, json!({"type": "size", "rows": 40, "cols": 132}));
    terminal.keys("~r");
    assert_eq!(peer.input(22).await, "stty rows 40 cols 132\r");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_attached_is_listed() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console).await;
    let who = json!([
        {"session": ME, "user": "alice", "mode": "write"},
        {"session": BOB, "user": "bob", "mode": "watch"},
    ]);
    peer.tell(json!({"type": "viewers", "count": 5, "who": who})).await;
    peer.print(b"here").await;
    terminal.wait_for("here");
    terminal.keys("~w");
    terminal.wait_for("attached: alice (typing, you), bob (watching), and 3 more");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_terminal_answers_reaches_the_guest_and_is_no_typing() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console).await;
    for (answer, rest) in [("\x1b[5;", "10R"), ("\x1b]11;rgb:0/0/0", "\x1b\\"), ("\x1b", "[I")] {
        terminal.keys("\r");
        terminal.keys(answer);
        assert_eq!(peer.input(1 + answer.len()).await, format!("\r{answer}"));
        terminal.keys(rest);
        assert_eq!(peer.input(rest.len()).await, rest);
        terminal.keys("~w");
        terminal.wait_for("attached: ");
    }
    let ask = json!({"type": "pen", "state": "requested", "session": BOB, "by": "bob"});
    peer.tell(ask).await;
    terminal.wait_for("bob asks to type: ~g allows");
    terminal.keys("\x1b[1;5R~g");
    assert_eq!(peer.input(6).await, "\x1b[1;5R");
    assert_eq!(peer.control().await, pen_do("grant"));
    peer.pen("held", BOB, "bob").await;
    terminal.wait_for("bob is typing now");
    // Nor is a watcher told off for it.
    terminal.keys("\x1b[1;5R~w");
    terminal.wait_for("attached: ");
    terminal.keys("x");
    terminal.wait_for("you are watching: what you type is not sent");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_menu_is_readable_whatever_the_guest_left_and_a_letter_is_a_choice() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console).await;
    // An unfinished title, line drawing, insert mode, margins, origin mode, hidden text.
    peer.print(b"\x1b(0\x1b[4h\x1b[2;5r\x1b[?6h\x1b[?7l\x1b[8;31m\x1b]0;unfinished").await;
    terminal.wait_for("unfinished");
    terminal.keys("~?");
    let before = terminal.until("serialproxy: demo, port 0. Press a letter");
    for set in ["\x1b\\", "\x1b(B", "\x1b[4l", "\x1b[r", "\x1b[?6l", "\x1b[?7h", "\x1b[m"] {
        assert!(before.contains(set), "{set:?} in {before:?}");
    }
    terminal.wait_for("\r\n\x1b[K  p  stop typing, and let others\r\n");
    terminal.wait_for("At the start of a line, ~ and a letter do the same. ~~ sends ~.\r\n");
    terminal.keys("w");
    terminal.wait_for("attached: ");
    terminal.keys("~?");
    terminal.wait_for("do the same");
    terminal.keys("\rid");
    terminal.wait_for("canceled: nothing was sent");
    assert_eq!(peer.input(2).await, "id");
    leave(terminal, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_who_types_since_when_latency_boot_sizes_and_the_address() {
    let console = Console::start().await;
    let pen = json!({"holder": "bob", "since": "2020-11-22T09:04:00Z"});
    let (mut terminal, mut peer) = watcher(&console, pen).await;
    terminal.wait_for("bob is typing");
    terminal.resize(40, 132);
    assert_eq!(peer.control().await["type"], "size");
    peer.tell(json!({"type": "size", "rows": 25, "cols": 80})).await;
    peer.tell(json!({"type": "epoch", "epoch": 3, "offset": 0})).await;
    terminal.wait_for("the guest was started again");
    terminal.keys("~s");
    assert_eq!(peer.control().await, json!({"type": "ping", "id": 1}));
    peer.tell(json!({"type": "pong", "id": 1})).await;
    terminal.wait_for(
        "serialproxy: demo, port 0: bob is typing (since 22 Nov 11:04), you are watching; latency ",
    );
    let rest = terminal.until("\r\n");
    let address = console.listener.local_addr().unwrap();
    let wanted =
        format!(" ms; boot 3; this terminal 132x40; theirs 80x25; http://{address}/console/demo/0");
    assert!(rest.trim_end().ends_with(&wanted), "{rest}");

    // A server that does not answer is no reason to wait for ever.
    peer.pen("held", ME, "alice").await;
    terminal.wait_for("you are typing now");
    terminal.keys("~s");
    assert_eq!(peer.control().await, json!({"type": "ping", "id": 2}));
    terminal
        .wait_for("you are typing; the server does not answer; boot 3; this terminal 132x40; http");
    leave(terminal, peer).await;
}
