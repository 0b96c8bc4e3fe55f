//! The same line over everything that a guest's port can be.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use serialproxy_line::Endpoint;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::token::Mode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::net::UnixStream;

use crate::rig::PATIENCE;
use crate::rig::Rig;
use crate::rig::eventually;
use crate::rig::output_until;
use crate::rig::visitor;
use crate::rig::within;
use crate::rig::writer;

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("line-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn unix_guest(rig: &Rig, path: &Path) -> UnixStream {
    let listener = UnixListener::bind(path).unwrap();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Unix(path.to_owned()));
    rig.line.guest_started(true);
    let (guest, _) = within(listener.accept()).await.unwrap();
    assert!(rig.line.connected(PATIENCE).await);
    guest
}

#[tokio::test]
async fn every_byte_passes_a_unix_socket_both_ways() {
    let rig = Rig::new().await;
    let directory = Directory::new();
    let mut guest = unix_guest(&rig, &directory.join("port")).await;
    let (mut attachment, keyboard) = rig.attach(&writer("alice")).unwrap();
    // More than is under way at once.
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    guest.write_all(&all).await.unwrap();
    assert_eq!(output_until(&mut attachment, &all).await, all);
    let mut typed = vec![0; all.len()];
    within(async { tokio::join!(keyboard.write(&all), guest.read_exact(&mut typed)).1 })
        .await
        .unwrap();
    assert_eq!(typed, all);
}

#[tokio::test]
async fn after_a_forced_hand_over_at_most_512_bytes_are_under_way_on_a_unix_socket() {
    let rig = Rig::new().await;
    let directory = Directory::new();
    let mut guest = unix_guest(&rig, &directory.join("port")).await;
    let (_alice, alices) = rig.attach(&visitor("alice", Mode::Write, Protocol::ConsoleV1)).unwrap();
    let (_bob, bobs) = rig.attach(&visitor("bob", Mode::Watch, Protocol::ConsoleV1)).unwrap();
    // The guest reads nothing: all that the line lets go is under way.
    alices.write(&[b'a'; 60_000]).await;
    eventually(|| rig.line.describe().bytes_in > 0).await;
    bobs.force_pen(None, jiff::Timestamp::UNIX_EPOCH).unwrap();
    bobs.write(b"b").await;
    let mut typed = Vec::new();
    within(async {
        while typed.last() != Some(&b'b') {
            typed.push(guest.read_u8().await.unwrap());
        }
    })
    .await;
    assert!((2..=513).contains(&typed.len()), "{} bytes were under way", typed.len() - 1);
}

/// A pseudo-terminal as a hypervisor holds it, and the path of its other side.
fn pty() -> (OwnedFd, PathBuf) {
    use rustix::pty::OpenptFlags;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let fd = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&fd).unwrap();
    rustix::pty::unlockpt(&fd).unwrap();
    let path = rustix::pty::ptsname(&fd, Vec::new()).unwrap().into_string().unwrap();
    (fd, path.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_passes_a_pseudo_terminal_both_ways() {
    let rig = Rig::new().await;
    let (fd, path) = pty();
    *rig.told.0.lock().unwrap() = Ok(Endpoint::Pty(path.clone()));
    rig.line.guest_started(true);
    assert!(rig.line.connected(PATIENCE).await);
    let (mut attachment, keyboard) = rig.attach(&writer("alice")).unwrap();
    let all: Vec<u8> = (0..=255).cycle().take(50_000).collect();
    let guest = std::sync::Arc::new(std::fs::File::from(fd));
    let prints = {
        let (guest, all) = (guest.clone(), all.clone());
        tokio::task::spawn_blocking(move || std::io::Write::write_all(&mut &*guest, &all).unwrap())
    };
    assert_eq!(output_until(&mut attachment, &all).await, all);
    within(prints).await.unwrap();
    let reads = {
        let (guest, length) = (guest.clone(), all.len());
        tokio::task::spawn_blocking(move || {
            let mut typed = vec![0; length];
            std::io::Read::read_exact(&mut &*guest, &mut typed).unwrap();
            typed
        })
    };
    within(keyboard.write(&all)).await;
    assert_eq!(within(reads).await.unwrap(), all);
    drop(guest);
    eventually(|| !rig.line.describe().reason.starts_with("connected")).await;
}
