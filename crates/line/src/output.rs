//! A line's output, its screen, its last printed line, and whether readers keep up.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serialproxy_proto::console::Boot;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::history::History;
use crate::history::Limits;
use crate::last_line::LastLine;
use crate::ordered::Locked;
use crate::ordered::Ordered;
use crate::painter::Awaited;
use crate::painter::Grids;
use crate::painter::Painters;
use crate::painter::Paintings;
use crate::painter::Sight;

#[derive(Debug)]
pub(crate) struct Output {
    history: Ordered<History>,
    screen: Arc<Paintings>,
    painters: Painters,
    /// Notified when a session read on or left while the owner waited for it.
    progress: Notify,
    owner_waits: AtomicBool,
    /// When output was last read, in nanoseconds since [`FIRST`]; 0 if there was none.
    read: AtomicU64,
    last_line: LastLine,
    /// When the echo of a key was read that has not been sent to the person who types, in nanoseconds since
    /// [`FIRST`]; 0 if there is none.
    echo: AtomicU64,
}

/// Time from which output and echoes are counted.
static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Output {
    pub(crate) fn new(limits: Limits, painters: Painters) -> Self {
        Self {
            history: Ordered::new(History::new(limits)),
            screen: Arc::default(),
            painters,
            progress: Notify::new(),
            owner_waits: AtomicBool::new(false),
            read: AtomicU64::new(0),
            last_line: LastLine::default(),
            echo: AtomicU64::new(0),
        }
    }

    /// Output was read.
    pub(crate) fn note_output(&self) {
        self.read.store(now(), Ordering::Relaxed);
    }

    /// The time since output was read, if there was any.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let read = self.read.load(Ordering::Relaxed);
        (read != 0).then(|| Duration::from_nanos(now().saturating_sub(read)))
    }

    /// The last printed line, as it was modeled last.
    pub(crate) fn last_line(&self) -> &LastLine {
        &self.last_line
    }

    pub(crate) fn history(&self) -> Locked<'_, History> {
        self.history.lock()
    }

    /// The offset at the present end of the output.
    pub(crate) fn end(&self) -> u64 {
        self.history().end()
    }

    /// Asks for the present screen on some grids; none where too many requests wait.
    pub(crate) fn ask_for_screen(
        &self,
        grids: Grids,
        look: impl Fn() -> Sight + Send + Sync + 'static,
    ) -> Option<Awaited> {
        let history = self.history();
        self.screen.ask(history.end(), grids, &self.painters, look)
    }

    /// Begins to paint a screen: returns at most `most` bytes of the newest output, the offset of
    /// the byte after them, and the last boots.
    pub(crate) fn begin_screen(&self, most: usize) -> (Vec<u8>, u64, Vec<Boot>) {
        let mut history = self.history();
        self.screen.begin(history.end());
        (history.recent(most), history.end(), history.boots().list())
    }

    /// Output was read that may be the echo of a key.
    pub(crate) fn note_echo(&self) {
        let _ = self.echo.compare_exchange(0, now(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether an echo has not been sent to the person who types.
    pub(crate) fn has_echo(&self) -> bool {
        self.echo.load(Ordering::Relaxed) != 0
    }

    /// Forgets the echo; returns the time since it was read.
    pub(crate) fn take_echo(&self) -> Option<Duration> {
        let read = self.echo.swap(0, Ordering::Relaxed);
        (read != 0).then(|| Duration::from_nanos(now().saturating_sub(read)))
    }

    /// A session has read on.
    pub(crate) fn note_read(&self) {
        if self.owner_waits.load(Ordering::Relaxed) {
            self.progress.notify_one();
        }
    }

    /// A session reads no more.
    pub(crate) fn note_left(&self) {
        self.progress.notify_one();
    }

    /// Sets whether the owner waits for sessions to read on.
    pub(crate) fn set_owner_waits(&self, waits: bool) {
        self.owner_waits.store(waits, Ordering::Relaxed);
    }

    /// Waits until a session has read on or left.
    pub(crate) fn progressed(&self) -> Notified<'_> {
        self.progress.notified()
    }
}

/// Nanoseconds since [`FIRST`], but not 0.
fn now() -> u64 {
    u64::try_from(FIRST.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}
