//! When a line reads its guest's output. The clock stands still unless a test turns it on.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustls::ServerConnection;
use rustls::StreamOwned;
use serialproxy_line::Line;
use serialproxy_proto::endpoint::Endpoint;

use crate::rig::PATIENCE;
use crate::rig::Rig;
use crate::rig::within;
use crate::rig::writer;
use crate::transports::Directory;
use crate::transports::pty;
use crate::transports::tls_rig;
use crate::transports::unix_guest;

/// The time between two beats, with a timer's delay.
const BEAT: Duration = Duration::from_millis(5 + 1);

/// How long after a key no output waits for a beat.
const ECHO: Duration = Duration::from_millis(50);

/// After this many turns of all tasks, everything that does not wait for the clock has happened.
const TURNS: u32 = 2000;

/// Waits until the line has this many bytes, while the clock stands still.
async fn gets(line: &Line, bytes: u64) {
    let started = std::time::Instant::now();
    while line.describe().offset < bytes {
        assert!(started.elapsed() < PATIENCE, "byte {bytes} waits for the clock");
        tokio::task::yield_now().await;
    }
}

/// Checks that the line has no more than this many bytes while the clock stands still.
async fn gets_no_more_than(line: &Line, bytes: u64) {
    for _ in 0..TURNS {
        assert_eq!(line.describe().offset, bytes);
        tokio::task::yield_now().await;
    }
}

/// A guest that prints byte by byte, and its line.
struct Printer<'a, G> {
    line: &'a Line,
    guest: G,
    printed: u64,
}

impl<G: Read + Write> Printer<'_, G> {
    /// Prints a byte that the line has at once.
    async fn at_once(&mut self) {
        self.print();
        gets(self.line, self.printed).await;
    }

    /// Prints a byte that the line does not have before `then`.
    async fn only_after(&mut self, then: impl Future<Output = ()>) {
        self.print();
        gets_no_more_than(self.line, self.printed - 1).await;
        then.await;
        gets(self.line, self.printed).await;
    }

    fn print(&mut self) {
        self.guest.write_all(b"x").unwrap();
        self.printed += 1;
    }

    /// Reads a key.
    fn read(&mut self) {
        let started = std::time::Instant::now();
        while let Err(error) = self.guest.read_exact(&mut [0]) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert!(started.elapsed() < PATIENCE, "the key does not come");
        }
    }

    /// Prints nothing for a while.
    async fn falls_silent(&mut self) {
        // The second beat finds nothing.
        for _ in 0..2 {
            tokio::time::advance(BEAT).await;
            gets_no_more_than(self.line, self.printed).await;
        }
    }
}

/// Output that soon follows other output waits for the next beat, unless a key was typed.
async fn keeps_the_beat_but_for_echoes(rig: &Rig, guest: impl Read + Write) {
    let (_alice, keyboard) = rig.attach(&writer("alice")).unwrap();
    tokio::time::pause();
    let mut guest = Printer { line: &rig.line, guest, printed: 0 };
    for _ in 0..2 {
        guest.falls_silent().await;
        guest.at_once().await;
        // After this byte, the line expects more.
        guest.at_once().await;
        for _ in 0..3 {
            guest.only_after(tokio::time::advance(BEAT)).await;
        }
        for _ in 0..3 {
            guest.only_after(async { keyboard.write(b"x") }).await;
            guest.read();
            guest.at_once().await;
            tokio::time::advance(ECHO).await;
            guest.at_once().await;
            guest.at_once().await;
        }
    }
}

#[tokio::test]
async fn over_tcp_a_line_keeps_the_beat() {
    let rig = Rig::new().await;
    let guest = rig.boot().await.into_std().unwrap();
    keeps_the_beat_but_for_echoes(&rig, guest).await;
}

#[tokio::test]
async fn over_a_unix_socket_a_line_keeps_the_beat() {
    let (rig, directory) = (Rig::new().await, Directory::new());
    let guest = unix_guest(&rig, &directory.join("port")).await;
    let guest = guest.into_std().unwrap();
    keeps_the_beat_but_for_echoes(&rig, guest).await;
}

/// A guest behind a pseudo-terminal. What it prints is passed on by a worker of the kernel, when that has time.
struct Terminal {
    guest: File,
    line: File,
}

impl Read for Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.guest.read(buffer)
    }
}

impl Write for Terminal {
    /// Waits until the line can read it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.guest.write(bytes)?;
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let ready = poll(&mut [PollFd::new(&self.line, PollFlags::IN)], Some(&patience))?;
        assert_eq!(ready, 1, "the byte does not arrive");
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.guest.flush()
    }
}

#[tokio::test]
async fn over_a_pseudo_terminal_a_line_keeps_the_beat() {
    let rig = Rig::new().await;
    let (guest, path) = pty();
    let line = File::open(&path).unwrap();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Pty(path));
    rig.line.guest_started(true);
    assert!(rig.line.connected(PATIENCE).await);
    let guest = Terminal { guest: guest.into(), line };
    keeps_the_beat_but_for_echoes(&rig, guest).await;
}

#[tokio::test]
async fn over_tls_a_line_keeps_the_beat() {
    let (rig, server) = tls_rig().await;
    let guest = within(rig.port.accept()).await.unwrap().0.into_std().unwrap();
    guest.set_nonblocking(false).unwrap();
    let mut guest = StreamOwned::new(ServerConnection::new(server).unwrap(), guest);
    let shaken = tokio::task::spawn_blocking(move || {
        guest.conn.complete_io(&mut guest.sock).unwrap();
        guest
    });
    let guest = within(shaken).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
    keeps_the_beat_but_for_echoes(&rig, guest).await;
}

#[tokio::test]
async fn what_came_before_a_port_closed_waits_for_nothing_more() {
    let rig = Rig::new().await;
    let mut guest = rig.boot().await.into_std().unwrap();
    for _ in 0..3 {
        guest.write_all(b"x").unwrap();
    }
    drop(guest);
    assert!(within(async { rig.port.accept().await.is_ok() }).await, "it is dialed again");
    assert_eq!(rig.line.describe().offset, 3);
}
