//! The line connects to its own guest, and knows what output it missed.

use std::any::Any;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serialproxy_line::Claims;
use serialproxy_line::Halt;
use serialproxy_line::Line;
use serialproxy_line::Lines;
use serialproxy_line::Resolve;
use serialproxy_line::Settings;
use serialproxy_line::Start;
use serialproxy_line::Unresolved;
use serialproxy_line::Visitor;
use serialproxy_line::Wanted;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::Status;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::compute::BoxFuture;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::net::UnixStream;

use crate::rig::PATIENCE;
use crate::rig::PROJECT;
use crate::rig::Rig;
use crate::rig::end;
use crate::rig::endpoint;
use crate::rig::eventually;
use crate::rig::hello;
use crate::rig::output_until;
use crate::rig::visitor;
use crate::rig::within;
use crate::rig::writer;
use crate::transports::Directory;
use crate::transports::pty;
use crate::transports::unix_guest;

/// A hypervisor that serves one client at a time, as QEMU does.
#[derive(Debug)]
struct Qemu {
    at: Endpoint,
    serves: Mutex<Option<Box<dyn Any + Send>>>,
    log: Option<&'static [u8]>,
    cleared: AtomicU64,
}

impl Resolve for Qemu {
    fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
        Box::pin(async { Ok(self.at.clone()) })
    }

    fn clear(&self, _: LineKey) -> BoxFuture<'_, Result<(), String>> {
        self.serves.lock().unwrap().take();
        self.cleared.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }

    fn kept(&self, _: LineKey, most: usize) -> BoxFuture<'_, Option<Vec<u8>>> {
        let kept = self.log.map(|log| log.iter().take(most).copied().collect());
        Box::pin(async { kept })
    }
}

async fn qemu(log: Option<&'static [u8]>) -> (Line, TcpListener, Arc<Qemu>) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let qemu = Qemu { at: endpoint(&port), serves: Mutex::default(), log, cleared: 0.into() };
    let qemu = Arc::new(qemu);
    let (_, line) = process(&qemu, Claims::default());
    (line, port, qemu)
}

/// A process that serves this guest's lines.
fn process(qemu: &Arc<Qemu>, claims: Claims) -> (Lines, Line) {
    let server = ServerRef { id: ServerId::of_static("rig"), name: "rig".into() };
    let settings = Settings { claims: Arc::new(claims), ..Settings::default() };
    let lines = Lines::new(settings, vec![tokio::runtime::Handle::current()]);
    let line = lines.add(&server, Some(PROJECT), 0, Arc::clone(qemu) as Arc<dyn Resolve>);
    (lines, line)
}

#[tokio::test]
async fn a_stranger_who_holds_the_port_is_hung_up_on_when_somebody_asks_for_the_line() {
    let (_, port, qemu) = qemu(None).await;
    let directory = Directory::new();
    let (_lines, line) = process(&qemu, Claims::new(&directory.join("lines")));
    let mut stranger = TcpStream::connect(port.local_addr().unwrap()).await.unwrap();
    *qemu.serves.lock().unwrap() = Some(Box::new(port.accept().await.unwrap().0));
    line.guest_running();
    eventually(|| line.describe().reason.starts_with("another program holds 127.0.0.1:")).await;
    assert_eq!(qemu.cleared.load(Ordering::Relaxed), 0, "nobody asked");
    line.attach(&writer("alice")).unwrap_err();
    assert_eq!(within(stranger.read(&mut [0; 1])).await.unwrap(), 0);
    let mut guest = within(async {
        loop {
            // The connections of earlier attempts have ended.
            let (guest, _) = port.accept().await.unwrap();
            let mut byte = [0];
            let closed = tokio::time::timeout(Duration::from_millis(50), guest.peek(&mut byte));
            if closed.await.is_err() {
                return guest;
            }
        }
    })
    .await;
    assert!(line.connected(PATIENCE).await);
    let reason = line.describe().reason;
    assert!(reason.starts_with("connected; after hanging up on another program"), "{reason}");
    guest.write_all(b"x").await.unwrap();
    eventually(|| line.describe().bytes_out == 1).await;
}

