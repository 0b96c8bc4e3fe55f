//! The thread that writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;

use crate::Shared;
use crate::trail::Trail;

/// Events that are written together.
const BATCH: usize = 128;

/// How long after a failure the next attempt follows.
const RETRY: Duration = Duration::from_secs(1);

/// How often a trail that nothing is written to is looked after: files become old.
const IDLE: Duration = Duration::from_secs(60);

pub(crate) struct Writer {
    shared: Arc<Shared>,
    trail: Trail,
    /// Whether the last attempt failed.
    fails: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, trail: Trail) -> Self {
        Self { shared, trail, fails: false }
    }

    /// Writes until the process ends.
    pub(crate) fn run(mut self) {
        let mut events = Vec::new();
        let mut looked = None;
        loop {
            let idle = looked.is_some_and(|at: Instant| at.elapsed() < self.idle());
            if !(events.is_empty() && idle) {
                let written = self.trail.append(&events, Timestamp::now());
                looked = Some(Instant::now());
                let bytes: usize = written.lines.iter().map(|line| line.len() + 1).sum();
                serialproxy_metrics::AUDIT_BYTES.add(bytes as u64);
                if let Some(outbox) = &self.shared.outbox {
                    written.lines.iter().for_each(|line| outbox.put(line));
                }
                events.drain(..written.events.min(events.len()));
                self.note(written.error.as_ref());
                self.shared.queue.done(written.events);
            }
            if self.fails && !events.is_empty() {
                self.shared.queue.pause(RETRY);
            } else {
                events = self.shared.queue.take(BATCH, RETRY);
            }
        }
    }

    /// How long nothing is written while there are no events. A trail that is required has to show in time
    /// that it cannot be written.
    fn idle(&self) -> Duration {
        if self.shared.required || self.fails { RETRY } else { IDLE }
    }

    fn note(&mut self, error: Option<&std::io::Error>) {
        let directory = self.shared.directory.display();
        match error {
            Some(error) if !self.fails => {
                tracing::error!(%directory, %error, "the audit trail cannot be written");
            }
            None if self.fails => tracing::info!(%directory, "the audit trail is written again"),
            _ => {}
        }
        self.fails = error.is_some();
        self.shared.writable.store(error.is_none(), Ordering::Relaxed);
    }
}
