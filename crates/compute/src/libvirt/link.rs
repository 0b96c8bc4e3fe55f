//! The connection for libvirt's events, which is opened again whenever it breaks. Its state also
//! shows whether libvirt can be reached.
//!
//! ```text
//!   opening ──▶ up ──▶ closed
//!      ▲ └── backoff ──┘ │
//!      └─────────────────┘
//! ```

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::sync::mpsc;
use std::time::Duration;

use virt::connect::Connect;

use super::callbacks;
use super::callbacks::Watched;
use super::callbacks::Watcher;
use super::open::Opener;
use crate::hypervisor::Event;
use crate::hypervisor::Reporter;
use crate::lock;

/// The first and the longest pause between attempts to connect.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MOST: Duration = Duration::from_secs(5);

/// The state of the connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Why there is no connection, if so.
    down: Mutex<Option<String>>,
    /// Wakes the supervisor when the link is dropped.
    wake: mpsc::SyncSender<u64>,
}

impl Link {
    /// Starts to connect, on a thread that ends soon after the link is dropped.
    pub(super) fn start(opener: Arc<Opener>, reporter: Reporter) -> Arc<Self> {
        callbacks::start_event_loop();
        let (closed, closings) = mpsc::sync_channel(1);
        let down = Mutex::new(Some("not yet connected".into()));
        let link = Arc::new(Self { down, wake: closed.clone() });
        let supervisor = Supervisor {
            link: Arc::downgrade(&link),
            opener,
            watcher: Watcher { reporter, closed, number: 0 },
            closings,
            warned: false,
        };
        let thread = std::thread::Builder::new().name("libvirt-link".into());
        if let Err(error) = thread.spawn(move || supervisor.run()) {
            tracing::error!(%error, "the thread for the connection to libvirt cannot be started");
        }
        link
    }

    /// Why libvirt cannot be reached, if so.
    pub(super) fn down(&self) -> Option<String> {
        lock(&self.down).clone()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // If a message already waits, the supervisor wakes in any case.
        let _ = self.wake.try_send(u64::MAX);
    }
}

/// Keeps a link up.
#[derive(Debug)]
struct Supervisor {
    link: Weak<Link>,
    opener: Arc<Opener>,
    watcher: Watcher,
    /// Numbers of connections that closed.
    closings: mpsc::Receiver<u64>,
    /// Whether it was already logged that libvirt cannot be reached.
    warned: bool,
}

impl Supervisor {
    fn run(mut self) {
        let mut backoff = BACKOFF_FIRST;
        while self.link.strong_count() > 0 {
            self.watcher.number += 1;
            match self.opener.open().and_then(|connect| self.watch(connect)) {
                Ok(watched) => {
                    self.serve(watched);
                    backoff = BACKOFF_FIRST;
                }
                Err(why) => {
                    self.complain(why);
                    // Ends early when the link is dropped. A late message of the last connection
                    // does no harm.
                    let _ = self.closings.recv_timeout(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MOST);
                }
            }
        }
    }

    fn watch(&self, connect: Connect) -> Result<Watched, String> {
        Watched::new(connect, &self.watcher).map_err(|error| error.message().to_owned())
    }

    /// Receives the events of a connection until it closes.
    fn serve(&mut self, watched: Watched) {
        tracing::info!(uri = self.opener.uri(), "connected to libvirt");
        self.warned = false;
        self.publish(None, Event::Resync);
        while let Ok(number) = self.closings.recv() {
            if number == self.watcher.number || self.link.strong_count() == 0 {
                break;
            }
        }
        drop(watched);
        if self.link.strong_count() > 0 {
            tracing::warn!(uri = self.opener.uri(), "the connection to libvirt is lost");
        }
        self.publish(Some("the connection is lost".into()), Event::Down);
    }

    fn complain(&mut self, why: String) {
        if !self.warned {
            self.warned = true;
            tracing::warn!(
                uri = self.opener.uri(),
                error = why,
                "libvirt cannot be reached; retrying. Check that libvirtd is running"
            );
        }
        self.publish(Some(why), Event::Down);
    }

    fn publish(&self, down: Option<String>, event: Event) {
        if let Some(link) = self.link.upgrade() {
            *lock(&link.down) = down;
            self.watcher.reporter.report(event);
        }
    }
}
