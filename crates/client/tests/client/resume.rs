//! Coming back: as the session that it was, or as a new one.

use serde_json::json;

use crate::console::BOB;
use crate::console::Console;
use crate::console::LINE;
use crate::console::NEW_LINE;
use crate::console::beside;
use crate::support::Terminal;
use crate::support::run;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_and_what_the_proxy_lacks_of_its_input_is_sent_once_again() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k1", "grace": 90})).await;
    terminal.wait_for("connected to demo");
    peer.print(b"0123456789").await;
    terminal.wait_for("0123456789");
    terminal.keys("abcdef");
    assert_eq!(peer.input(6).await, "abcdef");
    peer.acknowledge(2).await;
    drop(peer);
    terminal.wait_for("Reconnecting for up to 106 s");

    let mut peer = console.accept().await;
    assert_eq!(peer.query(), format!("resume=k1&from=10&line={LINE}"));
    peer.hello_with(json!({"resume": "k2", "input": 4, "offset": 10})).await;
    terminal.wait_for("reconnected to demo, port 0: the session continues");
    assert_eq!(peer.control().await, json!({"type": "input", "offset": 4}));
    assert_eq!(peer.input(2).await, "ef");
    peer.print(b"AB").await;
    terminal.wait_for("AB");
    peer.acknowledge(6).await;
    drop(peer);

    let mut peer = console.accept().await;
    assert_eq!(peer.query(), format!("resume=k2&from=12&line={LINE}"), "each key is good once");
    peer.hello_with(json!({"resume": "k3", "input": 6, "offset": 12})).await;
    assert_eq!(peer.control().await, json!({"type": "input", "offset": 6}));
    terminal.wait_for("the session continues");
    terminal.keys("\r~.");
    assert_eq!(peer.end().await, (b"\r".into(), Some(1000)), "who leaves says so");
    assert_eq!(terminal.end().0, 0);
    assert_eq!(console.api.lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_forgotten_is_replaced_and_its_input_is_not_sent_again() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k1", "grace": 60})).await;
    terminal.wait_for("connected to demo");
    peer.print(b"01234").await;
    terminal.wait_for("01234");
    terminal.keys("reboot\r");
    assert_eq!(peer.input(7).await, "reboot\r");
    drop(peer);
    console.accept().await.close(4001, "token missing, unknown or expired").await;

    let mut peer = console.accept().await;
    assert_eq!(peer.query(), format!("token=t&mode=auto&from=5&line={LINE}"));
    peer.hello_with(json!({"session": BOB, "line": NEW_LINE, "resume": "k2"})).await;
    terminal.wait_for("the server started a new history");
    terminal.wait_for("connected to demo");
    terminal.wait_for("the last 7 bytes that you typed may not have reached the guest");
    drop(peer);
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), format!("resume=k2&from=0&line={NEW_LINE}"));
    peer.hello_with(json!({"session": BOB, "line": NEW_LINE, "resume": "k3"})).await;
    assert_eq!(peer.control().await, json!({"type": "input", "offset": 0}));
    terminal.wait_for("the session continues");
    terminal.keys("~.");
    assert_eq!(peer.rest().await, b"");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_may_have_lost_bytes_fails_rather_than_go_on_with_a_hole() {
    let console = Console::start().await;
    let command = console.client(&[]);
    let ended = tokio::spawn(beside(|| run(command, b"upload")));
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k1"})).await;
    assert_eq!(peer.input(6).await, "upload");
    drop(peer);
    console.accept().await.close(4001, "").await;
    let mut peer = console.accept().await;
    peer.hello_with(json!({"session": BOB})).await;
    assert_eq!(peer.rest().await, b"");
    let ended = ended.await.unwrap();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("the last 6 bytes of stdin"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_goes_on_where_it_was_when_its_session_lives() {
    let console = Console::start().await;
    let command = console.client(&["--no-pace"]);
    let ended = tokio::spawn(beside(|| run(command, &[b'x'; 2000])));
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k1"})).await;
    assert_eq!(peer.input(512).await.len(), 512);
    drop(peer);
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k2", "input": 100})).await;
    assert_eq!(peer.control().await, json!({"type": "input", "offset": 100}));
    let mut has = 100;
    while has < 2000 {
        has += peer.input(1).await.len();
        peer.acknowledge(has).await;
    }
    assert_eq!(peer.rest().await, b"");
    assert_eq!((has, ended.await.unwrap().code), (2000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_pen_meanwhile_comes_back_as_a_watcher_and_sends_nothing() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&[]));
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k1"})).await;
    terminal.wait_for("connected to demo");
    terminal.keys("abc");
    assert_eq!(peer.input(3).await, "abc");
    drop(peer);
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k2", "input": 1, "mode": "watch"})).await;
    terminal.wait_for("watching again: demo");
    terminal.wait_for("the last 2 bytes that you typed");
    assert_eq!(peer.control().await, json!({"type": "input", "offset": 1}));
    terminal.keys("\r~.");
    assert_eq!(peer.rest().await, b"");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_asked_for_again_when_the_connection_breaks_before_it_came() {
    let console = Console::start().await;
    let mut terminal = Terminal::run(console.client(&["--from", "4"]));
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), "token=t&mode=auto&from=4");
    peer.hello_with(json!({"resume": "k1", "offset": 4})).await;
    peer.print(b"456789").await;
    terminal.wait_for("456789");
    drop(peer);
    let mut peer = console.accept().await;
    peer.hello_with(json!({"resume": "k2", "offset": 90})).await;
    terminal.wait_for("the session continues");
    drop(peer);
    let mut peer = console.accept().await;
    assert_eq!(peer.query(), format!("resume=k2&from=10&line={LINE}"));
    peer.hello_with(json!({"resume": "k3", "offset": 10})).await;
    peer.tell(json!({"type": "gap", "from": 10, "to": 80})).await;
    terminal.wait_for("70 bytes of output are missing here");
    let missed = json!({"type": "replay", "kind": "history", "bytes": 10, "offset": 90});
    peer.tell(missed).await;
    peer.print(b"ABCDEFGHIJ").await;
    terminal.wait_for("ABCDEFGHIJ");
    terminal.keys("~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}
