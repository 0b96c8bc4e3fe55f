//! The pen changes hands with the holder's consent, by silence and by force.

use std::time::Duration;

use jiff::Timestamp;
use serialproxy_line::Attachment;
use serialproxy_line::Keyboard;
use serialproxy_line::Settings;
use serialproxy_line::Wanted;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::Size;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;

use crate::rig::Rig;
use crate::rig::end;
use crate::rig::message;
use crate::rig::visitor;
use crate::rig::within;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn attach(rig: &Rig, user: &str, mode: Mode) -> (Attachment, Keyboard) {
    rig.attach(&visitor(user, mode, Protocol::ConsoleV1)).unwrap()
}

/// The session's next message about the pen in this state: the session that it names, by whom, and
/// why.
async fn told(
    attachment: &mut Attachment,
    wanted: PenState,
) -> (Option<SessionId>, Option<String>, Option<String>) {
    let mut told = None;
    within(async {
        while told.is_none() {
            if let serialproxy_line::Event::Message(ServerMessage::Pen {
                state,
                session,
                by,
                reason,
                ..
            }) = attachment.next(Wanted::Messages).await
                && state == wanted
            {
                told = Some((session, by, reason));
            }
        }
    })
    .await;
    told.unwrap()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn the_holder_hears_who_asks_and_why_and_may_give_the_pen() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut alice, alices) = attach(&rig, "alice", Mode::Write);
    let (mut bob, bobs) = attach(&rig, "bob", Mode::Watch);
    bobs.request_pen(Some("my turn"), NOW).unwrap();
    let asked = (Some(bob.session()), text("bob"), text("my turn"));
    assert_eq!(told(&mut alice, PenState::Requested).await, asked);
    assert_eq!(told(&mut bob, PenState::Requested).await, asked);
    alices.write(b"last");
    alices.grant_pen(NOW).unwrap();
    let (session, by, _) = told(&mut alice, PenState::Lost).await;
    assert_eq!((session, by), (Some(bob.session()), text("alice")));
    assert_eq!(told(&mut bob, PenState::Held).await.0, Some(bob.session()));
    alices.write(b"no");
    bobs.write(b"bob");
    // Input from before the holder gave the pen away was accepted, and comes first.
    let mut typed = [0; 7];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"lastbob");
}

#[tokio::test]
async fn the_holder_may_keep_the_pen() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (alice, alices) = attach(&rig, "alice", Mode::Write);
    let (mut bob, bobs) = attach(&rig, "bob", Mode::Watch);
    bobs.request_pen(None, NOW).unwrap();
    told(&mut bob, PenState::Requested).await;
    alices.deny_pen(Some("not now")).unwrap();
    let (session, by, reason) = told(&mut bob, PenState::Held).await;
    assert_eq!(session, Some(alice.session()));
    assert_eq!((by, reason), (text("alice"), text("denied: not now")));
    assert!(alices.writes() && !bobs.writes());
}

#[tokio::test]
async fn silence_grants_the_pen_and_what_the_silent_one_typed_is_fenced_off() {
    let timeout = Duration::from_millis(50);
    let rig = Rig::with(Settings { pen_request_timeout: timeout, ..Settings::default() }).await;
    let _guest = rig.boot().await;
    let (mut alice, alices) = attach(&rig, "alice", Mode::Write);
    let (mut bob, bobs) = attach(&rig, "bob", Mode::Watch);
    bobs.request_pen(None, NOW).unwrap();
    told(&mut bob, PenState::Requested).await;
    let (session, by, reason) = told(&mut bob, PenState::Held).await;
    assert_eq!((session, by), (Some(bob.session()), text("bob")));
    assert_eq!(reason, text("no answer within 0.05 s"));
    told(&mut alice, PenState::Lost).await;
    assert!(bobs.writes() && !alices.writes());
}

#[tokio::test]
async fn one_at_a_time_asks_and_a_free_pen_needs_no_answer() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (alice, _alices) = attach(&rig, "alice", Mode::Write);
    let (_bob, bobs) = attach(&rig, "bob", Mode::Watch);
    let (_eve, eves) = attach(&rig, "eve", Mode::Watch);
    bobs.request_pen(None, NOW).unwrap();
    assert!(eves.request_pen(None, NOW).unwrap_err().starts_with("bob already asks"));
    drop(alice);
    assert!(bobs.writes(), "who asks gets it when the holder leaves");
    bobs.release_pen(NOW);
    eves.request_pen(None, NOW).unwrap();
    assert!(eves.writes());
}

