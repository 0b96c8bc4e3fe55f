//! The boots of a line, and when its output arrived.

use std::cell::RefCell;

use jiff::Timestamp;
use serialproxy_line::Start;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::console::BootReason;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncWriteExt;

use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::message;
use crate::rig::visitor;

/// Prints, and waits until the line has it.
async fn print(rig: &Rig, guest: &mut tokio::net::TcpStream, text: &[u8]) {
    let end = rig.line.describe().offset + text.len() as u64;
    guest.write_all(text).await.unwrap();
    eventually(|| rig.line.describe().offset == end).await;
}

#[tokio::test]
async fn each_boot_has_its_place_time_reason_and_kernel() {
    let rig = Rig::new().await;
    let before = Timestamp::now();
    let mut guest = rig.boot().await;
    assert_eq!(rig.line.boots().boots[0].kernel, None, "it has printed nothing");
    print(&rig, &mut guest, b"SeaBIOS\r\n[    0.0] Linux version 6.1.0-37-amd64 (gcc)\r\n").await;
    rig.line.guest_rebooted();
    let second = rig.line.describe().offset;
    print(&rig, &mut guest, b"[    0.0] Linux version 6.12.1 (gcc)\r\n").await;
    let boots = rig.line.boots().boots;
    let [one, other] = &boots[..] else { panic!("{boots:?}") };
    assert_eq!((one.epoch, one.offset, one.reason), (1, 0, BootReason::Started));
    assert_eq!((other.epoch, other.offset, other.reason), (2, second, BootReason::Rebooted));
    assert_eq!(one.kernel.as_deref(), Some("6.1.0-37-amd64"));
    assert_eq!(other.kernel.as_deref(), Some("6.12.1"));
    let second = jiff::SignedDuration::from_secs(1);
    assert!(before - second <= one.time && one.time <= other.time, "{boots:?}");
    assert!(other.time <= Timestamp::now());
}

#[tokio::test]
async fn a_line_whose_guest_was_found_running_has_no_boots_but_times() {
    let rig = Rig::new().await;
    rig.line.guest_running();
    let (mut guest, _) = rig.port.accept().await.unwrap();
    print(&rig, &mut guest, b"switch>").await;
    assert_eq!(rig.line.boots().boots, []);
    assert!(rig.line.times(0, 7).times[0].time.is_some());
}

#[tokio::test]
async fn a_guest_that_boots_again_and_again_leaves_its_last_boots_and_little_memory() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    for _ in 0..100 {
        print(&rig, &mut guest, b"SeaBIOS\r\n").await;
        rig.line.guest_rebooted();
    }
    let boots = rig.line.boots().boots;
    assert_eq!(boots.len(), 32);
    assert_eq!(boots.last().map(|boot| boot.epoch), Some(101));
}

#[tokio::test]
async fn output_has_the_time_at_which_it_arrived_to_ten_milliseconds() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let mut printed = Vec::new();
    for _ in 0..5 {
        let from = rig.line.describe().offset;
        let before = Timestamp::now();
        print(&rig, &mut guest, b"a row of output\r\n").await;
        printed.push((from, before, Timestamp::now()));
        let later = Timestamp::now() + jiff::SignedDuration::from_millis(25);
        eventually(|| Timestamp::now() > later).await;
    }
    let times = rig.line.times(0, u64::MAX);
    assert_eq!((times.from, times.to), (0, rig.line.describe().offset));
    let slack = jiff::SignedDuration::from_millis(11);
    for (from, before, after) in printed {
        let arrival = times.times.iter().rev().find(|arrival| arrival.offset <= from).unwrap();
        let time = arrival.time.unwrap();
        assert!(before - slack <= time && time <= after, "{from}: {before} {time} {after}");
    }
    let part = rig.line.times(20, 40);
    assert_eq!((part.from, part.to, part.times[0].offset), (20, 40, 20));
    assert_eq!(part.times.last().unwrap().offset, 34, "the third row begins there");
}

#[tokio::test]
async fn a_flood_has_few_times_and_those_of_dropped_output_are_gone() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let total = 8 * 1024 * 1024;
    guest.write_all(&vec![b'x'; total]).await.unwrap();
    eventually(|| rig.line.describe().offset == total as u64).await;
    let times = rig.line.times(0, u64::MAX);
    assert_eq!(times.to, total as u64);
    assert!(times.times.len() < 100, "{}", times.times.len());
    let gap = rig.line.times(200_000, 300_000);
    assert_eq!((gap.to, gap.times.len()), (300_000, 0), "that is not kept");
    assert!(rig.line.times(total as u64 - 1, u64::MAX).times[0].time.is_some());
}

#[tokio::test]
async fn a_painted_screen_says_where_each_boot_begins() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    print(&rig, &mut guest, &b"first boot\r\n".repeat(30)).await;
    rig.line.guest_rebooted();
    rig.line.guest_rebooted();
    print(&rig, &mut guest, b"\x1b[31mthird boot\r\n").await;
    rig.line.guest_rebooted();
    let start = Start::Screen { size: None, follows: false };
    let alice = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    let alice = serialproxy_line::Visitor { start, ..alice };
    let (mut attachment, _keyboard) = rig.attach(&alice).unwrap();
    let mut painted = Vec::new();
    let begun = RefCell::new(Vec::new());
    message(&mut attachment, |message| match message {
        ServerMessage::Replay { boots, from, .. } => {
            assert_eq!(*from, Some(0));
            begun.borrow_mut().clone_from(boots);
            true
        }
        _ => false,
    })
    .await;
    crate::rig::within(async {
        while let serialproxy_line::Event::Replay(bytes) =
            attachment.next(serialproxy_line::Wanted::Output).await
        {
            painted.extend_from_slice(&bytes);
            if painted.windows(5).any(|window| window == b"third") {
                break;
            }
        }
    })
    .await;
    let painted = String::from_utf8(painted).unwrap();
    let begun = begun.into_inner();
    let after = |epoch| {
        let boot = begun.iter().find(|boot| boot.epoch == epoch).unwrap();
        &painted[usize::try_from(boot.at).unwrap()..]
    };
    assert!(after(1).starts_with("\x1b[0mfirst boot\r\nfirst boot"));
    for epoch in [2, 3] {
        assert!(after(epoch).starts_with("\x1b[0m\x1b[0;31mthird boot\r\n"), "{:?}", after(epoch));
    }
    assert!(!after(4).contains("boot"), "{:?}", after(4));
    assert!(painted.contains("first boot\r\n\x1b[0m\x1b[0;31mthird"));
}
