//! The client's `log`. Of a line that printed more than it keeps, it prints the beginning, the size
//! of the gap and the newest part, and then ends. No terminal answers its output.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::process::Stdio;

use rustix::process::Signal;
use serialproxy_e2e::eventually;
use serialproxy_e2e::rig::Rig;
use serialproxy_e2e::terminal::Terminal;
use serialproxy_e2e::within;
use tokio::io::AsyncReadExt;

const KEPT: usize = 64 * 1024;
const FLAGS: [&str; 4] = ["--line-history_head", "64KiB", "--line-history_tail", "64KiB"];

/// This many bytes, which contain their offsets.
fn printed(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

async fn has_printed(rig: &Rig, count: usize) {
    let server = rig.port.server();
    eventually(async || (rig.server.line(&server, 0).await["offset"] == count).then_some(())).await;
}

/// The sizes of the reported gaps.
fn gaps(said: &str) -> Vec<usize> {
    let sizes = said.lines().filter_map(|line| {
        let (_, rest) = line.split_once("serialproxy: ")?;
        let (size, _) = rest.split_once(" bytes of output are missing here")?;
        Some(size.replace(' ', "").parse().unwrap())
    });
    sizes.collect()
}

#[tokio::test]
async fn a_log_over_a_hole_is_the_head_one_gap_and_the_tail_and_ends() {
    let mut rig = Rig::start(&FLAGS).await;
    let all = printed(5_000_000);
    rig.guest.print(&all).await;
    has_printed(&rig, all.len()).await;
    for from in ["0", "1000", "2000000"] {
        let log = rig.server.client(&["log", "switch", "--from", from]).await;
        assert!(log.status.success());
        let [gap] = gaps(&String::from_utf8(log.stderr).unwrap())[..] else { panic!("one gap") };
        let from: usize = from.parse().unwrap();
        let head = &all[from.min(KEPT)..KEPT];
        assert_eq!(gap, all.len() - from - log.stdout.len());
        let tail = &all[from.max(KEPT) + gap..];
        assert!(tail.len() >= KEPT && log.stdout == [head, tail].concat(), "from {from}");
    }
    let beyond = rig.server.client(&["log", "switch", "--from", "5000001"]).await;
    let said = String::from_utf8(beyond.stderr).unwrap();
    assert!(!beyond.status.success() && said.contains("which ends at 5000000"), "{said}");
}

#[tokio::test]
async fn whoever_follows_a_log_gets_every_byte_or_the_size_of_what_is_missing() {
    let mut rig = Rig::start(&FLAGS).await;
    let mut follow = rig.server.command(&["log", "switch", "--follow"]);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = follow.stdout.take().unwrap();
    let mut seen = vec![0; 5];
    rig.guest.print(b"ready").await;
    within(output.read_exact(&mut seen)).await.unwrap();
    rig.guest.print(&b"x".repeat(4_000_000)).await;
    rig.guest.print(b"done").await;
    while !seen.ends_with(b"done") {
        within(output.read_buf(&mut seen)).await.unwrap();
    }
    follow.start_kill().unwrap();
    let said = within(follow.wait_with_output()).await.unwrap().stderr;
    let missing: usize = gaps(&String::from_utf8(said).unwrap()).iter().sum();
    assert_eq!(seen.len() + missing, "ready".len() + 4_000_000 + "done".len());
}

#[tokio::test]
async fn a_log_makes_no_terminal_answer_and_leaves_a_pipe_every_byte() {
    let mut rig = Rig::start(&[]).await;
    let printed = "<\x05\x1b[6n\x1bP$qm\x1b\\\x1b]52;c;cm0=\x07\u{9b}c\x1b[?1000h>\r\n";
    rig.guest.print(printed.as_bytes()).await;
    has_printed(&rig, printed.len()).await;
    let log = rig.server.client(&["log", "switch"]).await;
    assert_eq!(log.stdout, printed.as_bytes());
    let mut terminal = Terminal::run(rig.server.command(&["log", "switch"]));
    terminal.shows("<\x1b[?1000h>").await;
    terminal.shows("\x1b[?1000;").await;
    assert_eq!(terminal.ended().await.code(), Some(0));
    let mut follow = Terminal::run(rig.server.command(&["log", "switch", "--follow"]));
    follow.shows("<\x1b[?1000h>").await;
    follow.signal(Signal::INT);
    follow.shows("\x1b[?1000;").await;
    follow.ended().await;
}
