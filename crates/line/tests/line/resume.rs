//! Sessions that lose their connection and resume.

use std::time::Duration;

use jiff::Timestamp;
use serialproxy_line::Attachment;
use serialproxy_line::Event;
use serialproxy_line::Keyboard;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::rig::Rig;
use crate::rig::end;
use crate::rig::eventually;
use crate::rig::hello;
use crate::rig::message;
use crate::rig::next;
use crate::rig::output_until;
use crate::rig::visitor;
use crate::rig::within;

fn resume(rig: &Rig, hello: &Hello, start: Start) -> Result<(Attachment, Keyboard), Refusal> {
    let key = ResumeKey::from_client(hello.resume.as_deref().unwrap()).unwrap();
    rig.line.resume(&key, start, "192.0.2.1:5")
}

fn from(offset: u64, hello: &Hello) -> Start {
    Start::Offset { offset, line: Some(hello.line) }
}

async fn alice(rig: &Rig) -> (Attachment, Keyboard, Hello) {
    let visitor = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    let (mut attachment, keyboard) = rig.attach(&visitor).unwrap();
    let hello = hello(&mut attachment).await;
    (attachment, keyboard, hello)
}

async fn short_of_patience() -> Rig {
    Rig::with(Settings { grace: Duration::from_millis(100), ..Settings::default() }).await
}

#[tokio::test]
async fn a_session_that_comes_back_has_its_pen_and_misses_nothing() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut attachment, keyboard, first) = alice(&rig).await;
    guest.write_all(b"seen\n").await.unwrap();
    output_until(&mut attachment, b"seen\n").await;
    let seen = attachment.offset();
    drop(keyboard);
    drop(attachment);
    guest.write_all(b"missed\n").await.unwrap();
    eventually(|| rig.line.describe().offset == 12).await;
    assert_eq!(rig.lines.sessions()[0].state, SessionState::Detached);
    assert_eq!(rig.line.describe().writer.unwrap().session, first.session);

    let (mut attachment, keyboard) = resume(&rig, &first, from(seen, &first)).unwrap();
    let second = hello(&mut attachment).await;
    assert_eq!(second.session, first.session);
    assert_eq!((second.mode, second.offset), (Mode::Write, seen));
    assert_ne!(second.resume, first.resume);
    assert_eq!(rig.lines.sessions()[0].state, SessionState::Live);
    guest.write_all(b"live\n").await.unwrap();
    assert_eq!(output_until(&mut attachment, b"live\n").await, b"missed\nlive\n");
    keyboard.write(b"x");
    assert_eq!(within(guest.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn a_key_is_good_until_the_client_has_the_next_one() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (attachment, _keyboard, first) = alice(&rig).await;
    drop(attachment);
    let (attachment, _keyboard) = resume(&rig, &first, Start::Live).unwrap();
    // The connection broke again before the client received the next key.
    drop(attachment);
    let (mut attachment, keyboard) = resume(&rig, &first, Start::Live).unwrap();
    let second = hello(&mut attachment).await;
    keyboard.heard();
    assert_eq!(resume(&rig, &first, Start::Live).unwrap_err(), Refusal::Resume);
    resume(&rig, &second, Start::Live).unwrap();
}

#[tokio::test]
async fn of_two_connections_the_later_wins_and_the_earlier_types_no_more() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut old, old_keyboard, first) = alice(&rig).await;
    let (_new, new_keyboard) = resume(&rig, &first, Start::Live).unwrap();
    assert_eq!(end(&mut old).await, CloseCode::TakenOver);
    old_keyboard.write(b"old");
    drop(old);
    new_keyboard.write(b"new");
    let mut typed = [0; 3];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"new");
    assert_eq!(rig.lines.sessions().len(), 1);
}

#[tokio::test]
async fn a_session_that_does_not_come_back_gives_its_pen_up_after_the_grace_time() {
    let rig = short_of_patience().await;
    let _guest = rig.boot().await;
    let (attachment, _keyboard, first) = alice(&rig).await;
    drop(attachment);
    assert!(rig.attach(&visitor("bob", Mode::Write, Protocol::Raw)).is_err());
    eventually(|| rig.lines.sessions().is_empty()).await;
    assert_eq!(resume(&rig, &first, Start::Live).unwrap_err(), Refusal::Resume);
    rig.attach(&visitor("bob", Mode::Write, Protocol::Raw)).unwrap();
}

