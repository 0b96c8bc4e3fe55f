//! What a service manager does for the program: it opens listeners, keeps and passes them, and is told how
//! things are.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use rustix::io::FdFlags;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::io::fcntl_setfd;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::recvmsg;
use tempfile::TempDir;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::within;

/// Out of the way of the descriptors that the program gets.
const FIRST: i32 = 100;

/// Those of other managers of a test program are inherited too, and would stay open.
const CLOSE_OTHERS: &str = r#"
for fd in /proc/$$/fd/*; do fd=${fd##*/}; [ $fd -lt 100 ] || eval "exec $fd<&-"; done
"#;

/// Listeners that stay open while programs come and go.
#[derive(Debug)]
pub struct Manager {
    listeners: Mutex<Vec<(String, OwnedFd)>>,
    directory: TempDir,
    told: UnixDatagram,
}

impl Manager {
    /// One that passes these listeners, by name.
    pub fn new(listeners: &[(&str, &TcpListener)]) -> Self {
        let listeners =
            listeners.iter().map(|(name, listener)| ((*name).to_owned(), inherited(listener)));
        let directory = tempfile::tempdir().unwrap();
        let told = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { listeners: Mutex::new(listeners.collect()), directory, told }
    }

    /// The command that starts another one as a service.
    pub fn by(&self) -> Vec<String> {
        let listeners = self.listeners.lock().unwrap();
        let names: Vec<_> = listeners.iter().map(|(name, _)| name.as_str()).collect();
        let moved = listeners.iter().zip(3..).map(|((_, from), to)| {
            let from = from.as_raw_fd();
            format!("{to}<&{from}")
        });
        let script = format!(
            "export LISTEN_PID=$$ WATCHDOG_PID=$$ WATCHDOG_USEC=3000000 LISTEN_FDS={} LISTEN_FDNAMES={} \
             NOTIFY_SOCKET={}; exec {}; {CLOSE_OTHERS} exec \"$@\"",
            names.len(),
            names.join(":"),
            self.directory.path().join("notify").display(),
            moved.collect::<Vec<_>>().join(" "),
        );
        ["bash", "-c", &script, "bash"].map(str::to_owned).into()
    }

    /// Waits until the program says this, whatever it says before. Keeps meanwhile what the program wants kept.
    pub async fn told(&self, wanted: &str) -> String {
        loop {
            let received = self.told.async_io(Interest::READABLE, || self.receive());
            let text = within(received).await.unwrap();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
        }
    }

    fn receive(&self) -> std::io::Result<String> {
        let mut text = vec![0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut text)];
        let length = recvmsg(&self.told, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        let text = String::from_utf8(text[..length].to_vec()).unwrap();
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).map(str::to_owned);
        let mut listeners = self.listeners.lock().unwrap();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(kept) = message {
                let kept = kept.map(|kept| (name.clone().unwrap(), inherited(&kept)));
                listeners.extend(kept);
            }
        }
        if text.starts_with("FDSTOREREMOVE=1") {
            listeners.retain(|(kept, _)| Some(kept) != name.as_ref());
        }
        Ok(text)
    }
}

/// The same listener, as a process inherits it.
fn inherited(listener: impl AsFd) -> OwnedFd {
    let listener = fcntl_dupfd_cloexec(listener, FIRST).unwrap();
    fcntl_setfd(&listener, FdFlags::empty()).unwrap();
    listener
}

/// A listener on this host, at a free port.
pub fn listener(host: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
