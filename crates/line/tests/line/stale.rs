//! A connection whose session continues over another one must not affect the session any more.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serialproxy_line::Attachment;
use serialproxy_line::Event;
use serialproxy_line::Keyboard;
use serialproxy_line::Start;
use serialproxy_line::Wanted;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::Close;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::Hello;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::ResumeKey;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::hello;
use crate::rig::output_until;
use crate::rig::visitor;
use crate::rig::within;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

async fn alice(rig: &Rig, mode: Mode) -> (Attachment, Keyboard, Hello) {
    let visitor = visitor("alice", mode, Protocol::ConsoleV1);
    let (mut attachment, keyboard) = rig.attach(&visitor).unwrap();
    let hello = hello(&mut attachment).await;
    (attachment, keyboard, hello)
}

fn key(hello: &Hello) -> ResumeKey {
    ResumeKey::from_client(hello.resume.as_deref().unwrap()).unwrap()
}

fn resume(rig: &Rig, hello: &Hello, offset: u64) -> (Attachment, Keyboard) {
    let start = Start::Offset { offset, line: None };
    rig.line.resume(&key(hello), start, "192.0.2.1:5").unwrap()
}

#[tokio::test]
async fn it_takes_no_output_and_moves_no_cursor() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut old, _keyboard, first) = alice(&rig, Mode::Write).await;
    guest.write_all(b"all of it\n").await.unwrap();
    eventually(|| rig.line.describe().offset == 10).await;
    while within(old.next(Wanted::Output)).await != Event::Output {}
    let (mut new, _keyboard) = resume(&rig, &first, 0);
    let taken = AtomicBool::new(false);
    old.take(|_| {
        taken.store(true, Ordering::Relaxed);
        10
    });
    assert!(!taken.load(Ordering::Relaxed), "an old connection was handed output");
    assert_eq!(output_until(&mut new, b"\n").await, b"all of it\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_moves_no_cursor_while_the_session_comes_back_on_another_thread() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (old, _keyboard, mut hello_before) = alice(&rig, Mode::Watch).await;
    guest.write_all(&[b'x'; 60_000]).await.unwrap();
    eventually(|| rig.line.describe().offset == 60_000).await;
    let mut old = old;
    for _ in 0..300 {
        let takes = std::thread::spawn(move || {
            for _ in 0..50 {
                old.take(|pieces| usize::from(!pieces.is_empty()));
            }
            old
        });
        let (mut new, _keyboard) = resume(&rig, &hello_before, 7);
        // Only now: before, this would end the session, which has not resumed yet.
        drop(takes.join().unwrap());
        assert_eq!(new.offset(), 7);
        hello_before = hello(&mut new).await;
        old = new;
    }
}

#[tokio::test]
async fn it_neither_types_nor_wants_nor_acknowledges_anything() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (_old, old_keyboard, first) = alice(&rig, Mode::Write).await;
    old_keyboard.write(b"abc");
    let (_new, keyboard) = resume(&rig, &first, 0);
    // This does not turn the new connection's input into a repetition.
    old_keyboard.begin_at(0).unwrap();
    old_keyboard.write(b"no");
    old_keyboard.release_pen(NOW);
    assert!(old_keyboard.force_pen(None, NOW).is_err());
    assert!(old_keyboard.request_pen(None, NOW).is_err());
    old_keyboard.end(&Close::new(CloseCode::Idle, "gone"));
    // Nor does it show that the client has received the new key.
    old_keyboard.heard();
    keyboard.write(b"def");
    let mut typed = [0; 6];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"abcdef");
    assert!(keyboard.writes());
    assert!(rig.line.knows(&key(&first)));
}
