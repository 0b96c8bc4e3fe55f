//! A line against a port that behaves like QEMU's: a TCP listener of the test's own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

mod beats;
mod busy;
mod characters;
mod closed;
mod fence;
mod incoming;
mod kept;
mod listed;
mod lost;
mod model;
mod pen;
mod permit;
mod resume;
mod rig;
mod right;
mod room;
mod screen;
mod scripts;
mod stale;
mod timeline;
mod transports;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_line::Event;
use serialproxy_line::RawLag;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_line::Unresolved;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::Status;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ReplayKind;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::rig::PATIENCE;
use crate::rig::Rig;
use crate::rig::end;
use crate::rig::endpoint;
use crate::rig::eventually;
use crate::rig::message;
use crate::rig::next;
use crate::rig::output_until;
use crate::rig::visitor;
use crate::rig::watcher;
use crate::rig::within;
use crate::rig::writer;

#[tokio::test]
async fn bytes_go_both_ways_unchanged() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut attachment, keyboard) = rig.attach(&writer("alice")).unwrap();
    let all: Vec<u8> = (0..=255).collect();
    guest.write_all(&all).await.unwrap();
    assert_eq!(output_until(&mut attachment, &[255]).await, all);
    keyboard.write(&all);
    let mut typed = vec![0; 256];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(typed, all);
    eventually(|| rig.line.describe().bytes_in == 256).await;
}

#[tokio::test]
async fn a_second_writer_is_refused_with_the_holders_name_and_types_nothing() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (alice, keyboard) = rig.attach(&writer("alice")).unwrap();
    let refusal = rig.attach(&writer("bob")).unwrap_err();
    assert_eq!(refusal.to_string(), "busy: alice since 2026-11-22T09:00:00Z");
    keyboard.write(b"a");
    drop(alice);
    let (_bob, keyboard) = rig.attach(&writer("bob")).unwrap();
    keyboard.write(b"b");
    let mut typed = [0; 2];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"ab");
}

#[tokio::test]
async fn what_a_watcher_types_goes_nowhere() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (_watching, watching) = rig.attach(&watcher("bob")).unwrap();
    let (_writing, writing) = rig.attach(&writer("alice")).unwrap();
    watching.write(b"x");
    writing.write(b"a");
    let mut typed = [0; 1];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"a");
}

#[tokio::test]
async fn the_guest_s_port_is_connected_once_however_many_attach() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut one, _keyboard) = rig.attach(&writer("alice")).unwrap();
    let (mut two, _) = rig.attach(&watcher("bob")).unwrap();
    guest.write_all(b"hello\n").await.unwrap();
    assert_eq!(output_until(&mut one, b"\n").await, b"hello\n");
    assert_eq!(output_until(&mut two, b"\n").await, b"hello\n");
    let second = tokio::time::timeout(Duration::from_millis(200), rig.port.accept()).await;
    assert!(second.is_err(), "a second connection came");
}

#[tokio::test]
async fn after_a_forced_disconnect_the_next_writer_gets_in_at_once_and_old_input_is_gone() {
    let rig = Rig::new().await;
    let guest = rig.boot().await;
    let (mut alice, keyboard) = rig.attach(&writer("alice")).unwrap();
    // The guest reads nothing: this fills what may be in flight, and then waits.
    let flood = tokio::spawn({
        let keyboard = keyboard.clone();
        async move { keyboard.write(&vec![b'a'; 64 * 1024 * 1024]) }
    });
    eventually(|| rig.line.describe().bytes_in > 0).await;
    let by = Disconnect { by: "root".into(), reason: Some("lunch".into()) };
    let thrown_off = rig.line.disconnect_writer(&by).unwrap();
    assert_eq!(thrown_off.user, "alice");
    let (_bob, keyboard) = rig.attach(&writer("bob")).unwrap();
    let fence = rig.line.describe().bytes_in;
    keyboard.write(b"b");
    assert_eq!(end(&mut alice).await, CloseCode::Disconnected);
    within(flood).await.unwrap();

    let mut guest = guest;
    let mut typed = Vec::new();
    within(async {
        let mut buffer = vec![0; 64 * 1024];
        while typed.last() != Some(&b'b') {
            let length = guest.read(&mut buffer).await.unwrap();
            typed.extend_from_slice(&buffer[..length]);
        }
    })
    .await;
    assert_eq!(typed.len() as u64, fence + 1, "input of the old writer passed the fence");
}

#[tokio::test]
async fn the_one_who_loses_the_pen_watches_on_and_is_told_by_whom() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut alice, alices) =
        rig.attach(&visitor("alice", Mode::Write, Protocol::ConsoleV1)).unwrap();
    let (_bob, bobs) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    bobs.force_pen(Some("urgent".into()), Timestamp::UNIX_EPOCH).unwrap();
    message(&mut alice, |message| {
        matches!(message, ServerMessage::Pen { state: PenState::Lost, holder, by, reason, .. }
            if [holder, by] == [&Some("bob".to_owned()), &Some("bob".to_owned())]
                && reason.as_deref() == Some("urgent"))
    })
    .await;
    alices.write(b"x");
    bobs.write(b"b");
    let mut typed = [0; 1];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"b");
    guest.write_all(b"on\n").await.unwrap();
    output_until(&mut alice, b"on\n").await;
}

