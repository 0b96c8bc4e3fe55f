//! Events that wait to be written: a bounded number.

use std::collections::VecDeque;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::EventName;

/// Events that wait at most. An event takes some 600 bytes, and 5 KiB at worst.
const ROOM: usize = 4096;

/// Events of strangers, whom nothing else bounds, at once, and how often there is room for another one.
const STRANGERS: u32 = 1000;
const STRANGER_EVERY: Duration = Duration::from_secs(1);

/// Events waiting for the writer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    /// Rung when the writer has something to do.
    recorded: Condvar,
    /// Rung when it did something.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// Events that found no room since the last one that did.
    missing: u64,
    /// Events that found room.
    added: u64,
    /// Events that are written.
    done: u64,
    /// Whether the writer has tried to write.
    tried: bool,
    /// When the debt of the strangers is gone.
    strangers: Option<Instant>,
}

impl Queue {
    /// Takes an event, or counts it.
    pub(crate) fn add(&self, event: Event) {
        let mut waiting = self.lock();
        let is_over = is_strangers(&event) && !waiting.admits_stranger(Instant::now());
        if is_over || waiting.events.len() + 2 > ROOM {
            waiting.missing += 1;
            serialproxy_metrics::AUDIT_DROPPED.inc();
            return;
        }
        waiting.state_gap(event.time);
        waiting.push(event);
        drop(waiting);
        self.recorded.notify_one();
    }

    /// So many events at most, once there are some, or the time is over.
    pub(crate) fn take(&self, most: usize, within: Duration) -> Vec<Event> {
        let waiting = self.lock();
        let waits = |waiting: &mut Waiting| waiting.events.is_empty();
        let waiting = self.recorded.wait_timeout_while(waiting, within, waits);
        let (mut waiting, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        if waiting.events.len() <= most {
            // Nothing follows what is missing.
            waiting.state_gap(Timestamp::now());
        }
        let count = most.min(waiting.events.len());
        waiting.events.drain(..count).collect()
    }

    /// Sleeps, unless it is told that there is more to do.
    pub(crate) fn pause(&self, pause: Duration) {
        let waiting = self.lock();
        drop(self.written.wait_timeout(waiting, pause));
    }

    /// So many events that were taken are written.
    pub(crate) fn done(&self, events: usize) {
        let mut waiting = self.lock();
        waiting.done += events as u64;
        waiting.tried = true;
        drop(waiting);
        self.written.notify_all();
    }

    /// Waits until the writer has tried to write.
    pub(crate) fn wait_until_tried(&self, within: Duration) {
        let tried = self.written.wait_timeout_while(self.lock(), within, |waiting| !waiting.tried);
        drop(tried);
    }

    /// Waits until what was added is written.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let waiting = self.lock();
        let added = waiting.added;
        let waits = |waiting: &mut Waiting| waiting.done < added;
        let waiting = self.written.wait_timeout_while(waiting, within, waits);
        waiting.unwrap_or_else(PoisonError::into_inner).0.done >= added
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, event: Event) {
        self.events.push_back(event);
        self.added += 1;
    }

    /// Says where they would stand how many events are missing.
    fn state_gap(&mut self, now: Timestamp) {
        match std::mem::take(&mut self.missing) {
            0 => {}
            count => self.push(Event::new(EventName::AuditGap, now).cause("dropped").count(count)),
        }
    }

    fn admits_stranger(&mut self, now: Instant) -> bool {
        let debt =
            self.strangers.map_or(Duration::ZERO, |free| free.saturating_duration_since(now));
        let debt = debt + STRANGER_EVERY;
        let admits = debt <= STRANGER_EVERY * STRANGERS;
        if admits {
            self.strangers = Some(now + debt);
        }
        admits
    }
}

/// Whether anybody can cause such an event, without credentials.
fn is_strangers(event: &Event) -> bool {
    match event.name {
        EventName::TokenRefused | EventName::LoginFailed => true,
        EventName::SessionRefused => event.user.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn event(name: EventName) -> Event {
        Event::new(name, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_finds_no_room_is_stated_where_it_would_stand() {
        let queue = Queue::default();
        for _ in 0..ROOM + 9 {
            queue.add(event(EventName::PenChanged));
        }
        assert_eq!(queue.take(1, NOW).len(), 1);
        queue.add(event(EventName::TokenIssued));
        let mut events = queue.take(ROOM, NOW);
        assert_eq!(events.pop().unwrap().name, EventName::TokenIssued);
        let gap = events.pop().unwrap();
        assert_eq!((gap.name, gap.count), (EventName::AuditGap, Some(10)));
        assert!(events.iter().all(|event| event.name == EventName::PenChanged));
    }

    #[test]
    fn strangers_fill_no_disk() {
        let queue = Queue::default();
        for _ in 0..STRANGERS + 5 {
            queue.add(event(EventName::LoginFailed));
        }
        queue.add(event(EventName::SessionRefused).user("alice"));
        let events = queue.take(ROOM, NOW);
        assert_eq!(events.len(), STRANGERS as usize + 2);
        assert_eq!(events[STRANGERS as usize].count, Some(5));
    }

    #[test]
    fn a_gap_at_the_end_is_stated_without_another_event() {
        let queue = Queue::default();
        for _ in 0..ROOM + 9 {
            queue.add(event(EventName::PenChanged));
        }
        let events = queue.take(ROOM, NOW);
        assert_eq!(events.last().map(|event| event.name), Some(EventName::AuditGap));
    }
}
