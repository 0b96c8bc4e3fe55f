//! Rate limit of log lines about unauthenticated clients, for each address.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serialproxy_limits::Meter;

use crate::client::Client;

/// Lines of one kind that an address may cause in [`SPAN`].
const LINES: u32 = 60;
const SPAN: Duration = Duration::from_secs(60);

/// The limit for one kind of log lines.
#[derive(Debug)]
pub(crate) struct StrangerLog {
    lines: Meter,
    /// Lines that were left out since the last one.
    unlogged: AtomicU64,
}

impl Default for StrangerLog {
    fn default() -> Self {
        Self { lines: Meter::new(LINES, SPAN, Duration::ZERO), unlogged: AtomicU64::new(0) }
    }
}

impl StrangerLog {
    /// Whether a client may cause another line now. Counts the line if not.
    pub(crate) fn admit(&self, client: Client) -> bool {
        let admitted = self.lines.count(&client.source(), Instant::now()).is_zero();
        if !admitted {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// How many lines were left out before this one; none if none were.
    pub(crate) fn unlogged(&self) -> Option<u64> {
        Some(self.unlogged.swap(0, Ordering::Relaxed)).filter(|unlogged| *unlogged > 0)
    }
}
