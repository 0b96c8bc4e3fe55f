//! Programs that open a guest's pseudo-terminal after the line did. The kernel tells of each opening
//! (`inotify(7)`), so nobody has to look again and again.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::inotify;
use rustix::fs::inotify::CreateFlags;
use rustix::fs::inotify::WatchFlags;
use rustix::io::Errno;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::endpoint::Endpoint;
use crate::holders;

/// What passes between the word of an opening and when the file shows among those of its process.
const SHOWS: Duration = Duration::from_millis(100);

/// Pause after a look at all processes, however often the terminal is opened.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of events in one read: an event of a file has 16.
const EVENTS: usize = 4096;

/// One instance for all terminals, since a user may have few. A terminal that goes takes its watch with
/// it.
static WATCHES: OnceLock<Option<Watches>> = OnceLock::new();

#[derive(Debug)]
struct Watches {
    inotify: Arc<OwnedFd>,
    /// Changes when any of them is opened.
    opened: watch::Receiver<()>,
}

/// Waits until another program has the terminal open beside us; which.
pub(crate) async fn intruder(endpoint: &Endpoint) -> String {
    let Endpoint::Pty(path) = endpoint else { return std::future::pending().await };
    let mut opened = watch(path);
    loop {
        if let Some(who) = holders::of_terminal(endpoint).await {
            return who;
        }
        sleep(PAUSE).await;
        let is_told = match &mut opened {
            Some(opened) => opened.changed().await.is_ok(),
            None => false,
        };
        if !is_told {
            std::future::pending().await
        }
        sleep(SHOWS).await;
    }
}

/// Hears of openings from now on; none where the kernel does not tell of them.
fn watch(path: &Path) -> Option<watch::Receiver<()>> {
    let watches = WATCHES.get_or_init(|| {
        let started = start();
        started.inspect_err(|error| tracing::warn!(%error, "no terminal can be watched")).ok()
    });
    let Watches { inotify, opened } = watches.as_ref()?;
    let opened = opened.clone();
    match inotify::add_watch(&**inotify, path, WatchFlags::OPEN) {
        Ok(_) => Some(opened),
        Err(error) => {
            tracing::warn!(%error, "a guest's pseudo-terminal cannot be watched");
            None
        }
    }
}

fn start() -> std::io::Result<Watches> {
    let inotify = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
    let (sender, opened) = watch::channel(());
    let read = Arc::clone(&inotify);
    let thread = std::thread::Builder::new().name("terminals".into());
    thread.spawn(move || {
        let mut events = [MaybeUninit::uninit(); EVENTS];
        let mut events = inotify::Reader::new(&*read, &mut events);
        loop {
            match events.next() {
                Ok(_) => sender.send_replace(()),
                Err(Errno::INTR) => {}
                // Nobody hears of openings any more.
                Err(_) => return,
            }
        }
    })?;
    Ok(Watches { inotify, opened })
}