#[tokio::test]
async fn a_stranger_on_a_unix_socket_is_hung_up_on_when_somebody_asks_for_the_line() {
    let directory = Directory::new();
    let path = directory.join("port");
    let listener = UnixListener::bind(&path).unwrap();
    let (at, serves) = (Endpoint::Unix(path.clone()), Mutex::default());
    let qemu = Arc::new(Qemu { at, serves, log: None, cleared: 0.into() });
    let (_lines, line) = process(&qemu, Claims::new(&directory.join("lines")));
    let mut stranger = UnixStream::connect(&path).await.unwrap();
    *qemu.serves.lock().unwrap() = Some(Box::new(listener.accept().await.unwrap().0));
    line.guest_running();
    eventually(|| line.describe().reason.starts_with("another program holds the guest's socket"))
        .await;
    assert_eq!(qemu.cleared.load(Ordering::Relaxed), 0, "nobody asked");
    line.attach(&writer("alice")).unwrap_err();
    assert_eq!(within(stranger.read(&mut [0; 1])).await.unwrap(), 0);
    let accepts = async {
        loop {
            let _waited = listener.accept().await.unwrap();
            // The connections of earlier attempts have ended.
            if line.connected(Duration::from_millis(50)).await {
                return;
            }
        }
    };
    within(accepts).await;
}

#[tokio::test]
async fn where_nobody_can_hang_up_on_the_stranger_the_line_says_so() {
    let rig = Rig::new().await;
    let _stranger = TcpStream::connect(rig.port.local_addr().unwrap()).await.unwrap();
    let _served = rig.port.accept().await.unwrap();
    rig.line.guest_started(true);
    is_held(&rig, "127.0.0.1:", std::process::id()).await;
}

/// Waits until the line's state says that this process holds its port, and that all clients are
/// refused.
async fn is_held(rig: &Rig, port: &str, pid: u32) {
    let reason = || rig.line.describe().reason;
    let is_named = || {
        let reason = reason();
        reason.starts_with(&format!("another program holds {port}"))
            && reason.ends_with(&format!(" (pid {pid})"))
    };
    // The process's name may be known a moment later.
    eventually(is_named).await;
    let line = rig.line.describe();
    assert_eq!((line.state, line.cause), (LineState::Failed, Some(Cause::Held)));
    let reason = reason();
    for protocol in [Protocol::Raw, Protocol::ConsoleV1] {
        let refusal = rig.attach(&visitor("alice", Mode::Write, protocol)).unwrap_err();
        assert!(matches!(&refusal, Refusal::Held(why) if *why == reason), "{refusal}");
    }
}

#[tokio::test]
async fn a_unix_socket_that_another_program_holds_is_told_of_and_gets_nothing_later() {
    let rig = Rig::new().await;
    let directory = Directory::new();
    let path = directory.join("port");
    let listener = UnixListener::bind(&path).unwrap();
    let stranger = UnixStream::connect(&path).await.unwrap();
    let (served, _) = listener.accept().await.unwrap();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Unix(path));
    rig.line.guest_started(true);
    is_held(&rig, "the guest's socket", std::process::id()).await;
    drop((stranger, served));
    // Waiting connections have ended, and the remaining one brought no output.
    let connected = async {
        while !rig.line.connected(Duration::from_millis(50)).await {
            while let Ok(Ok((mut waited, _))) =
                tokio::time::timeout(Duration::from_millis(50), listener.accept()).await
            {
                let mut byte = [0];
                let read = waited.read(&mut byte);
                if tokio::time::timeout(Duration::from_millis(50), read).await.is_err() {
                    return waited;
                }
                assert_eq!(byte, [0], "something came late");
            }
        }
        panic!("connected by a port that nobody serves");
    };
    let _guest = within(connected).await;
    assert!(rig.line.connected(PATIENCE).await);
}

#[tokio::test]
async fn a_pseudo_terminal_that_another_program_has_open_is_told_of_until_it_leaves() {
    let rig = Rig::new().await;
    let (_hypervisor, path) = pty();
    let open = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("60").stdin(open).spawn().unwrap();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Pty(path));
    rig.line.guest_started(true);
    is_held(&rig, "the guest's pseudo-terminal: sleep", stranger.id()).await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(rig.line.connected(PATIENCE).await);
}

#[tokio::test]
async fn a_pseudo_terminal_that_another_program_opens_later_is_told_of_until_it_leaves() {
    let rig = Rig::new().await;
    let (_hypervisor, path) = pty();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Pty(path.clone()));
    rig.line.guest_started(true);
    assert!(rig.line.connected(PATIENCE).await);
    let (mut session, keyboard) = rig.attach(&writer("alice")).unwrap();
    let open = format!("exec sleep 60 <>{}", path.display());
    let mut stranger = std::process::Command::new("sh").args(["-c", &open]).spawn().unwrap();
    if stranger.try_wait().unwrap().is_some() {
        return; // Nobody but root opens it beside us.
    }
    is_held(&rig, "the guest's pseudo-terminal: ", stranger.id()).await;
    assert_eq!(end(&mut session).await, CloseCode::Unreachable);
    keyboard.write(b"nobody gets this");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(rig.line.connected(PATIENCE).await);
}