#[tokio::test]
async fn a_raw_writer_who_loses_the_pen_is_closed_with_4005() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (mut alice, _alices) = rig.attach(&writer("alice")).unwrap();
    let (_bob, bobs) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    bobs.force_pen(None, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(end(&mut alice).await, CloseCode::TakenOver);
}

#[tokio::test]
async fn only_an_operator_takes_the_pen() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (_alice, _alices) = rig.attach(&writer("alice")).unwrap();
    let mut bob = visitor("bob", Mode::Watch, Protocol::ConsoleV1);
    bob.operator = false;
    let (_bob, bobs) = rig.attach(&bob).unwrap();
    assert!(bobs.force_pen(None, Timestamp::UNIX_EPOCH).is_err());
    assert_eq!(rig.line.describe().writer.unwrap().user, "alice");
}

#[tokio::test]
async fn who_is_refused_as_busy_is_told_whether_they_may_take_over() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (_alice, _alices) = rig.attach(&writer("alice")).unwrap();
    for (operator, allowed) in
        [(true, vec![Action::Write, Action::Force]), (false, vec![Action::Write])]
    {
        let mut bob = visitor("bob", Mode::Write, Protocol::ConsoleV1);
        bob.operator = operator;
        let Err(Refusal::Busy { can, .. }) = rig.attach(&bob) else { panic!("two write") };
        assert_eq!(can, allowed);
    }
}

#[tokio::test]
async fn a_viewer_who_stops_reading_holds_up_neither_the_guest_nor_others() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut stalled, _) = rig.attach(&watcher("stalled")).unwrap();
    let (mut live, _) = rig.attach(&watcher("live")).unwrap();
    let printing = tokio::spawn(async move {
        for row in 0..400_000u32 {
            guest.write_all(format!("{row:09}\n").as_bytes()).await.unwrap();
        }
        guest
    });
    let all = output_until(&mut live, b"000399999\n").await;
    assert_eq!(all.len(), 4_000_000);
    within(printing).await.unwrap();
    assert_eq!(end(&mut stalled).await, CloseCode::TooSlow);
}

#[tokio::test]
async fn a_slow_viewer_on_v1_is_told_the_gap_and_goes_on() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let mut visitor = visitor("slow", Mode::Watch, Protocol::ConsoleV1);
    visitor.start = Start::Offset { offset: 0, line: None };
    let (mut slow, _) = rig.attach(&visitor).unwrap();
    let all: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    guest.write_all(&all).await.unwrap();
    eventually(|| rig.line.describe().offset == all.len() as u64).await;
    let (mut at, mut gaps) = (0usize, 0);
    while at < all.len() {
        match within(next(&mut slow)).await {
            Event::Replay(bytes) => {
                assert_eq!(bytes, all[at..at + bytes.len()]);
                at += bytes.len();
            }
            Event::Message(ServerMessage::Gap { from, to }) => {
                assert_eq!(from, at as u64);
                at = usize::try_from(to).unwrap();
                gaps += 1;
            }
            Event::Output | Event::Message(_) => {}
            Event::Ended(close) => panic!("{close:?}"),
        }
    }
    assert_eq!(gaps, 1);
}

#[tokio::test]
async fn a_stopped_guest_s_port_is_never_dialed() {
    let rig = Rig::new().await;
    let none = tokio::time::timeout(Duration::from_millis(300), rig.port.accept()).await;
    assert!(none.is_err());
    assert_eq!(rig.line.describe().state, LineState::Waiting);
    assert_eq!(
        rig.attach(&writer("alice")).unwrap_err(),
        Refusal::Stopped { status: "SHUTOFF".into() }
    );
}

#[tokio::test]
async fn a_session_that_may_wait_stays_from_before_the_boot_to_after_the_next() {
    let rig = Rig::new().await;
    let mut visitor = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    visitor.wait = true;
    let (mut alice, _keyboard) = rig.attach(&visitor).unwrap();
    for boot in 1..=2u64 {
        let mut guest = rig.boot().await;
        guest.write_all(format!("boot {boot}\n").as_bytes()).await.unwrap();
        output_until(&mut alice, format!("boot {boot}\n").as_bytes()).await;
        assert_eq!(rig.line.describe().epoch, boot);
        *rig.told.0.lock().unwrap() = Err(Unresolved::Stopped(Status::Shutoff));
        rig.line.guest_stopped(Status::Shutoff);
        drop(guest);
        message(&mut alice, |message| {
            matches!(message, ServerMessage::State { state: LineState::Waiting, .. })
        })
        .await;
        *rig.told.0.lock().unwrap() = Ok(endpoint(&rig.port));
    }
}

