//! Typing and waiting for output without a session of one's own.

use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::Status;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::script::Awaited;
use serialproxy_proto::script::Gap;
use serialproxy_proto::script::Pattern;
use serialproxy_proto::script::Sent;
use serialproxy_proto::script::TYPED;
use serialproxy_proto::script::Typing;
use serialproxy_proto::script::Waited;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::rig::PROJECT;
use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::visitor;
use crate::rig::within;
use crate::rig::writer;

fn typing(bytes: &[u8]) -> Typing {
    let address = [192, 0, 2, 7].into();
    Typing { user: "ci".into(), project: PROJECT.into(), address, bytes: bytes.to_vec() }
}

async fn send(rig: &Rig, bytes: &[u8]) -> Result<Sent, ComputeError> {
    within(rig.line.send(&typing(bytes))).await
}

fn regex(pattern: &str) -> Awaited {
    let pattern = Pattern::Regex(pattern.into());
    Awaited { pattern, from: Some(0), line: None, timeout: 20, project: PROJECT.into() }
}

async fn wait(rig: &Rig, awaited: &Awaited) -> Waited {
    within(rig.line.wait(awaited)).await.unwrap()
}

fn typed_before(refused: ComputeError, cause: Cause) -> u64 {
    match refused {
        ComputeError::Refused { cause: why, typed: Some(typed), .. } if why == cause => typed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_that_does_not_wait_searches_all_that_is_kept() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all("boot messages\r\n".repeat(4000).as_bytes()).await.unwrap();
    guest.write_all(b"Kernel panic - not syncing\r\n").await.unwrap();
    eventually(|| rig.line.describe().offset == 60_028).await;
    for pattern in [Pattern::Text("Kernel panic".into()), Pattern::Regex("panic - .*g$".into())] {
        let awaited = Awaited { pattern, timeout: 0, ..regex("x") };
        assert!(wait(&rig, &awaited).await.matched, "{awaited:?}");
    }
}

#[tokio::test]
async fn all_that_is_sent_arrives_in_order_and_the_pen_is_free_after_it() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"login: ").await.unwrap();
    eventually(|| rig.line.describe().offset == 7).await;
    let all: Vec<u8> = (0..TYPED).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let mut typed = vec![0; TYPED];
    let (sent, read) = tokio::join!(send(&rig, &all), guest.read_exact(&mut typed));
    read.unwrap();
    assert_eq!(typed, all);
    let sent = sent.unwrap();
    assert_eq!((sent.typed, sent.offset, sent.epoch), (TYPED as u64, 7, 1));
    assert_eq!(rig.line.describe().writer, None);
    assert!(rig.line.sessions().is_empty());
}

#[tokio::test]
async fn sending_where_somebody_types_is_refused_with_their_name_and_types_nothing() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (_alice, alices) = rig.attach(&writer("alice")).unwrap();
    let refused = send(&rig, b"x").await.unwrap_err();
    let text = "busy: alice since 2026-11-22T09:00:00Z".to_owned();
    assert_eq!(refused, ComputeError::Refused { cause: Cause::Busy, text, typed: None });
    alices.write(b"a");
    let mut typed = [0; 1];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"a");
}

#[tokio::test]
async fn who_sends_is_listed_and_told_how_many_bytes_arrived_when_someone_takes_over() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (_bob, bobs) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    let everything = vec![b'x'; TYPED];
    let taken_over = async {
        // The guest reads nothing, so not all of it goes.
        eventually(|| rig.line.describe().bytes_in > 0).await;
        let writer = rig.line.describe().writer.unwrap();
        assert_eq!(writer.user, "ci");
        bobs.force_pen(None, Timestamp::now()).unwrap();
        bobs.write(b"b");
    };
    let (sent, ()) = tokio::join!(send(&rig, &everything), taken_over);
    let typed = typed_before(sent.unwrap_err(), Cause::Busy);
    let mut arrived = Vec::new();
    within(async {
        while arrived.last() != Some(&b'b') {
            guest.read_buf(&mut arrived).await.unwrap();
        }
    })
    .await;
    assert_eq!(arrived.len() as u64, typed + 1);
}

