//! Attaching where another session types, and moving one's own typing to another window.

use std::sync::Arc;
use std::sync::Barrier;

use jiff::Timestamp;
use serialproxy_line::Attachment;
use serialproxy_line::Keyboard;
use serialproxy_line::Visitor;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;

use crate::rig::Rig;
use crate::rig::end;
use crate::rig::hello;
use crate::rig::message;
use crate::rig::visitor;
use crate::rig::within;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A user who may type, and may not take the pen by force.
fn member(user: &str) -> Visitor {
    let visitor = visitor(user, Mode::Write, Protocol::ConsoleV1);
    Visitor { operator: false, yields: true, ..visitor }
}

fn attach(rig: &Rig, user: &str) -> (Attachment, Keyboard) {
    rig.attach(&member(user)).unwrap()
}

#[tokio::test]
async fn who_yields_types_where_nobody_does_and_watches_where_somebody_does() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (mut alice, alices) = attach(&rig, "alice");
    let (mut bob, bobs) = attach(&rig, "bob");
    assert_eq!(hello(&mut alice).await.mode, Mode::Write);
    assert_eq!(hello(&mut bob).await.mode, Mode::Watch);
    assert!(alices.writes() && !bobs.writes());
    let holder = alice.session();
    let told = |message: &ServerMessage| {
        matches!(message, ServerMessage::Pen { session, since, own: false, seen_ago: None, .. }
            if *session == Some(holder) && since.map(|at| at.to_string()).as_deref() == Some("2026-11-22T09:00:00Z"))
    };
    message(&mut bob, told).await;
    alices.release_pen(NOW);
    bobs.take_pen(NOW).unwrap();
    assert!(bobs.writes());
}

#[tokio::test]
async fn who_does_not_yield_is_still_refused() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let _alice = attach(&rig, "alice");
    let refused = rig.attach(&Visitor { yields: false, ..member("bob") });
    assert!(matches!(refused, Err(Refusal::Busy { own: false, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_come_at_the_same_time_one_types_and_nobody_is_refused() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let together = Arc::new(Barrier::new(16));
    let coming: Vec<_> = (0..16)
        .map(|who| {
            let (line, together) = (rig.line.clone(), Arc::clone(&together));
            let visitor = member(&format!("user{who}"));
            std::thread::spawn(move || {
                together.wait();
                line.attach(&visitor).unwrap()
            })
        })
        .collect();
    let attached: Vec<_> = coming.into_iter().map(|coming| coming.join().unwrap()).collect();
    let typing = attached.iter().filter(|(_, keyboard)| keyboard.writes()).count();
    assert_eq!((attached.len(), typing), (16, 1));
}

#[tokio::test]
async fn another_window_of_the_same_user_takes_the_pen_without_a_right_to_force() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut first, firsts) = attach(&rig, "alice");
    let (second, seconds) = attach(&rig, "alice");
    let (mut bob, bobs) = attach(&rig, "bob");
    firsts.write(b"a");
    let mut typed = [0];
    within(guest.read_exact(&mut typed)).await.unwrap();
    let refused = bobs.take_pen(NOW).unwrap_err();
    assert_eq!(refused, "alice is typing now: ask to type instead");
    assert!(firsts.writes());
    seconds.take_pen(NOW).unwrap();
    assert!(seconds.writes() && !firsts.writes());
    let moved = |wanted: PenState, own: bool| {
        let holder = second.session();
        move |message: &ServerMessage| {
            matches!(message, ServerMessage::Pen { state, session, cause: Some(Cause::Moved), own: is_own, .. }
                if *state == wanted && *session == Some(holder) && *is_own == own)
        }
    };
    message(&mut first, moved(PenState::Lost, true)).await;
    message(&mut bob, moved(PenState::Held, false)).await;
    firsts.write(b"no");
    seconds.write(b"b");
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"b");
    // Once more changes nothing.
    seconds.take_pen(NOW).unwrap();
    assert!(seconds.writes());
}

#[tokio::test]
async fn a_raw_window_of_the_same_user_ends_and_one_that_may_only_watch_takes_nothing() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (mut raw, raws) = rig.attach(&visitor("alice", Mode::Write, Protocol::Raw)).unwrap();
    let watches = Visitor { mode: Mode::Watch, may: Mode::Watch, ..member("alice") };
    let (_watching, watchings) = rig.attach(&watches).unwrap();
    assert!(watchings.take_pen(NOW).is_err());
    assert!(raws.writes());
    let (_second, seconds) = attach(&rig, "alice");
    seconds.take_pen(NOW).unwrap();
    assert_eq!(end(&mut raw).await, CloseCode::TakenOver);
    assert!(seconds.writes());
}
