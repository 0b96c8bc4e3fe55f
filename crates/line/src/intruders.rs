//! Programs that open a guest's pseudo-terminal after the line did. The kernel reports each opening
//! (`inotify(7)`), so a line searches for such a program only then.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::inotify;
use rustix::fs::inotify::CreateFlags;
use rustix::fs::inotify::ReadFlags;
use rustix::fs::inotify::WatchFlags;
use rustix::io::Errno;
use serialproxy_proto::endpoint::Endpoint;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::holders;
use crate::lock;

/// How long after the report of an opening the file may be missing among its process's open files.
const SHOWS: Duration = Duration::from_millis(100);

/// The pause after a search through all processes, however often the terminal is opened.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of events in one read: an event of a file has 16.
const EVENTS: usize = 4096;

/// One inotify instance for all terminals, since a user may have few. The watch of a terminal ends
/// with the terminal.
static WATCHES: OnceLock<Option<Watches>> = OnceLock::new();

#[derive(Debug)]
struct Watches {
    inotify: Arc<OwnedFd>,
    watched: Arc<Mutex<Watched>>,
}

/// The watched terminals by watch descriptor. Each sender reports openings of its terminal.
type Watched = HashMap<i32, watch::Sender<()>>;

/// Waits until another program has the terminal open, too; returns which.
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

/// Reports this terminal's openings from now on; none where the kernel does not report them.
fn watch(path: &Path) -> Option<watch::Receiver<()>> {
    let watches = WATCHES.get_or_init(|| {
        let started = start();
        started.inspect_err(|error| tracing::warn!(%error, "no terminal can be watched")).ok()
    });
    let Watches { inotify, watched } = watches.as_ref()?;
    // Locked before the kernel can report an opening, so that no report comes before its entry.
    let mut watched = lock(watched);
    match inotify::add_watch(&**inotify, path, WatchFlags::OPEN) {
        Ok(descriptor) => Some(watched.entry(descriptor).or_default().subscribe()),
        Err(error) => {
            drop(watched);
            tracing::warn!(%error, "a guest's pseudo-terminal cannot be watched");
            None
        }
    }
}

fn start() -> std::io::Result<Watches> {
    let inotify = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
    let watched = Arc::new(Mutex::new(Watched::new()));
    let (read, of) = (Arc::clone(&inotify), Arc::clone(&watched));
    let thread = std::thread::Builder::new().name("terminals".into());
    thread.spawn(move || {
        let mut events = [MaybeUninit::uninit(); EVENTS];
        let mut events = inotify::Reader::new(&*read, &mut events);
        loop {
            match events.next() {
                Ok(event) => tell(&mut lock(&of), event.wd(), event.events()),
                Err(Errno::INTR) => {}
                // Without the reader, openings are not noticed any more.
                Err(_) => return lock(&of).clear(),
            }
        }
    })?;
    Ok(Watches { inotify, watched })
}

/// Passes an event on to the terminal's watchers, or to all if the kernel has dropped events.
fn tell(watched: &mut Watched, descriptor: i32, event: ReadFlags) {
    if event.contains(ReadFlags::QUEUE_OVERFLOW) {
        watched.values().for_each(|opened| opened.send_replace(()));
    } else if event.contains(ReadFlags::IGNORED) {
        watched.remove(&descriptor);
    } else if let Some(opened) = watched.get(&descriptor) {
        opened.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[tokio::test]
    async fn only_who_watches_a_terminal_hears_that_it_was_opened() {
        let path = |_| std::env::temp_dir().join(format!("terminal-{}", uuid::Uuid::new_v4()));
        let [one, other] = [0, 1].map(path);
        let [mut of_one, mut of_other] = [&one, &other].map(|path| {
            File::create(path).unwrap();
            watch(path).unwrap()
        });
        File::open(&one).unwrap();
        of_one.changed().await.unwrap();
        assert!(!of_other.has_changed().unwrap());
        File::open(&other).unwrap();
        of_other.changed().await.unwrap();
        std::fs::remove_file(&one).unwrap();
        assert!(of_one.changed().await.is_err(), "a terminal that is gone is watched");
        assert!(!of_other.has_changed().unwrap());
        std::fs::remove_file(&other).unwrap();
    }

    #[test]
    fn everybody_hears_of_dropped_events() {
        let mut watched = Watched::from([(1, watch::Sender::new(())), (2, watch::Sender::new(()))]);
        let hear: Vec<_> = watched.values().map(watch::Sender::subscribe).collect();
        tell(&mut watched, -1, ReadFlags::QUEUE_OVERFLOW);
        assert!(hear.iter().all(|opened| opened.has_changed().unwrap()));
    }
}
