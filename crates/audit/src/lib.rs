//! The audit trail of a host: one line of JSON for each security event, in files that show tampering.
//!
//! ```text
//!   record ─▶ queue ─▶ one thread: seal ─▶ audit.jsonl ─▶ head
//! ```
//!
//! Recording never waits. An event that finds no room is counted, and the trail says how many are missing.
//! Each line holds the hash of the one before, over all files and processes of a host.

mod files;
mod lines;
mod queue;
mod read;
mod seal;
mod syslog;
mod trail;
mod verify;
mod writer;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
pub use serialproxy_proto::audit::Event;
pub use serialproxy_proto::audit::EventName;
use serialproxy_proto::audit::Page;
use serialproxy_proto::audit::Query;

use crate::queue::Queue;
use crate::read::Turns;
pub use crate::read::merge;
pub use crate::read::read;
use crate::syslog::Outbox;
pub use crate::syslog::Syslog;
use crate::trail::Trail;
pub use crate::verify::Flaw;
pub use crate::verify::Verified;
pub use crate::verify::verify;
use crate::writer::Writer;

/// How long the start waits for the first write.
const START: Duration = Duration::from_secs(2);

/// How long a reader waits for what was recorded before to be written.
const WRITTEN: Duration = Duration::from_secs(1);

/// Where and how a trail is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its directory.
    pub directory: PathBuf,
    /// A file is closed before it has more bytes.
    pub max_size: u64,
    /// A file is closed when its first event is this old, and kept for as long again.
    pub max_age: Duration,
    /// Whether nothing may happen without being recorded.
    pub required: bool,
    /// Where the lines are sent to as well.
    pub syslog: Option<Syslog>,
}

/// The directory of the trail in a state directory.
pub fn directory(state: &Path) -> PathBuf {
    state.join("audit")
}

/// Records events. Cheap to clone; all clones write to the same trail.
#[derive(Clone, Debug, Default)]
pub struct Audit(Option<Arc<Shared>>);

/// What the writer and those who record share.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    required: bool,
    directory: PathBuf,
    /// Whether the last write succeeded. One that hangs changes nothing of it.
    writable: AtomicBool,
    turns: Turns,
    outbox: Option<Arc<Outbox>>,
}

impl Audit {
    /// Begins to write to a trail. Where that is not possible now, it is tried again.
    ///
    /// # Errors
    ///
    /// When there can be no thread for it.
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        let Settings { directory, max_size, max_age, required, syslog } = settings;
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            required,
            directory: directory.clone(),
            writable: AtomicBool::new(false),
            turns: Turns::default(),
            outbox: syslog.map(Outbox::start).transpose()?,
        });
        let trail = Trail::new(directory, max_size, max_age);
        let writer = Writer::new(Arc::clone(&shared), trail);
        thread::Builder::new().name("audit".into()).spawn(move || writer.run())?;
        shared.queue.wait_until_tried(START);
        Ok(Self(Some(shared)))
    }

    /// Records nothing, and is always writable.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Records an event. It never waits.
    pub fn record(&self, event: Event) {
        if let Some(shared) = &self.0 {
            shared.queue.add(event);
        }
    }

    /// An event of now.
    pub fn event(&self, name: EventName) -> Event {
        Event::new(name, Timestamp::now())
    }

    /// Whether events can be written, as far as is known.
    pub fn writable(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| {
            shared.writable.load(Ordering::Relaxed) && !shared.queue.is_stuck(Instant::now())
        })
    }

    /// Whether something may happen that is to be recorded.
    pub fn admits(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| !shared.required) || self.writable()
    }

    /// Reads the first events that are asked for, as [`read`] does, one caller after the other. What this
    /// process recorded before is among them, unless it cannot be written within a second. It waits for files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or too many read.
    pub fn read(&self, query: &Query) -> std::io::Result<Page> {
        match &self.0 {
            Some(shared) => {
                // Where the disk takes nothing, each page would wait in vain.
                if self.writable() {
                    shared.queue.flush(WRITTEN);
                }
                shared.turns.read(&shared.directory, query)
            }
            None => Ok(Page::default()),
        }
    }

    /// Waits until what was recorded so far is written; false when that takes too long.
    pub fn flush(&self, within: Duration) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.queue.flush(within))
    }

    /// Waits until what is written is sent to the syslog server; how many events are not in time.
    pub fn unsent(&self, within: Duration) -> usize {
        let outbox = self.0.as_ref().and_then(|shared| shared.outbox.as_ref());
        outbox.map_or(0, |outbox| outbox.unsent(within))
    }
}
