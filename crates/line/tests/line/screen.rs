//! The screen that is painted for a client that attaches.

use std::time::Duration;

use bytes::Bytes;
use serialproxy_line::Attachment;
use serialproxy_line::Event;
use serialproxy_line::Keyboard;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::bounds::FRAME;
use serialproxy_proto::console::ReplayKind;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::Size;
use serialproxy_proto::terminal::LineFeed;
use serialproxy_proto::terminal::TerminalSettings;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncWriteExt;

use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::next;
use crate::rig::visitor;
use crate::rig::within;
use crate::rig::writer;

fn attach(rig: &Rig) -> Attachment {
    attach_on(rig, None).0
}

fn attach_on(rig: &Rig, size: Option<Size>) -> (Attachment, Keyboard) {
    let mut visitor = visitor("bob", Mode::Watch, Protocol::ConsoleV1);
    visitor.start = Start::Screen { size, follows: false };
    rig.attach(&visitor).unwrap()
}

/// The parts of the screen, and the offset at which the output continues.
async fn screen(attachment: &mut Attachment) -> (Vec<Bytes>, u64) {
    let mut parts: Vec<Bytes> = Vec::new();
    let mut announced = None;
    within(async {
        loop {
            if let Some((bytes, offset)) = announced
                && parts.iter().map(Bytes::len).sum::<usize>() as u64 == bytes
            {
                return (parts, offset);
            }
            match (next(attachment).await, announced) {
                (Event::Replay(part), Some(_)) => parts.push(part),
                (Event::Message(ServerMessage::Replay { kind, bytes, offset, .. }), None) => {
                    assert_eq!(kind, ReplayKind::Screen);
                    announced = Some((bytes, offset));
                }
                (Event::Message(_), _) => {}
                (event, _) => panic!("{event:?} before the screen"),
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_large_screen_comes_in_parts_that_every_client_takes() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let rows = "0123456789\r\n".repeat(20_000);
    guest.write_all(rows.as_bytes()).await.unwrap();
    eventually(|| rig.line.describe().offset == rows.len() as u64).await;
    let (parts, offset) = screen(&mut attach(&rig)).await;
    assert_eq!(offset, rows.len() as u64);
    assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= FRAME), "{}", parts.len());
}

#[tokio::test]
async fn thirty_three_attaches_to_a_line_under_a_bomb_cost_one_painting() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let bomb = "\x1b[7m\x1b[2J\x1b[24S".repeat(10_000);
    guest.write_all(bomb.as_bytes()).await.unwrap();
    eventually(|| rig.line.describe().offset == bomb.len() as u64).await;
    let mut sessions: Vec<_> = (0..33).map(|_| attach(&rig)).collect();
    let (first, _) = screen(&mut sessions[0]).await;
    for session in &mut sessions[1..] {
        assert_eq!(screen(session).await.0[0].as_ptr(), first[0].as_ptr(), "painted again");
    }
    let (later, _) = screen(&mut attach(&rig)).await;
    assert_eq!(later[0].as_ptr(), first[0].as_ptr(), "painted again without new output");
    guest.write_all(b"new\r\n").await.unwrap();
    eventually(|| rig.line.describe().offset == bomb.len() as u64 + 5).await;
    let (new, _) = screen(&mut attach(&rig)).await;
    assert!(new.concat().windows(3).any(|window| window == b"new"));
}

#[tokio::test]
async fn each_viewer_sees_the_screen_on_their_own_grid_also_where_they_say_it_after_the_greeting() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let menu = b"\x1b[2J\x1b[1;1Htop\x1b[24;60Hright\x1b[24;1Hbottom row";
    guest.write_all(menu).await.unwrap();
    eventually(|| rig.line.describe().offset == menu.len() as u64).await;
    let small = Size { rows: 5, cols: 40 };
    let (mut says_nothing, _keyboard) = attach_on(&rig, None);
    let (mut in_url, _keyboard) = attach_on(&rig, Some(small));
    let (mut later, keyboard) = attach_on(&rig, None);
    keyboard.resize(small);
    for (session, is_small) in [(&mut in_url, true), (&mut later, true), (&mut says_nothing, false)]
    {
        let painted = String::from_utf8(screen(session).await.0.concat()).unwrap();
        assert!(painted.contains("bottom") && painted.contains("top\r\n"), "{painted}");
        assert_eq!(painted.contains("right"), !is_small, "{painted}");
    }
}

