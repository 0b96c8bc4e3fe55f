//! Pastes and pipes: their pace, and what overtakes them.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::console::Console;
use crate::console::LINE;
use crate::console::ME;
use crate::console::Peer;
use crate::console::beside;
use crate::support::Terminal;
use crate::support::run;

async fn writer(console: &Console, arguments: &[&str]) -> (Terminal, Peer) {
    let mut terminal = Terminal::run(console.client(arguments));
    let mut peer = console.welcome().await;
    peer.pen("held", ME, "alice").await;
    terminal.wait_for("connected to demo");
    (terminal, peer)
}

/// Takes `size` bytes, and acknowledges each message as it comes.
async fn take(peer: &mut Peer, mut has: usize, size: usize) -> String {
    let (start, mut all) = (has, String::new());
    while has < start + size {
        let piece = peer.input(1).await;
        assert!(piece.len() <= 256, "{}", piece.len());
        has += piece.len();
        all += &piece;
        peer.acknowledge(has).await;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paste_arrives_whole_at_the_speed_of_a_uart() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console, &[]).await;
    let paste: String = (0..2000).map(|line| format!("line {line}\r")).collect();
    let start = Instant::now();
    terminal.keys(&paste);
    assert_eq!(take(&mut peer, 0, paste.len()).await, paste);
    let least = Duration::from_secs_f64((paste.len() - 512) as f64 / 11_520.0);
    assert!(start.elapsed() >= least, "{:?} for {} bytes", start.elapsed(), paste.len());
    terminal.wait_for("bytes, Ctrl-C stops it");
    terminal.wait_for("pasted all ");
    terminal.keys("x~.\r~.");
    assert_eq!(peer.rest().await, b"x~.\r");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_512_bytes_of_a_paste_are_under_way_and_ctrl_c_overtakes_the_rest() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console, &["--no-pace"]).await;
    terminal.keys(&"0123456789\r".repeat(2000));
    let under_way = peer.input(512).await;
    assert_eq!(under_way.len(), 512);
    // Nothing is acknowledged, and so nothing but this comes.
    terminal.keys("\x03");
    assert_eq!(peer.input(1).await, "\x03");
    terminal.wait_for("paste stopped: 21 488 bytes were not sent");
    peer.acknowledge(513).await;
    terminal.keys("ls\r");
    assert_eq!(peer.input(3).await, "ls\r");
    terminal.keys("~.");
    assert_eq!(peer.rest().await, b"");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_works_in_the_middle_of_a_paste() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console, &[]).await;
    terminal.keys(&"0123456789\r".repeat(2000));
    assert_eq!(peer.input(512).await.len(), 512);
    terminal.keys("~.");
    assert_eq!(peer.rest().await, b"");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0);
    assert!(screen.contains("bytes were not sent"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_proxy_does_not_take_wait_and_ctrl_c_and_leaving_still_work() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console, &[]).await;
    let mut typed = 0;
    // Keys one by one: what is read at once is no paste.
    while typed < 64 << 10 {
        terminal.keys(&"k".repeat(64));
        typed += peer.input(64).await.len();
    }
    terminal.keys("waits");
    terminal.keys("\x03");
    assert_eq!(peer.input(1).await, "\x03");
    terminal.wait_for("5 bytes were not sent");
    terminal.keys("\r~.");
    assert_eq!(peer.rest().await, b"");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_the_guest_would_cut_is_warned_of() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console, &["--no-pace"]).await;
    terminal.keys(&"x".repeat(4096));
    terminal.wait_for("a line of this input has more than 4095 bytes");
    take(&mut peer, 0, 4096).await;
    terminal.keys("\r~.");
    peer.rest().await;
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paste_ends_with_the_pen() {
    let console = Console::start().await;
    let (mut terminal, mut peer) = writer(&console, &[]).await;
    terminal.keys(&"0123456789\r".repeat(2000));
    assert_eq!(peer.input(512).await.len(), 512);
    peer.tell(json!({"type": "pen", "state": "lost", "by": "bob", "holder": "bob"})).await;
    terminal.wait_for("bytes were not sent");
    peer.acknowledge(512).await;
    terminal.keys("~.");
    assert_eq!(peer.rest().await, b"");
    assert_eq!(terminal.end().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_paced_too_and_ends_when_the_guest_has_taken_it() {
    for (arguments, least) in [(&[][..], 1.0), (&["--no-pace"], 0.0)] {
        let console = Console::start().await;
        let command = console.client(arguments);
        let ended = tokio::spawn(beside(|| run(command, &[b'\n'; 12_500])));
        let mut peer = console.accept().await;
        let start = Instant::now();
        peer.hello(LINE, 0).await;
        assert_eq!(take(&mut peer, 0, 12_500).await.len(), 12_500);
        assert!(start.elapsed().as_secs_f64() >= least, "{arguments:?}: {:?}", start.elapsed());
        assert_eq!(peer.end().await, (vec![], Some(1000)));
        assert_eq!(ended.await.unwrap().code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_loses_the_pen_before_its_end_fails() {
    let console = Console::start().await;
    let command = console.client(&[]);
    let ended = tokio::spawn(beside(|| run(command, &[b'\n'; 2000])));
    let mut peer = console.welcome().await;
    assert_eq!(peer.input(512).await.len(), 512);
    peer.tell(json!({"type": "pen", "state": "lost", "by": "bob", "holder": "bob"})).await;
    assert_eq!(peer.rest().await, b"");
    let ended = ended.await.unwrap();
    assert_eq!(ended.code, 4);
    assert!(ended.stderr.contains("bob is typing now. You are watching"), "{ended:?}");
    assert!(ended.stderr.contains("not all of stdin was sent"), "{ended:?}");
}