#[tokio::test]
async fn a_raw_session_ends_with_its_connection() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (attachment, _keyboard) =
        rig.attach(&visitor("alice", Mode::Write, Protocol::Raw)).unwrap();
    drop(attachment);
    assert!(rig.lines.sessions().is_empty());
    assert!(rig.line.describe().writer.is_none());
}

#[tokio::test]
async fn a_session_whose_connection_is_gone_can_be_thrown_off() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (attachment, _keyboard, first) = alice(&rig).await;
    drop(attachment);
    let by = Disconnect { by: "root".into(), reason: None };
    assert!(rig.line.disconnect_writer(&by).is_some());
    assert!(rig.lines.sessions().is_empty());
    assert_eq!(resume(&rig, &first, Start::Live).unwrap_err(), Refusal::Resume);
}

#[tokio::test]
async fn input_is_acknowledged_when_the_guest_has_it_and_what_is_sent_again_is_dropped() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut attachment, keyboard, first) = alice(&rig).await;
    keyboard.write(b"abcdef");
    message(&mut attachment, |message| *message == ServerMessage::Ack { input: 6 }).await;
    drop(attachment);
    let (mut attachment, keyboard) = resume(&rig, &first, Start::Live).unwrap();
    assert_eq!(hello(&mut attachment).await.input, 6);
    // This client received no acknowledgment, and repeats bytes that were received.
    keyboard.begin_at(2).unwrap();
    keyboard.write(b"cd");
    keyboard.write(b"efgh");
    let mut typed = [0; 8];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"abcdefgh");
    message(&mut attachment, |message| *message == ServerMessage::Ack { input: 8 }).await;
}

#[tokio::test]
async fn input_that_a_session_may_not_type_is_acknowledged_too() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (_alice, _keyboard, _) = alice(&rig).await;
    let (mut bob, bobs) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    bobs.write(b"dropped");
    message(&mut bob, |message| *message == ServerMessage::Ack { input: 7 }).await;
}

#[tokio::test]
async fn input_that_is_missing_is_said() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (_attachment, keyboard, _) = alice(&rig).await;
    keyboard.write(b"ab");
    assert!(keyboard.begin_at(5).unwrap_err().starts_with("3 bytes"));
}

#[tokio::test]
async fn an_offset_of_another_line_is_never_mixed_with_this_one_s() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"all that is kept\n").await.unwrap();
    eventually(|| rig.line.describe().offset == 17).await;
    let mut visitor = visitor("alice", Mode::Watch, Protocol::ConsoleV1);
    visitor.start = Start::Offset { offset: 5, line: Some(uuid::Uuid::nil()) };
    let (mut attachment, _keyboard) = rig.attach(&visitor).unwrap();
    assert_eq!(hello(&mut attachment).await.offset, 0);
    assert_eq!(output_until(&mut attachment, b"kept\n").await, b"all that is kept\n");
}

#[tokio::test]
async fn what_is_lost_meanwhile_is_a_stated_gap() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (attachment, _keyboard, first) = alice(&rig).await;
    drop(attachment);
    let flood = vec![b'x'; 4 * 1024 * 1024];
    within(guest.write_all(&flood)).await.unwrap();
    eventually(|| rig.line.describe().offset == flood.len() as u64).await;
    let (mut attachment, _keyboard) = resume(&rig, &first, from(0, &first)).unwrap();
    let (mut counted, mut gaps) = (0, 0);
    within(async {
        while attachment.offset() < flood.len() as u64 {
            match next(&mut attachment).await {
                Event::Replay(bytes) => counted += bytes.len() as u64,
                Event::Message(ServerMessage::Gap { from, to }) => gaps += to - from,
                _ => {}
            }
        }
        // The last piece is announced before it arrives.
        if let Event::Replay(bytes) = next(&mut attachment).await {
            counted += bytes.len() as u64;
        }
    })
    .await;
    assert!(gaps > 0);
    assert_eq!(counted + gaps, flood.len() as u64);
}