#[tokio::test]
async fn sending_ends_when_an_administrator_or_the_guest_ends_it() {
    let rig = Rig::new().await;
    let everything = vec![b'x'; TYPED];
    let guest = rig.boot().await;
    let ended = async {
        eventually(|| rig.line.describe().bytes_in > 0).await;
        let by = Disconnect { by: "root".into(), reason: None };
        rig.line.disconnect_writer(&by).unwrap();
    };
    let (sent, ()) = tokio::join!(send(&rig, &everything), ended);
    assert!(sent.unwrap_err().to_string().starts_with("disconnected by root: "));

    let before = rig.line.describe().bytes_in;
    let stopped = async {
        eventually(|| rig.line.describe().writer.is_some()).await;
        rig.line.guest_stopped(Status::Shutoff);
        drop(guest);
    };
    let (sent, ()) = tokio::join!(send(&rig, &everything), stopped);
    let typed = typed_before(sent.unwrap_err(), Cause::Stopped);
    assert_eq!(rig.line.describe().bytes_in, before + typed);
    let refused = send(&rig, b"x").await.unwrap_err();
    assert_eq!(refused.to_string(), "stopped: server is SHUTOFF");
}

#[tokio::test]
async fn a_caller_who_hangs_up_types_no_more_and_leaves_the_pen() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let everything = typing(&vec![b'x'; TYPED]);
    let mut sending = Box::pin(rig.line.send(&everything));
    let begun = eventually(|| rig.line.describe().bytes_in > 0);
    tokio::select! {
        _ = &mut sending => panic!("the guest reads nothing"),
        () = begun => {}
    }
    drop(sending);
    assert_eq!(rig.line.describe().writer, None);
}

#[tokio::test]
async fn a_wait_finds_what_is_kept_and_what_comes_and_over_the_edges_of_reads() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"\x1b[1mdemo\x1b[0m lo").await.unwrap();
    eventually(|| rig.line.describe().offset == 15).await;
    let comes = async {
        for byte in b"\x1b[32mgin:\x1b[0m " {
            guest.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let login = regex(r"demo \w+:");
    let (found, ()) = tokio::join!(wait(&rig, &login), comes);
    assert_eq!((found.matched, found.text.as_str()), (true, "demo login:"));
    assert_eq!((found.start, found.end), (4, 24));
    assert_eq!((found.epoch, found.line, found.gap), (1, rig.line.describe().line, None));
    // The same again, of what is kept; and as a text, of which nothing is special.
    assert_eq!(wait(&rig, &login).await, found);
    let text = Awaited { pattern: Pattern::Text("o l".into()), ..login.clone() };
    assert_eq!(wait(&rig, &text).await.text, "o l");
    let none = Awaited { pattern: Pattern::Text(r"\w".into()), timeout: 0, ..login };
    assert!(!wait(&rig, &none).await.matched);
}

#[tokio::test]
async fn without_an_offset_only_the_next_output_matches() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"login: ").await.unwrap();
    eventually(|| rig.line.describe().offset == 7).await;
    let next = Awaited { from: None, ..regex("login: root") };
    let mut waiting = Box::pin(rig.line.wait(&next));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    guest.write_all(b"root\r\nlogin: root\r\n").await.unwrap();
    assert_eq!(within(waiting).await.unwrap().start, 13);
}

#[tokio::test]
async fn a_wait_without_a_match_ends_in_time_with_the_last_text() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"\x1b[31mPanic\x1b[0m").await.unwrap();
    eventually(|| rig.line.describe().offset == 14).await;
    let found = wait(&rig, &Awaited { timeout: 0, ..regex("login:") }).await;
    assert_eq!((found.matched, found.text.as_str(), found.end), (false, "Panic", 10));
}

