//! Lines that end, or whose server changes its project, while people are attached or about to
//! attach.

use jiff::Timestamp;
use serialproxy_line::Event;
use serialproxy_line::Start;
use serialproxy_line::Wanted;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::rig::PATIENCE;
use crate::rig::PROJECT;
use crate::rig::Rig;
use crate::rig::end;
use crate::rig::hello;
use crate::rig::visitor;
use crate::rig::watcher;
use crate::rig::within;
use crate::rig::writer;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

#[tokio::test]
async fn a_line_that_was_removed_takes_nobody_in_and_nobody_back() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let alice = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    let (mut attachment, keyboard) = rig.attach(&alice).unwrap();
    let key = hello(&mut attachment).await.resume.unwrap();
    let key = ResumeKey::from_client(&key).unwrap();
    // The client that looked it up still holds it.
    rig.lines.remove(rig.line.key(), "the server was deleted");
    let gone = Some(Refusal::NoSuchLine("the server was deleted".into()));
    assert_eq!(rig.attach(&alice).err(), gone);
    assert_eq!(rig.attach(&watcher("bob")).err(), gone);
    assert_eq!(rig.line.resume(&key, Start::Live, "192.0.2.1:5").err(), gone);
    assert!(keyboard.request_pen(None, NOW).is_err() && keyboard.force_pen(None, NOW).is_err());
    assert!(!within(rig.line.connected(PATIENCE)).await, "it is waited for");
    assert_eq!(end(&mut attachment).await, CloseCode::NoSuchLine);
    drop(attachment);
    assert!(!rig.line.is_used());
}

#[tokio::test]
async fn nobody_attaches_once_the_lines_drain_also_to_a_line_that_is_new() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    let (mut attachment, _keyboard) = rig.attach(&watcher("alice")).unwrap();
    rig.lines.drain();
    assert_eq!(end(&mut attachment).await, CloseCode::Draining);
    assert_eq!(rig.attach(&watcher("bob")).err(), Some(Refusal::Draining));
    rig.lines.remove(rig.line.key(), "the server was deleted");
    let server =
        serialproxy_proto::console::ServerRef { id: rig.line.key().server, name: "rig".into() };
    let line = rig.lines.add(&server, Some(PROJECT), 0, rig.told.clone());
    assert_eq!(line.attach(&watcher("bob")).err(), Some(Refusal::Draining));
}

#[tokio::test]
async fn a_change_of_project_ends_its_sessions_and_grants_and_drops_what_was_typed() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let alice = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    let (mut attachment, keyboard) = rig.attach(&alice).unwrap();
    rig.line.belongs_to(PROJECT);
    assert!(keyboard.writes(), "it belonged to it before");
    rig.line.belongs_to("team-b");
    keyboard.write(b"late");
    assert_eq!(end(&mut attachment).await, CloseCode::Disconnected);
    assert_eq!(rig.attach(&alice).err(), Some(Refusal::Token));
    let mut bob = writer("bob");
    bob.project = Some("team-b".into());
    let (_bob, keyboard) = rig.attach(&bob).unwrap();
    keyboard.write(b"b");
    assert_eq!(within(guest.read_u8()).await.unwrap(), b'b');
}

#[tokio::test]
async fn a_line_that_somebody_is_about_to_attach_to_is_not_unused() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let expected = rig.line.expect();
    assert!(!rig.lines.remove_unused(rig.line.key(), "nobody used it"));
    let (attachment, _keyboard) = expected.attach(&watcher("alice")).unwrap();
    drop(expected);
    assert!(!rig.lines.remove_unused(rig.line.key(), "nobody used it"));
    drop(attachment);
    assert!(rig.lines.remove_unused(rig.line.key(), "nobody used it"));
    assert!(rig.attach(&watcher("alice")).is_err());
    assert_eq!(within(guest.read(&mut [0])).await.unwrap(), 0);
    guest.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_attaching_and_removing_interleave_nobody_is_left_behind() {
    for _ in 0..50 {
        let rig = Rig::new().await;
        let _guest = rig.boot().await;
        let line = rig.line.clone();
        let attaches = std::thread::spawn(move || {
            let attached = (0..200).map_while(|_| line.attach(&watcher("alice")).ok());
            attached.collect::<Vec<_>>()
        });
        while !rig.line.is_used() {
            tokio::task::yield_now().await;
        }
        rig.lines.remove(rig.line.key(), "the server was deleted");
        for (mut attachment, _keyboard) in attaches.join().unwrap() {
            let event = within(attachment.next(Wanted::End)).await;
            assert!(matches!(event, Event::Ended(close) if close.code == CloseCode::NoSuchLine));
        }
    }
}