#[tokio::test]
async fn only_the_holder_answers_and_only_who_may_write_asks() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (_alice, alices) = attach(&rig, "alice", Mode::Write);
    let (_bob, bobs) = attach(&rig, "bob", Mode::Watch);
    assert!(alices.grant_pen(NOW).is_err(), "nobody asks");
    bobs.request_pen(None, NOW).unwrap();
    assert!(bobs.grant_pen(NOW).is_err() && bobs.deny_pen(None).is_err());
    let mut reader = visitor("eve", Mode::Watch, Protocol::ConsoleV1);
    reader.may = Mode::Watch;
    let (_eve, eves) = rig.attach(&reader).unwrap();
    assert!(eves.request_pen(None, NOW).is_err());
    assert!(eves.force_pen(None, NOW).is_err());
}

#[tokio::test]
async fn a_raw_holder_who_does_not_answer_is_closed_with_4005() {
    let timeout = Duration::from_millis(50);
    let rig = Rig::with(Settings { pen_request_timeout: timeout, ..Settings::default() }).await;
    let _guest = rig.boot().await;
    let (mut alice, _alices) = rig.attach(&visitor("alice", Mode::Write, Protocol::Raw)).unwrap();
    let (mut bob, bobs) = attach(&rig, "bob", Mode::Watch);
    bobs.request_pen(None, NOW).unwrap();
    let (code, ()) = within(async {
        tokio::join!(end(&mut alice), async {
            while !bobs.writes() {
                bob.next(Wanted::Messages).await;
            }
        })
    })
    .await;
    assert_eq!(code, CloseCode::TakenOver);
}

#[tokio::test]
async fn watchers_hear_the_grid_of_who_writes_and_who_is_there() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (alice, alices) = attach(&rig, "alice", Mode::Write);
    let (mut bob, bobs) = attach(&rig, "bob", Mode::Watch);
    alices.resize(Size { rows: 50, cols: 132 });
    let grid = ServerMessage::Size(Size { rows: 50, cols: 132 });
    message(&mut bob, |message| *message == grid).await;
    bobs.resize(Size { rows: 10, cols: 10 });
    let (mut eve, _eves) = attach(&rig, "eve", Mode::Watch);
    let first = alice.session();
    message(&mut eve, |message| {
        matches!(message, ServerMessage::Viewers { count: 3, who }
            if who.len() == 3 && who[0].session == first && who[0].mode == Mode::Write)
    })
    .await;
    message(&mut eve, |message| *message == grid).await;
}

async fn after(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    // Lets tasks run whose timers are due.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn silence_grants_the_pen_also_to_who_does_not_read_and_not_before_its_time() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (_alice, alices) = attach(&rig, "alice", Mode::Write);
    let (_bob, bobs) = attach(&rig, "bob", Mode::Watch);
    tokio::time::pause();
    bobs.request_pen(None, NOW).unwrap();
    after(10).await;
    // Asking again meanwhile neither extends nor shortens the time.
    bobs.request_pen(Some("please"), NOW).unwrap();
    after(4).await;
    assert!(alices.writes());
    after(2).await;
    assert!(bobs.writes());
}

#[tokio::test]
async fn a_request_that_follows_one_denied_or_taken_back_gets_its_whole_time() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (_alice, alices) = attach(&rig, "alice", Mode::Write);
    let (mut bob, bobs) = attach(&rig, "bob", Mode::Watch);
    tokio::time::pause();
    for denied in [true, false] {
        bobs.request_pen(None, NOW).unwrap();
        // The asking client reads the request's message, and then reads nothing more.
        told(&mut bob, PenState::Requested).await;
        after(10).await;
        match denied {
            true => alices.deny_pen(None).unwrap(),
            false => bobs.release_pen(NOW),
        }
        bobs.request_pen(None, NOW).unwrap();
        let _ = tokio::time::timeout(Duration::from_secs(14), bob.next(Wanted::End)).await;
        after(0).await;
        assert!(alices.writes(), "the time of the request before counts");
        alices.deny_pen(None).unwrap();
    }
}