#[tokio::test]
async fn what_somebody_else_kept_of_the_boot_comes_first_and_nothing_twice() {
    let (line, port, _qemu) = qemu(Some(b"firmware\nkernel\nlo")).await;
    line.guest_started(false);
    let (mut guest, _) = within(port.accept()).await.unwrap();
    guest.write_all(b"kernel\nlogin: ").await.unwrap();
    eventually(|| line.describe().offset >= 23).await;
    let output = line.output(0, 1000).bytes;
    assert_eq!(output.escape_ascii().to_string(), "firmware\\nkernel\\nlogin: ");
    assert_eq!(line.describe().reason, "connected");
}

#[tokio::test]
async fn where_nobody_kept_it_the_line_says_that_it_is_not_known() {
    let (line, port, _qemu) = qemu(None).await;
    line.guest_running();
    let _guest = within(port.accept()).await.unwrap();
    assert!(line.connected(PATIENCE).await);
    let reason = line.describe().reason;
    assert_eq!(reason, "connected; earlier output of the guest is not available");
}

#[tokio::test]
async fn a_guest_that_waits_for_its_line_has_missed_nothing() {
    let (line, port, _qemu) = qemu(Some(b"of an earlier boot")).await;
    line.guest_started(true);
    let _guest = within(port.accept()).await.unwrap();
    assert!(line.connected(PATIENCE).await);
    assert_eq!(line.describe().reason, "connected");
    assert_eq!(line.describe().offset, 0);
}

#[tokio::test]
async fn a_guest_that_moved_is_followed() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    let (mut session, _keyboard) = rig.attach(&writer("alice")).unwrap();
    let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
    *rig.told.0.lock().unwrap() = Ok(endpoint(&there));
    rig.line.guest_moved();
    assert!(!rig.line.connected(Duration::ZERO).await, "who comes now waits for the other port");
    assert_eq!(within(guest.read(&mut [0])).await.unwrap(), 0, "the old port is let go");
    assert_eq!(end(&mut session).await, CloseCode::Normal);
    within(there.accept()).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
}

#[tokio::test]
async fn of_two_processes_one_serves_a_line_and_the_other_takes_it_over_when_that_ends() {
    let (_, port, qemu) = qemu(None).await;
    let directory = Directory::new();
    let claims = || Claims::new(&directory.join("lines"));
    let ((first, mine), (_second, theirs)) = (process(&qemu, claims()), process(&qemu, claims()));
    mine.guest_running();
    let (mut guest, _) = within(port.accept()).await.unwrap();
    *qemu.serves.lock().unwrap() = Some(Box::new(guest));
    assert!(mine.connected(PATIENCE).await);
    theirs.guest_running();
    let reason = format!("served by another serialproxy (pid {})", std::process::id());
    eventually(|| theirs.describe().reason == reason).await;
    assert_eq!(theirs.describe().state, LineState::Failed);
    for protocol in [Protocol::Raw, Protocol::ConsoleV1] {
        let refused = theirs.attach(&visitor("alice", Mode::Write, protocol)).unwrap_err();
        assert_eq!(refused.to_string(), format!("held: {reason}"));
    }
    assert_eq!(qemu.cleared.load(Ordering::Relaxed), 0);
    assert!(mine.connected(Duration::ZERO).await, "the claimed line was left alone");
    within(first.close()).await;
    (guest, _) = within(port.accept()).await.unwrap();
    assert!(theirs.connected(PATIENCE).await);
    guest.write_all(b"x").await.unwrap();
    eventually(|| theirs.describe().bytes_out == 1).await;
}

#[tokio::test]
async fn a_guest_that_stops_is_claimed_by_who_starts_it() {
    let (_, port, qemu) = qemu(None).await;
    let directory = Directory::new();
    let claims = || Claims::new(&directory.join("lines"));
    let ((_first, mine), (_second, theirs)) = (process(&qemu, claims()), process(&qemu, claims()));
    for line in [&mine, &theirs] {
        line.guest_running();
        let _guest = within(port.accept()).await.unwrap();
        assert!(line.connected(PATIENCE).await);
        line.guest_stopped(Status::Shutoff);
    }
}

#[tokio::test]
async fn a_guest_that_waits_for_its_lines_is_claimed_by_the_process_that_started_it() {
    let (_, port, qemu) = qemu(None).await;
    let directory = Directory::new();
    let claims = || Claims::new(&directory.join("lines"));
    let ((_first, mine), (_second, theirs)) = (process(&qemu, claims()), process(&qemu, claims()));
    // The event reaches the other process first.
    theirs.guest_started(true);
    tokio::task::yield_now().await;
    mine.guest_started(true);
    let (connected, _guest) = tokio::join!(mine.connected(PATIENCE), within(port.accept()));
    assert!(connected);
    eventually(|| theirs.describe().reason.starts_with("served by another serialproxy")).await;
}

