//! Characters whose bytes arrive one by one, on raw. The clock stands still unless a test waits for
//! it.

use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use serialproxy_line::Attachment;
use serialproxy_line::Event;
use serialproxy_line::Wanted;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::rig::Rig;
use crate::rig::next;
use crate::rig::visitor;
use crate::rig::within;

/// In this many turns of all tasks the line reads output that it reads at once.
const TURNS: u32 = 500;

struct Console {
    rig: Rig,
    guest: TcpStream,
    attachment: Attachment,
    printed: u64,
}

impl Console {
    async fn new(protocol: Protocol) -> Self {
        let rig = Rig::new().await;
        let guest = rig.boot().await;
        let (attachment, _) = rig.attach(&visitor("bob", Mode::Watch, protocol)).unwrap();
        tokio::time::pause();
        Self { rig, guest, attachment, printed: 0 }
    }

    /// Prints, and returns when the line has the output. Output that soon follows other output is
    /// read some milliseconds later.
    async fn print(&mut self, bytes: &[u8]) {
        self.guest.write_all(bytes).await.unwrap();
        self.printed += bytes.len() as u64;
        for turn in 1.. {
            if self.rig.line.describe().offset == self.printed {
                return;
            }
            tokio::task::yield_now().await;
            if turn % TURNS == 0 {
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        }
    }

    /// The output that is available now.
    fn now(&mut self) -> Option<Vec<u8>> {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(next(&mut self.attachment)).poll(&mut context) {
            Poll::Ready(Event::Replay(bytes)) => Some(bytes.to_vec()),
            Poll::Ready(event) => panic!("{event:?}"),
            Poll::Pending => None,
        }
    }
}

#[tokio::test]
async fn a_character_that_comes_byte_by_byte_is_handed_over_whole() {
    let mut console = Console::new(Protocol::Raw).await;
    for character in ["ä", "€", "😀"] {
        let [first @ .., last] = character.as_bytes() else { panic!("no bytes") };
        for byte in first {
            console.print(&[*byte]).await;
            assert_eq!(console.now(), None);
        }
        console.print(&[*last]).await;
        assert_eq!(console.now().unwrap(), character.as_bytes());
    }
}

#[tokio::test]
async fn what_comes_before_a_character_does_not_wait_for_its_rest() {
    let mut console = Console::new(Protocol::Raw).await;
    console.print(b"a").await;
    assert_eq!(console.now().unwrap(), b"a");
    console.print(b"b\xe2\x82\xac\xc3").await;
    assert_eq!(console.now().unwrap(), "b€".as_bytes());
    assert_eq!(console.now(), None);
}

#[tokio::test]
async fn the_beginning_of_a_character_waits_20_ms_for_its_rest_and_is_not_lost() {
    let mut console = Console::new(Protocol::Raw).await;
    console.print(b"\xe2\x82").await;
    let since = Instant::now();
    assert_eq!(next(&mut console.attachment).await, Event::Replay(b"\xe2\x82".to_vec().into()));
    let waited = since.elapsed();
    assert!((20..25).contains(&waited.as_millis()), "{waited:?}");
    console.print(b"\xac").await;
    assert_eq!(console.now().unwrap(), b"\xac");
}

#[tokio::test]
async fn bytes_that_begin_no_character_do_not_wait() {
    let mut console = Console::new(Protocol::Raw).await;
    for bytes in [&b"\xff"[..], b"\x80", b"\xc0", b"\xe2a"] {
        console.print(bytes).await;
        assert_eq!(console.now().unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_session_that_takes_no_output_does_not_wait_for_a_character() {
    let mut console = Console::new(Protocol::Raw).await;
    console.print(b"\xe2").await;
    assert_eq!(console.now(), None);
    tokio::time::advance(Duration::from_secs(1)).await;
    let next = console.attachment.next(Wanted::End);
    assert!(tokio::time::timeout(Duration::from_secs(1), next).await.is_err());
    assert_eq!(console.now().unwrap(), b"\xe2");
}

#[tokio::test]
async fn a_guest_s_last_byte_is_handed_over_whatever_it_begins() {
    let mut console = Console::new(Protocol::Raw).await;
    console.print(b"\xf0\x9f").await;
    assert_eq!(console.now(), None);
    drop(console.guest);
    assert_eq!(next(&mut console.attachment).await, Event::Replay(b"\xf0\x9f".to_vec().into()));
    let Event::Ended(close) = within(next(&mut console.attachment)).await else {
        panic!("it goes on")
    };
    assert_eq!(close.code, CloseCode::Normal);
}

#[tokio::test]
async fn on_console_v1_nothing_waits_for_a_character() {
    let mut console = Console::new(Protocol::ConsoleV1).await;
    console.print(b"\xe2").await;
    within(async { while let Event::Message(_) = next(&mut console.attachment).await {} }).await;
    console.print(b"\x82").await;
    assert_eq!(console.now().unwrap(), b"\x82");
}
