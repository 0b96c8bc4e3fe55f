//! Sessions whose client is lost: what others are told, and who may take the pen.

use jiff::Timestamp;
use serialproxy_line::Attachment;
use serialproxy_line::Keyboard;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use tokio::io::AsyncReadExt;

use crate::rig::Rig;
use crate::rig::hello;
use crate::rig::message;
use crate::rig::visitor;
use crate::rig::within;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A session whose client has sent a message.
async fn attach(rig: &Rig, user: &str, mode: Mode) -> (Attachment, Keyboard, Hello) {
    let visitor = visitor(user, mode, Protocol::ConsoleV1);
    let (mut attachment, keyboard) = rig.attach(&visitor).unwrap();
    let hello = hello(&mut attachment).await;
    keyboard.heard();
    (attachment, keyboard, hello)
}

fn resume(rig: &Rig, hello: &Hello) -> (Attachment, Keyboard) {
    let key = ResumeKey::from_client(hello.resume.as_deref().unwrap()).unwrap();
    rig.line.resume(&key, Start::Live, "192.0.2.1:5").unwrap()
}

fn busy(rig: &Rig, user: &str) -> (bool, Option<u64>, String) {
    let refusal = rig.attach(&visitor(user, Mode::Write, Protocol::Raw)).unwrap_err();
    let text = refusal.to_string();
    let Refusal::Busy { own, free_in, .. } = refusal else { panic!("{text}") };
    (own, free_in, text)
}

/// Waits for the message about the pen with this cause: the pen's state, in how many seconds it is
/// free, and whether its holder is another session of the same user.
async fn told(attachment: &mut Attachment, wanted: Cause) -> (PenState, Option<u64>, bool) {
    let told = std::cell::Cell::new(None);
    message(attachment, |message| {
        if let ServerMessage::Pen { state, cause, free_in, own, .. } = message
            && *cause == Some(wanted)
        {
            told.set(Some((*state, *free_in, *own)));
            return true;
        }
        false
    })
    .await;
    told.get().unwrap()
}

#[tokio::test]
async fn everybody_is_told_who_lost_the_connection_and_when_the_console_is_free() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (alice, _keyboard, first) = attach(&rig, "alice", Mode::Write).await;
    let (mut bob, ..) = attach(&rig, "bob", Mode::Watch).await;
    assert_eq!(busy(&rig, "bob").1, None);
    tokio::time::pause();
    drop(alice);
    assert_eq!(told(&mut bob, Cause::Detached).await, (PenState::Held, Some(60), false));
    let lost = |message: &ServerMessage| {
        matches!(message, ServerMessage::Viewers { who, .. }
            if who.iter().map(|viewer| viewer.detached).eq([true, false]))
    };
    message(&mut bob, lost).await;
    tokio::time::advance(std::time::Duration::from_millis(20_500)).await;
    let since = "2026-11-22T09:00:00Z";
    let refused = rig.attach(&visitor("bob", Mode::Write, Protocol::ConsoleV1)).unwrap_err();
    assert!(matches!(refused, Refusal::Busy { seen_ago: Some(20), .. }), "{refused:?}");
    let text = format!("busy: alice since {since} (lost the connection, free in 40 s)");
    assert_eq!(busy(&rig, "bob"), (false, Some(40), text.clone()));
    assert_eq!(busy(&rig, "alice"), (true, Some(40), text));
    assert_eq!(rig.line.describe().writer.unwrap().free_in, Some(40));
    let listed = &rig.lines.sessions()[0];
    assert_eq!((listed.state, listed.ends_in), (SessionState::Detached, Some(40)));
    let (mut eve, ..) = attach(&rig, "eve", Mode::Watch).await;
    let seen = |message: &ServerMessage| {
        matches!(message, ServerMessage::Pen { free_in: Some(40), seen_ago: Some(20), .. })
    };
    message(&mut eve, seen).await;

    let _back = resume(&rig, &first);
    assert_eq!(told(&mut bob, Cause::Resumed).await, (PenState::Held, None, false));
    assert_eq!(rig.line.describe().writer.unwrap().free_in, None);
    assert_eq!(rig.lines.sessions()[0].ends_in, None);
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_lost_until_it_is_heard() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (_alice, alices, _) = attach(&rig, "alice", Mode::Write).await;
    let (mut bob, ..) = attach(&rig, "bob", Mode::Watch).await;
    alices.fall_silent();
    assert!(told(&mut bob, Cause::Detached).await.1.is_some());
    assert!(busy(&rig, "bob").1.is_some());
    assert_eq!(rig.lines.sessions()[0].state, SessionState::Detached);
    alices.mark_alive();
    assert_eq!(told(&mut bob, Cause::Resumed).await.1, None);
    assert_eq!(busy(&rig, "bob").1, None);
    assert!(alices.writes());
}

#[tokio::test]
async fn who_lost_a_session_takes_it_back_by_asking_without_a_right_to_force() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (alice, alices, first) = attach(&rig, "alice", Mode::Write).await;
    let mut visitor = visitor("alice", Mode::Watch, Protocol::ConsoleV1);
    visitor.operator = false;
    let (mut again, again_types) = rig.attach(&visitor).unwrap();
    alices.write(b"a");
    drop(alice);
    assert!(told(&mut again, Cause::Detached).await.2, "it is their own");
    let (_bob, bobs, _) = attach(&rig, "bob", Mode::Watch).await;
    bobs.request_pen(None, NOW).unwrap();
    assert!(!bobs.writes(), "it is not bob's");
    again_types.request_pen(None, NOW).unwrap();
    assert!(again_types.writes());
    // The lost session resumes as a watcher, and cannot type.
    let (mut alice, alices) = resume(&rig, &first);
    assert_eq!(hello(&mut alice).await.mode, Mode::Watch);
    alices.write(b"x");
    again_types.write(b"b");
    let mut typed = [0; 2];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"ab");
}

#[tokio::test]
async fn a_session_that_is_not_lost_is_asked_also_by_its_own_user() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (mut alice, alices, _) = attach(&rig, "alice", Mode::Write).await;
    let (_again, again_types, _) = attach(&rig, "alice", Mode::Watch).await;
    again_types.request_pen(None, NOW).unwrap();
    let asked = |message: &ServerMessage| {
        matches!(message, ServerMessage::Pen { state: PenState::Requested, own: false, .. })
    };
    message(&mut alice, asked).await;
    assert!(alices.writes() && !again_types.writes());
}