#[tokio::test]
async fn a_raw_session_ends_with_its_guest() {
    let rig = Rig::new().await;
    let guest = rig.boot().await;
    let (mut alice, _keyboard) = rig.attach(&writer("alice")).unwrap();
    rig.line.guest_stopped(Status::Shutoff);
    drop(guest);
    assert_eq!(end(&mut alice).await, CloseCode::GuestStopped);
}

#[tokio::test]
async fn a_port_that_hangs_up_ends_raw_sessions_normally_and_is_dialed_again() {
    let rig = Rig::new().await;
    let guest = rig.boot().await;
    let (mut alice, _keyboard) = rig.attach(&writer("alice")).unwrap();
    drop(guest);
    assert_eq!(end(&mut alice).await, CloseCode::Normal);
    let _guest = within(rig.port.accept()).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
}

#[tokio::test]
async fn an_endpoint_that_is_no_longer_the_guest_s_is_let_go() {
    let rig = Rig::new().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The first answer is from before the guest moved, every later one from after it.
    #[derive(Debug)]
    struct Moves(Mutex<Vec<Endpoint>>);
    impl Resolve for Moves {
        fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
            let mut answers = self.0.lock().unwrap();
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            Box::pin(async { Ok(answer) })
        }
    }
    let moves = Moves(Mutex::new(vec![endpoint(&rig.port), endpoint(&other)]));
    let server = ServerRef { id: ServerId::of_static("moves"), name: "moves".into() };
    let line = rig.lines.add(&server, None, 0, Arc::new(moves));
    line.guest_started(true);
    let (mut stranger, _) = within(rig.port.accept()).await.unwrap();
    assert_eq!(within(stranger.read(&mut [0; 1])).await.unwrap(), 0, "the line stayed");
    let _guest = within(other.accept()).await.unwrap();
    assert!(line.connected(PATIENCE).await);
}

#[tokio::test]
async fn a_removed_line_ends_its_sessions_and_lets_go_of_the_port() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut alice, _keyboard) = rig.attach(&writer("alice")).unwrap();
    rig.lines.remove(rig.line.key(), "the server was deleted");
    assert_eq!(end(&mut alice).await, CloseCode::NoSuchLine);
    assert_eq!(within(guest.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn draining_ends_every_session_with_4012() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (mut alice, _keyboard) = rig.attach(&writer("alice")).unwrap();
    rig.lines.drain();
    assert_eq!(end(&mut alice).await, CloseCode::Draining);
    within(rig.lines.close()).await;
}

#[tokio::test]
async fn a_viewer_who_comes_later_gets_the_screen_as_it_is_now() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"before\r\nlogin: ").await.unwrap();
    eventually(|| rig.line.describe().offset == 15).await;
    let mut visitor = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    visitor.start = Start::Screen { size: None, follows: false };
    let (mut alice, _keyboard) = rig.attach(&visitor).unwrap();
    message(
        &mut alice,
        |message| matches!(message, ServerMessage::Hello(hello) if hello.offset == 15),
    )
    .await;
    message(&mut alice, |message| {
        matches!(message, ServerMessage::Replay { kind: ReplayKind::Screen, offset: 15, .. })
    })
    .await;
    let Event::Replay(screen) = within(next(&mut alice)).await else { panic!("no screen") };
    let screen = String::from_utf8(screen.to_vec()).unwrap();
    assert!(screen.contains("before\r\nlogin:"), "{screen:?}");
    guest.write_all(b"root\n").await.unwrap();
    assert_eq!(within(next(&mut alice)).await, Event::Replay("root\n".into()));
}

#[tokio::test]
async fn a_writer_who_finds_no_room_leaves_the_pen_to_the_next() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let _watchers: Vec<_> =
        (0..999).map(|_| rig.attach(&watcher("eve")).expect("there is room")).collect();
    let (alice, keyboard) = rig.attach(&writer("alice")).unwrap();
    keyboard.release_pen(Timestamp::UNIX_EPOCH);
    assert!(matches!(rig.attach(&writer("bob")), Err(Refusal::TooMany(_))));
    assert_eq!(rig.line.describe().writer, None);
    drop(alice);
    rig.attach(&writer("bob")).unwrap();
}

#[tokio::test]
async fn a_raw_session_that_may_skip_goes_on_with_what_is_kept() {
    let rig = Rig::with(Settings { raw_lag: RawLag::Skip, ..Settings::default() }).await;
    let mut guest = rig.boot().await;
    let (mut alice, _keyboard) = rig.attach(&watcher("alice")).unwrap();
    let flood = vec![b'x'; 4 * 1024 * 1024];
    within(guest.write_all(&flood)).await.unwrap();
    eventually(|| rig.line.describe().offset == flood.len() as u64).await;
    guest.write_all(b"on\n").await.unwrap();
    let seen = output_until(&mut alice, b"on\n").await;
    assert!(seen.len() < flood.len(), "nothing was skipped");
}
