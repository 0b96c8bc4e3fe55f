//! Sessions that outlive the process.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::kept::KeptSession;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;

use crate::rig::PATIENCE;
use crate::rig::PROJECT;
use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::hello;
use crate::rig::visitor;
use crate::rig::within;

fn key(hello: &Hello) -> ResumeKey {
    ResumeKey::from_client(hello.resume.as_deref().unwrap()).unwrap()
}

/// Alice types and Bob watches; both lose their connections with the process. Returns their
/// greetings, and the stored sessions.
async fn before(rig: &Rig) -> ([Hello; 2], Vec<KeptSession>) {
    let _guest = rig.boot().await;
    let (mut alice, _) = rig.attach(&visitor("alice", Mode::Write, Protocol::ConsoleV1)).unwrap();
    let (mut bob, _) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    let _raw = rig.attach(&visitor("raw", Mode::Watch, Protocol::Raw)).unwrap();
    within(rig.lines.kept_changed()).await;
    let kept = rig.lines.kept();
    assert_eq!(kept.len(), 2, "a raw session has no key");
    ([hello(&mut alice).await, hello(&mut bob).await], kept)
}

/// A registry in the next process, still without lines.
fn after(settings: Settings, kept: &[KeptSession]) -> Lines {
    let lines = Lines::new(settings, vec![Handle::current()]);
    lines.restore(kept.to_vec());
    lines
}

fn add(lines: &Lines, rig: &Rig, project: &str) -> Line {
    let server = ServerRef { id: ServerId::of_static("rig"), name: "rig".into() };
    lines.add(&server, Some(project), 0, Arc::clone(&rig.told) as Arc<dyn Resolve>)
}

#[tokio::test]
async fn sessions_come_back_after_a_restart_with_the_pen_and_a_line_of_another_id() {
    let rig = Rig::new().await;
    let ([alice, bob], kept) = before(&rig).await;
    rig.lines.close().await;
    let lines = after(Settings::default(), &kept);
    assert_eq!(lines.kept(), kept, "also while their line is not known");
    let line = add(&lines, &rig, PROJECT);
    assert!(lines.sessions().iter().all(|session| session.state == SessionState::Detached));
    assert_eq!(line.describe().writer.unwrap().user, "alice");

    line.guest_started(true);
    let (mut guest, _) = rig.port.accept().await.unwrap();
    assert!(line.connected(PATIENCE).await);
    let carol = line.attach(&visitor("carol", Mode::Write, Protocol::ConsoleV1));
    assert!(matches!(carol, Err(Refusal::Busy { free_in: Some(_), .. })));
    let start = Start::Offset { offset: 7, line: Some(alice.line) };
    let (mut attachment, keyboard) = line.resume(&key(&alice), start, "192.0.2.1:5").unwrap();
    let again = hello(&mut attachment).await;
    assert_eq!((again.session, again.mode), (alice.session, Mode::Write));
    assert_eq!((again.input, again.offset), (0, 0));
    assert_ne!(again.line, alice.line);
    keyboard.heard();
    keyboard.write(b"x");
    assert_eq!(within(guest.read_u8()).await.unwrap(), b'x');
    let (mut attachment, _keyboard) = line.resume(&key(&bob), Start::Live, "192.0.2.1:6").unwrap();
    assert_eq!(hello(&mut attachment).await.mode, Mode::Watch);
    // Alice's present key is stored, and the one before it is not.
    let kept = lines.kept();
    let kept = kept.iter().find(|kept| kept.id == alice.session).unwrap();
    assert_eq!(kept.keys, [key(&again).digest()]);
}

#[tokio::test]
async fn who_does_not_come_back_within_the_grace_time_after_a_restart_is_forgotten() {
    let rig = Rig::new().await;
    let ([alice, _], kept) = before(&rig).await;
    let hasty = Settings { grace: Duration::from_millis(100), ..Settings::default() };
    let lines = after(hasty, &kept);
    let line = add(&lines, &rig, PROJECT);
    eventually(|| lines.kept().is_empty()).await;
    assert!(line.describe().writer.is_none());
    assert_eq!(line.resume(&key(&alice), Start::Live, "").unwrap_err(), Refusal::Resume);

    let lines = after(Settings { grace: Duration::ZERO, ..Settings::default() }, &kept);
    add(&lines, &rig, PROJECT);
    assert!(lines.sessions().is_empty() && lines.kept().is_empty());
}

#[tokio::test]
async fn sessions_whose_time_is_over_or_whose_server_has_another_project_do_not_come_back() {
    let rig = Rig::new().await;
    let (_, mut kept) = before(&rig).await;
    let lines = after(Settings::default(), &kept);
    add(&lines, &rig, "team-b");
    assert!(lines.sessions().is_empty());
    for session in &mut kept {
        session.limit = Some(Timestamp::now());
    }
    let lines = after(Settings::default(), &kept);
    add(&lines, &rig, PROJECT);
    assert!(lines.sessions().is_empty());
}

#[tokio::test]
async fn a_client_that_resumes_waits_until_its_line_is_known_and_connected_again() {
    let rig = Rig::new().await;
    let ([alice, _], kept) = before(&rig).await;
    let lines = after(Settings::default(), &kept);
    let stranger = ResumeKey::new(key(&alice).line());
    assert_eq!(lines.of_key(&stranger).await.unwrap_err(), Refusal::Resume);
    let key = key(&alice);
    let (line, _) = tokio::join!(lines.of_key(&key), async {
        tokio::task::yield_now().await;
        let line = add(&lines, &rig, PROJECT);
        tokio::task::yield_now().await;
        line.guest_started(true);
        rig.port.accept().await.unwrap()
    });
    let line = line.unwrap();
    assert!(line.knows(&key) && line.connected(Duration::ZERO).await);
}

#[tokio::test]
async fn what_is_kept_of_sessions_that_are_drained_is_how_they_stood_before() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (mut alice, _) = rig.attach(&visitor("alice", Mode::Write, Protocol::ConsoleV1)).unwrap();
    let alice_hello = hello(&mut alice).await;
    rig.lines.drain();
    drop(alice);
    eventually(|| rig.lines.sessions().is_empty()).await;
    let kept = rig.lines.kept();
    assert_eq!((kept.len(), kept[0].id, kept[0].writes), (1, alice_hello.session, true));
}
