//! A port to which the hypervisor connects; this process simulates the hypervisor.

use std::process::Command;
use std::sync::Arc;

use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_line::Unresolved;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::Status;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::endpoint::EndpointKind;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::rig::PATIENCE;
use crate::rig::PROJECT;
use crate::rig::eventually;
use crate::rig::output_until;
use crate::rig::visitor;
use crate::rig::within;

/// A guest whose hypervisor is this process, which connects to the line.
#[derive(Debug)]
struct Guest(Endpoint);

impl Resolve for Guest {
    fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn is_guest(&self, _: LineKey, pid: u32) -> BoxFuture<'_, bool> {
        Box::pin(async move { pid == std::process::id() })
    }
}

/// A free port of the loopback, and the line that listens there.
async fn rig(host: &str, telnet: bool) -> (Lines, Line, String) {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let incoming = Endpoint::Incoming { host: host.into(), port: free.port(), telnet };
    let (lines, line) = line(incoming.clone());
    line.guest_connects_to(Some(incoming));
    (lines, line, free.to_string())
}

fn line(at: Endpoint) -> (Lines, Line) {
    let lines = Lines::new(Settings::default(), vec![tokio::runtime::Handle::current()]);
    let server = ServerRef { id: ServerId::of_static("rig"), name: "rig".into() };
    let line = lines.add(&server, Some(PROJECT), 0, Arc::new(Guest(at)));
    (lines, line)
}

/// Connects as soon as a process listens there.
async fn connect(address: &str) -> TcpStream {
    within(async {
        loop {
            match TcpStream::connect(address).await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

/// Another process that connects as soon as it can, types, and ends when it is disconnected; its
/// id.
async fn stranger(address: &str) -> u32 {
    let (host, port) = address.rsplit_once(':').unwrap();
    let script = format!(
        "until {{ exec 3<>/dev/tcp/{host}/{port}; }} 2>/dev/null; do :; done
         echo harm >&3; read -r line <&3"
    );
    let mut bash = Command::new("bash").args(["-c", &script]).spawn().unwrap();
    let pid = bash.id();
    within(tokio::task::spawn_blocking(move || bash.wait().unwrap())).await.unwrap();
    pid
}

async fn every_byte_passes_from_whom_connects(telnet: bool) {
    let (_lines, line, address) = rig("127.0.0.1", telnet).await;
    // The hypervisor connects before the line knows that the guest runs.
    let mut guest = connect(&address).await;
    guest.write_all(b"firmware\n").await.unwrap();
    line.guest_started(false);
    assert!(line.connected(PATIENCE).await);
    assert_eq!(line.describe().reason, "connected", "nothing was printed before");
    let endpoint = line.describe().endpoint.unwrap();
    assert_eq!((endpoint.kind(), endpoint.address()), (EndpointKind::Incoming, address.clone()));
    let mut visitor = visitor("alice", Mode::Write, Protocol::ConsoleV1);
    visitor.start = Start::Oldest;
    let (mut attachment, keyboard) = line.attach(&visitor).unwrap();
    let all: Vec<u8> = (0..=254).cycle().take(100_000).collect();
    guest.write_all(&all).await.unwrap();
    let output = output_until(&mut attachment, &all).await;
    assert_eq!(output, [b"firmware\n", &*all].concat());
    keyboard.write(&all);
    let mut typed = vec![0; all.len()];
    within(guest.read_exact(&mut typed)).await.unwrap();
    assert_eq!(typed, all);
    // It connects again, as with <reconnect>.
    drop(guest);
    eventually(|| line.describe().state != LineState::Connected).await;
    let mut guest = connect(&address).await;
    guest.write_all(b"again").await.unwrap();
    assert_eq!(output_until(&mut attachment, b"again").await, b"again");
}

#[tokio::test]
async fn every_byte_passes_from_a_hypervisor_that_connects() {
    every_byte_passes_from_whom_connects(false).await;
}

#[tokio::test]
async fn every_byte_passes_from_a_hypervisor_that_connects_and_speaks_telnet() {
    every_byte_passes_from_whom_connects(true).await;
}

#[tokio::test]
async fn whoever_else_connects_is_hung_up_on_and_named_and_the_guest_is_still_let_in() {
    let (_lines, line, address) = rig("127.0.0.1", false).await;
    stranger(&address).await;
    line.guest_running();
    let pid = stranger(&address).await;
    let said = format!("bash (pid {pid}) did, which is not the guest's QEMU");
    eventually(|| line.describe().reason.contains(&said)).await;
    let described = line.describe();
    assert_eq!((described.state, described.cause), (LineState::Failed, Some(Cause::Unreachable)));
    assert!(described.reason.starts_with(&format!("QEMU has not connected to {address}")));
    let _guest = connect(&address).await;
    assert!(line.connected(PATIENCE).await);
    assert_eq!(line.describe().bytes_out, 0, "nothing of the stranger's is there");
}

#[tokio::test]
async fn a_start_that_failed_leaves_the_port_to_the_next() {
    let (_lines, line, address) = rig("127.0.0.1", false).await;
    let failed = connect(&address).await;
    // It has been accepted, or is still being identified.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(failed);
    let mut guest = connect(&address).await;
    guest.write_all(b"firmware\n").await.unwrap();
    line.guest_started(false);
    assert!(line.connected(PATIENCE).await);
    eventually(|| line.describe().bytes_out == 9).await;
    assert_eq!(line.describe().reason, "connected");
}

#[tokio::test]
async fn a_stopped_guest_that_connects_nowhere_any_more_has_no_port_of_ours() {
    let (_lines, line, address) = rig("127.0.0.1", false).await;
    drop(connect(&address).await);
    line.guest_connects_to(None);
    line.guest_stopped(Status::Shutoff);
    eventually(|| std::net::TcpListener::bind(&address).is_ok()).await;
}

#[tokio::test]
async fn where_another_program_listens_or_the_address_is_not_ours_the_line_says_so() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let host = address.ip().to_string();
    let (_lines, taken) = line(Endpoint::Incoming { host, port: address.port(), telnet: false });
    taken.guest_running();
    let said = format!("QEMU connects to {address}, where another program listens: ");
    eventually(|| taken.describe().reason.starts_with(&said)).await;
    let described = taken.describe();
    assert!(described.reason.ends_with(&format!("(pid {})", std::process::id())));
    assert_eq!(described.cause, Some(Cause::Held));
    drop(other);
    let _guest = connect(&address.to_string()).await;
    assert!(taken.connected(PATIENCE).await);

    let host = "192.0.2.1".into();
    let (_lines, elsewhere) = line(Endpoint::Incoming { host, port: 7, telnet: false });
    elsewhere.guest_running();
    let said = "QEMU connects to 192.0.2.1:7, which is no address of this host: use mode='bind'";
    eventually(|| elsewhere.describe().reason.starts_with(said)).await;
}