#[tokio::test]
async fn who_waited_for_the_connection_sees_it_from_its_first_byte_on() {
    let rig = Rig::new().await;
    rig.line.guest_started(true);
    let (mut guest, _) = within(rig.port.accept()).await.unwrap();
    guest.write_all(b"welcome\r\n").await.unwrap();
    eventually(|| rig.line.describe().bytes_out == 9).await;
    let waited = Visitor { start: Start::Connection, ..writer("alice") };
    let (mut session, _keyboard) = rig.attach(&waited).unwrap();
    assert_eq!(output_until(&mut session, b"\n").await, b"welcome\r\n");
    guest.write_all(b"login: ").await.unwrap();
    assert_eq!(output_until(&mut session, b": ").await, b"login: ");
}

#[tokio::test]
async fn what_a_port_says_before_it_hangs_up_is_seen() {
    let rig = Rig::new().await;
    rig.line.guest_started(true);
    let (mut guest, _) = within(rig.port.accept()).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
    let waited = Visitor { start: Start::Connection, ..writer("alice") };
    let (mut session, _keyboard) = rig.attach(&waited).unwrap();
    guest.write_all(b"busy\r\n").await.unwrap();
    drop(guest);
    eventually(|| !rig.line.describe().reason.starts_with("connected")).await;
    assert_eq!(output_until(&mut session, b"\n").await, b"busy\r\n");
    assert_eq!(end(&mut session).await, CloseCode::Normal);
}

#[tokio::test]
async fn what_a_port_said_before_it_hung_up_waits_for_a_client_that_is_busy() {
    let rig = Rig::new().await;
    rig.line.guest_started(true);
    let (mut guest, _) = within(rig.port.accept()).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
    let (mut session, _keyboard) = rig.attach(&writer("alice")).unwrap();
    guest.write_all(b"last words\r\n").await.unwrap();
    drop(guest);
    eventually(|| !rig.line.describe().reason.starts_with("connected")).await;
    // Its socket is full: it can only be told of its end.
    let told = session.next(Wanted::End);
    assert!(tokio::time::timeout(Duration::from_millis(20), told).await.is_err());
    assert_eq!(output_until(&mut session, b"\n").await, b"last words\r\n");
    assert_eq!(end(&mut session).await, CloseCode::Normal);
}

#[tokio::test]
async fn a_line_without_a_connection_has_no_first_byte_of_one_to_show() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await;
    guest.write_all(b"old").await.unwrap();
    eventually(|| rig.line.describe().bytes_out == 3).await;
    rig.line.guest_stopped(Status::Shutoff);
    drop(guest);
    eventually(|| rig.line.describe().reason.starts_with("the server")).await;
    let waits = Visitor {
        start: Start::Connection,
        wait: true,
        ..visitor("alice", Mode::Write, Protocol::ConsoleV1)
    };
    let (mut session, _keyboard) = rig.attach(&waits).unwrap();
    assert_eq!(hello(&mut session).await.offset, 3);
}

#[tokio::test]
async fn a_port_that_breaks_off_while_input_waits_is_heard_to_its_end() {
    let rig = Rig::new().await;
    let directory = Directory::new();
    let mut guest = unix_guest(&rig, &directory.join("port")).await;
    let (mut session, keyboard) = rig.attach(&writer("alice")).unwrap();
    keyboard.write(&[b'x'; 3000]);
    guest.write_all(b"last words\r\n").await.unwrap();
    drop(guest);
    assert_eq!(output_until(&mut session, b"\n").await, b"last words\r\n");
}

#[tokio::test]
async fn a_guest_that_crashed_is_told_apart_from_one_that_resumes() {
    let rig = Rig::new().await;
    let _guest = rig.boot().await;
    for (halt, cause, then) in [
        (Halt::Paused("the guest sleeps"), Cause::Paused, "the guest sleeps: what is typed waits"),
        (Halt::Crashed, Cause::Crashed, "the guest crashed: it does not read what is typed"),
    ] {
        rig.line.guest_halted(Some(halt));
        let line = rig.line.describe();
        assert_eq!(line.cause, Some(cause));
        assert!(line.reason.contains(then), "{}", line.reason);
    }
    rig.line.guest_halted(None);
    assert_eq!(rig.line.describe().cause, None);
}