#[tokio::test]
async fn a_screen_waits_a_moment_for_the_grid_that_comes_after_the_greeting() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let menu = b"\x1b[2J\x1b[1;1Htop\x1b[24;60Hright\x1b[24;1Hbottom row";
    guest.write_all(menu).await.unwrap();
    eventually(|| rig.line.describe().offset == menu.len() as u64).await;
    let (mut session, keyboard) = attach_on(&rig, None);
    tokio::time::pause();
    // Half the time that a viewer has.
    let half = Duration::from_millis(50);
    while let Ok(event) = tokio::time::timeout(half, next(&mut session)).await {
        let is_screen =
            matches!(event, Event::Replay(_) | Event::Message(ServerMessage::Replay { .. }));
        assert!(!is_screen, "{event:?} before the grid");
    }
    tokio::time::resume();
    keyboard.resize(Size { rows: 5, cols: 40 });
    let painted = String::from_utf8(screen(&mut session).await.0.concat()).unwrap();
    assert!(painted.contains("bottom") && !painted.contains("right"), "{painted}");
}

#[tokio::test]
async fn who_shows_the_writer_s_grid_gets_the_screen_on_it_while_another_writes() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (_writer, keyboard) = rig.attach(&writer("alice")).unwrap();
    keyboard.resize(Size { rows: 24, cols: 20 });
    let text = b"0123456789abcdefghijklmno \x1b[D";
    guest.write_all(text).await.unwrap();
    eventually(|| rig.line.describe().offset == text.len() as u64).await;
    for (follows, wraps) in [(true, true), (false, false)] {
        let mut visitor = visitor("bob", Mode::Watch, Protocol::ConsoleV1);
        visitor.start = Start::Screen { size: Some(Size { rows: 24, cols: 80 }), follows };
        let (mut session, _keyboard) = rig.attach(&visitor).unwrap();
        let painted = String::from_utf8(screen(&mut session).await.0.concat()).unwrap();
        // The column of the cursor shows whether the text wrapped.
        assert_eq!(painted.contains("\x1b[5C"), wraps, "{painted}");
    }
}

#[tokio::test]
async fn a_screen_is_painted_without_the_state_of_the_boot_before() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"\x1b[?1049h\x1b[?1003h\x1b(0\x1b[41mqqq").await.unwrap();
    eventually(|| rig.line.describe().offset > 0).await;
    let before = rig.line.describe().offset;
    rig.line.guest_started(true);
    guest.write_all(b"qqq login: ").await.unwrap();
    eventually(|| rig.line.describe().offset == before + 11).await;
    let painted = String::from_utf8(screen(&mut attach(&rig)).await.0.concat()).unwrap();
    assert!(painted.contains("qqq login:"), "{painted}");
    for left in ["1049", "1003", "(0", "41m"] {
        assert!(!painted.contains(left), "{left} is left in {painted}");
    }
}

#[tokio::test]
async fn a_screen_is_painted_as_the_line_s_terminals_are_set_up() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let line_feed = Some(LineFeed::NewLine);
    rig.line.guest_wants(TerminalSettings { line_feed, ..TerminalSettings::default() });
    guest.write_all(b"Switch 1\npassword: ").await.unwrap();
    eventually(|| rig.line.describe().offset == 19).await;
    let painted = String::from_utf8(screen(&mut attach(&rig)).await.0.concat()).unwrap();
    assert!(painted.ends_with("Switch 1\r\npassword: "), "{painted}");
}

#[tokio::test]
async fn who_attaches_while_the_guest_prints_sees_each_byte_behind_the_screen_once() {
    const ROWS: usize = 40_000;
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let printed: String = (0..ROWS).map(|row| format!("row {row:010}\r\n")).collect();
    let all = printed.clone().into_bytes();
    let printing = tokio::spawn(async move {
        for rows in all.chunks(160) {
            guest.write_all(rows).await.unwrap();
            tokio::task::yield_now().await;
        }
        guest
    });
    let mut readers = Vec::new();
    for part in 1..20 {
        eventually(|| rig.line.describe().offset >= (part * printed.len() / 40) as u64).await;
        let mut session = attach(&rig);
        let printed = printed.clone();
        readers.push(tokio::spawn(async move {
            let (screen, offset) = screen(&mut session).await;
            let screen = screen.concat();
            let mut at = usize::try_from(offset).unwrap();
            let newest = printed[..at].rsplit("\r\n").nth(1).unwrap().as_bytes();
            assert!(screen.windows(newest.len()).any(|window| window == newest));
            while at < printed.len() {
                match within(next(&mut session)).await {
                    Event::Replay(bytes) => {
                        assert_eq!(bytes, printed.as_bytes()[at..at + bytes.len()]);
                        at += bytes.len();
                    }
                    Event::Message(ServerMessage::Gap { .. }) => panic!("a gap"),
                    Event::Message(_) | Event::Output => {}
                    Event::Ended(close) => panic!("{close:?}"),
                }
            }
        }));
    }
    within(printing).await.unwrap();
    for reader in readers {
        within(reader).await.unwrap();
    }
}
