//! After the pen was taken by force, the guest gets little more of the old writer's input, over any
//! transport.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_line::Keyboard;
use serialproxy_line::Settings;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::rig::PATIENCE;
use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::visitor;
use crate::rig::within;
use crate::transports::Directory;
use crate::transports::pty;
use crate::transports::tls_rig;
use crate::transports::unix_guest;

/// What a UART of 115,200 baud reads in one and a half milliseconds.
const FIFO: usize = 16;
const UART: Duration = Duration::from_micros(1400);

/// Types whenever there is room, while the session may type.
async fn flood(keyboard: Keyboard, byte: u8) {
    while keyboard.writes() {
        keyboard.room().await;
        keyboard.write(&[byte; 16 * 1024]);
        tokio::task::yield_now().await;
    }
}

/// Alice floods a guest that reads `before` bytes and then stops. Bob takes the pen by force.
/// Returns how many bytes of hers arrive after that. All of his input arrives.
async fn bytes_behind_the_fence(
    rig: &Rig,
    guest: &mut (impl AsyncRead + Unpin),
    before: usize,
    pause: Duration,
) -> usize {
    let (_alice, alices) = rig.attach(&visitor("alice", Mode::Write, Protocol::ConsoleV1)).unwrap();
    let (_bob, bobs) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    let flood = tokio::spawn(flood(alices, b'a'));
    let mut uart = tokio::time::interval(pause.max(Duration::from_nanos(1)));
    // A UART that was late does not catch up.
    uart.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fifo = [0; FIFO];
    for _ in 0..before / FIFO {
        if !pause.is_zero() {
            uart.tick().await;
        }
        within(guest.read_exact(&mut fifo)).await.unwrap();
    }
    eventually(|| rig.line.describe().bytes_in > before as u64).await;
    bobs.force_pen(None, Timestamp::UNIX_EPOCH).unwrap();
    within(flood).await.unwrap();
    let typed: Vec<u8> = (0..20_000u32).map(|n| b'0' + n.to_le_bytes()[0] % 10).collect();
    bobs.write(&typed);
    let mut arrived = 0;
    let first = within(async {
        loop {
            match guest.read_u8().await.unwrap() {
                b'a' => arrived += 1,
                other => return other,
            }
        }
    })
    .await;
    let mut rest = vec![0; typed.len() - 1];
    within(guest.read_exact(&mut rest)).await.unwrap();
    assert_eq!(([&[first], &*rest].concat()), typed);
    arrived
}

/// A guest behind TLS, which reads one record at a time, as QEMU does.
async fn tls_guest() -> (Rig, TlsStream<TcpStream>) {
    let (rig, server) = tls_rig().await;
    let (guest, _) = within(rig.port.accept()).await.unwrap();
    let guest = within(TlsAcceptor::from(server).accept(guest)).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
    (rig, guest)
}

#[tokio::test]
async fn a_stalled_port_gets_512_bytes_after_a_take_over_over_tcp() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let arrived = bytes_behind_the_fence(&rig, &mut guest, 0, UART).await;
    assert!((1..=512).contains(&arrived), "{arrived}");
}

#[tokio::test]
async fn a_uart_gets_512_bytes_after_a_take_over_over_tcp() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let arrived = bytes_behind_the_fence(&rig, &mut guest, 4096, UART).await;
    assert!((1..=512).contains(&arrived), "{arrived}");
}

#[tokio::test]
async fn a_fast_port_gets_64_kib_at_most_after_a_take_over() {
    let rig = Rig::new().await;
    let guest = rig.boot().await;
    let mut guest = BufReader::with_capacity(16 * 1024, guest);
    let before = 4 * 1024 * 1024;
    let arrived = bytes_behind_the_fence(&rig, &mut guest, before, Duration::ZERO).await;
    // The reader has already read some of it.
    assert!((1..=(64 + 16) * 1024).contains(&arrived), "{arrived}");
}

#[tokio::test]
async fn a_stalled_port_gets_512_bytes_after_a_take_over_over_tls() {
    let (rig, mut guest) = tls_guest().await;
    let arrived = bytes_behind_the_fence(&rig, &mut guest, 0, UART).await;
    assert!((1..=512).contains(&arrived), "{arrived}");
}

#[tokio::test]
async fn a_uart_gets_512_bytes_after_a_take_over_over_tls() {
    let (rig, mut guest) = tls_guest().await;
    let arrived = bytes_behind_the_fence(&rig, &mut guest, 4096, UART).await;
    // The guest's TLS library reads 4 KiB of records at a time.
    let read_ahead = 4096 / 22;
    assert!((1..=512 + read_ahead).contains(&arrived), "{arrived}");
}

#[tokio::test]
async fn a_uart_gets_512_bytes_after_a_take_over_over_a_unix_socket() {
    for before in [0, 4096] {
        let rig = Rig::new().await;
        let directory = Directory::new();
        let mut guest = unix_guest(&rig, &directory.join("port")).await;
        let arrived = bytes_behind_the_fence(&rig, &mut guest, before, UART).await;
        assert!((1..=512).contains(&arrived), "{arrived}");
    }
}

#[tokio::test]
async fn a_pseudo_terminal_keeps_a_page_after_a_take_over() {
    for before in [0, 4096] {
        let rig = Rig::new().await;
        let (fd, path) = pty();
        *rig.told.0.lock().unwrap() = Ok(Endpoint::Pty(path));
        rig.line.guest_started(true);
        assert!(rig.line.connected(PATIENCE).await);
        let mut guest = tokio::fs::File::from_std(std::fs::File::from(fd));
        let arrived = bytes_behind_the_fence(&rig, &mut guest, before, UART).await;
        assert!(arrived <= 4096, "{arrived}");
    }
}

#[tokio::test]
async fn what_was_typed_before_the_pen_was_given_away_arrives_whole() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (_alice, alices) = rig.attach(&visitor("alice", Mode::Write, Protocol::ConsoleV1)).unwrap();
    let (_bob, bobs) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    alices.write(&[b'a'; 50_000]);
    bobs.request_pen(None, Timestamp::UNIX_EPOCH).unwrap();
    alices.grant_pen(Timestamp::UNIX_EPOCH).unwrap();
    bobs.write(b"b");
    let mut typed = vec![0; 50_001];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert!(typed.ends_with(b"ab") && typed.starts_with(&[b'a'; 50_000]));
}

#[tokio::test]
async fn input_in_flight_may_be_a_byte() {
    let settings = Settings { input_in_flight: 1, ..Settings::default() };
    let rig = Arc::new(Rig::with(settings).await);
    let mut guest = rig.boot().await;
    let (_alice, alices) = rig.attach(&visitor("alice", Mode::Write, Protocol::ConsoleV1)).unwrap();
    alices.write(b"root\n");
    let mut typed = [0; 5];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(&typed, b"root\n");
}