#[tokio::test]
async fn the_screen_is_painted_for_who_comes_back_without_an_offset() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (attachment, _keyboard, first) = alice(&rig).await;
    guest.write_all(b"login: ").await.unwrap();
    eventually(|| rig.line.describe().offset == 7).await;
    drop(attachment);
    let (mut attachment, _keyboard) =
        resume(&rig, &first, Start::Screen { size: None, follows: false }).unwrap();
    assert_eq!(hello(&mut attachment).await.offset, 7);
    message(&mut attachment, |message| matches!(message, ServerMessage::Replay { .. })).await;
    let Event::Replay(screen) = within(next(&mut attachment)).await else { panic!("no screen") };
    assert!(screen.windows(6).any(|window| window == b"login:"));
}

#[tokio::test]
async fn who_asks_for_the_pen_and_loses_the_connection_asks_no_more() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (mut alice, _keyboard, _) = alice(&rig).await;
    let (bob, bobs) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    bobs.request_pen(None, Timestamp::UNIX_EPOCH).unwrap();
    let asked = |message: &ServerMessage| format!("{message:?}").contains("Requested");
    message(&mut alice, asked).await;
    drop(bob);
    message(&mut alice, |message| format!("{message:?}").contains("Held")).await;
}

#[tokio::test]
async fn each_key_that_the_client_may_have_is_good_however_many_connections_break() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (attachment, _keyboard, first) = alice(&rig).await;
    drop(attachment);
    let mut last = None;
    for read in [false, false, true, false, true, false] {
        // It uses the first key, like a client that never received another.
        let (mut attachment, keyboard) = resume(&rig, &first, Start::Live).unwrap();
        if read {
            last = Some(hello(&mut attachment).await);
        }
        // The automatic responses of its WebSocket do not show that the client has the next key.
        keyboard.mark_alive();
        drop(attachment);
        assert_eq!(rig.line.describe().writer.unwrap().session, first.session);
    }
    let (mut attachment, keyboard) = resume(&rig, &last.unwrap(), Start::Live).unwrap();
    assert_eq!(
        resume(&rig, &first, Start::Live).unwrap_err(),
        Refusal::Resume,
        "it had a later one"
    );
    let newest = hello(&mut attachment).await;
    keyboard.heard();
    drop(attachment);
    resume(&rig, &newest, Start::Live).unwrap();
}

#[tokio::test]
async fn a_session_whose_greeting_was_never_handed_over_ends_with_its_connection() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let visitor = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    drop(rig.attach(&visitor).unwrap());
    assert!(rig.lines.sessions().is_empty());
    assert!(rig.line.describe().writer.is_none());
}

#[tokio::test]
async fn a_client_that_was_never_heard_keeps_the_pen_for_seconds_and_gets_it_back() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (attachment, _keyboard, first) = alice(&rig).await;
    tokio::time::pause();
    drop(attachment);
    tokio::time::advance(Duration::from_millis(4900)).await;
    assert!(rig.line.describe().writer.is_some());
    tokio::time::advance(Duration::from_millis(200)).await;
    eventually(|| rig.line.describe().writer.is_none()).await;
    let (mut attachment, keyboard) = resume(&rig, &first, Start::Live).unwrap();
    assert_eq!(hello(&mut attachment).await.mode, Mode::Write);

    keyboard.mark_alive();
    drop(attachment);
    tokio::time::advance(Duration::from_secs(50)).await;
    assert!(rig.line.describe().writer.is_some(), "one who was heard keeps it");
}

#[tokio::test]
async fn who_comes_back_after_another_took_the_free_pen_watches() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (attachment, _keyboard, first) = alice(&rig).await;
    tokio::time::pause();
    drop(attachment);
    tokio::time::advance(Duration::from_secs(6)).await;
    eventually(|| rig.line.describe().writer.is_none()).await;
    let bob = visitor("bob", Mode::Write, Protocol::ConsoleV1);
    let _bob = rig.attach(&bob).unwrap();
    let (mut attachment, _keyboard) = resume(&rig, &first, Start::Live).unwrap();
    assert_eq!(hello(&mut attachment).await.mode, Mode::Watch);
}