#[tokio::test]
async fn a_match_at_the_end_waits_for_the_rest_of_a_number() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"uid=1").await.unwrap();
    eventually(|| rig.line.describe().offset == 5).await;
    let rest = guest.write_all(b"000 ");
    let uid = regex(r"uid=\d+");
    let (found, written) = tokio::join!(wait(&rig, &uid), rest);
    written.unwrap();
    assert_eq!(found.text, "uid=1000");
}

#[tokio::test]
async fn output_that_is_not_kept_is_a_gap_and_the_rest_is_searched() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let flood = vec![b'x'; 1024 * 1024];
    within(guest.write_all(&flood)).await.unwrap();
    guest.write_all(b"\r\nlogin: ").await.unwrap();
    eventually(|| rig.line.describe().offset == flood.len() as u64 + 9).await;
    let found = wait(&rig, &regex("^login:")).await;
    assert!(found.matched);
    let Gap { from, to } = found.gap.unwrap();
    assert!(from > 0 && from < to && to < found.start, "{found:?}");
}

#[tokio::test]
async fn a_wait_goes_on_over_a_reboot_and_no_match_reaches_over_it() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"Power do").await.unwrap();
    eventually(|| rig.line.describe().offset == 8).await;
    let wanted = regex("Power down|wn");
    let mut waiting = Box::pin(rig.line.wait(&wanted));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    rig.line.guest_stopped(Status::Shutoff);
    drop(guest);
    let mut guest = rig.boot().await;
    guest.write_all(b"wn to the login\r\n").await.unwrap();
    let found = within(waiting).await.unwrap();
    assert_eq!((found.text.as_str(), found.start, found.epoch), ("wn", 8, 2));
}

#[tokio::test]
async fn a_wait_types_nothing_and_needs_no_guest() {
    let rig = Rig::new().await;
    let wanted = regex("Linux");
    let mut waiting = Box::pin(rig.line.wait(&wanted));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    assert!(rig.line.sessions().is_empty());
    let mut guest = rig.boot().await;
    // A query, which a terminal would answer.
    guest.write_all(b"\x1b[6nLinux ").await.unwrap();
    assert!(within(waiting).await.unwrap().matched);
    assert_eq!(rig.line.describe().bytes_in, 0);
}

#[tokio::test]
async fn a_wait_ends_with_its_line_and_when_the_server_changes_hands() {
    let rig = Rig::new().await;
    let wanted = regex("Linux");
    let mut waiting = Box::pin(rig.line.wait(&wanted));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    rig.line.belongs_to("team-b");
    assert!(matches!(within(waiting).await, Err(ComputeError::NotFound(_))));
    let wanted = Awaited { project: "team-b".into(), ..wanted };
    let mut waiting = Box::pin(rig.line.wait(&wanted));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    rig.lines.remove(rig.line.key(), "the server was deleted");
    let gone = within(waiting).await.unwrap_err();
    assert_eq!(gone, ComputeError::NotFound("the server was deleted".into()));
}

#[tokio::test]
async fn patterns_and_offsets_that_cannot_be_used_are_refused() {
    let rig = Rig::new().await;
    for pattern in ["(", "", "a{1000}{1000}", r"\pL{500}", &"(".repeat(100), &"x".repeat(2000)] {
        let refused = within(rig.line.wait(&regex(pattern))).await.unwrap_err();
        assert!(
            matches!(&refused, ComputeError::Invalid(text) if text.lines().count() == 1),
            "{refused:?}"
        );
    }
    let beyond = Awaited { from: Some(1), ..regex("a") };
    let refused = within(rig.line.wait(&beyond)).await.unwrap_err();
    assert_eq!(refused.to_string(), "offset 1 is beyond the output, which ends at 0");
    // An offset in another line means all that is kept.
    let other = Awaited { line: Some(Uuid::nil()), timeout: 0, ..beyond };
    assert!(!wait(&rig, &other).await.matched);
}
