//! Events that wait to be written: a bounded number.

use std::collections::HashMap;
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

/// Refusals that one user, or all strangers together, cause at once, and how often there is room for another
/// one: nothing else bounds how often somebody is refused.
const REFUSALS: u32 = 1000;
const REFUSAL_EVERY: Duration = Duration::from_secs(1);

/// Users whose refusals are counted. Further ones count as strangers.
const USERS: usize = 4096;

/// How long an event may wait in a trail that can be written.
const WAITS: Duration = Duration::from_secs(2);

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
    /// Events, and since when they wait.
    events: VecDeque<(Instant, Event)>,
    /// Events that the writer has taken and not written, and since when the first of them waits.
    taken: usize,
    taken_since: Option<Instant>,
    /// Events that are missing since the last one that found room.
    missing: u64,
    /// Whether an event found no room, and what says so is not written yet.
    is_full: bool,
    /// Events that found room.
    added: u64,
    /// Events that are written.
    done: u64,
    /// Whether the writer has tried to write.
    tried: bool,
    /// Until when the refusals of a user count, and of strangers, who are nobody.
    debts: HashMap<Option<String>, Instant>,
}

impl Queue {
    /// Takes an event, or counts it.
    pub(crate) fn add(&self, event: Event) {
        let now = Instant::now();
        let mut waiting = self.lock();
        let who = refused(&event);
        if who.is_some_and(|who| !waiting.admits(who, now)) {
            waiting.missing += 1;
            return;
        }
        if waiting.events.len() + 2 > ROOM {
            waiting.missing += 1;
            waiting.is_full = true;
            serialproxy_metrics::AUDIT_DROPPED.inc();
            return;
        }
        waiting.state_gap(event.time, now);
        waiting.push(event, now);
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
            waiting.state_gap(Timestamp::now(), Instant::now());
        }
        let count = most.min(waiting.events.len());
        waiting.taken += count;
        waiting.taken_since = waiting.oldest();
        waiting.events.drain(..count).map(|(_, event)| event).collect()
    }

    /// Lets the writer wait.
    pub(crate) fn pause(&self, pause: Duration) {
        drop(self.written.wait_timeout_while(self.lock(), pause, |_| true));
    }

    /// So many events that were taken are written.
    pub(crate) fn done(&self, events: usize) {
        let mut waiting = self.lock();
        waiting.done += events as u64;
        waiting.tried = true;
        waiting.taken = waiting.taken.saturating_sub(events);
        if waiting.taken == 0 {
            waiting.taken_since = None;
            waiting.is_full &= !waiting.events.is_empty() || waiting.missing > 0;
        }
        drop(waiting);
        self.written.notify_all();
    }

    /// Whether events wait for too long, or found no room: whoever writes may hang.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        let waiting = self.lock();
        let waits = |since| now.saturating_duration_since(since) > WAITS;
        waiting.is_full || waiting.oldest().is_some_and(waits)
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
    /// Since when the first event waits that is not written.
    fn oldest(&self) -> Option<Instant> {
        self.taken_since.or_else(|| self.events.front().map(|(since, _)| *since))
    }

    fn push(&mut self, event: Event, now: Instant) {
        self.events.push_back((now, event));
        self.added += 1;
    }

    /// Says where they would stand how many events are missing.
    fn state_gap(&mut self, time: Timestamp, now: Instant) {
        match std::mem::take(&mut self.missing) {
            0 => {}
            count => {
                let gap = Event::new(EventName::AuditGap, time).cause("dropped").count(count);
                self.push(gap, now);
            }
        }
    }

    /// Whether there is room for one more refusal of a user.
    fn admits(&mut self, who: Option<&str>, now: Instant) -> bool {
        let mut who = who.map(str::to_owned);
        if self.debts.len() >= USERS && !self.debts.contains_key(&who) {
            self.debts.retain(|_, free| *free > now);
            if self.debts.len() >= USERS {
                who = None;
            }
        }
        let debt = self.debts.get(&who).map(|free| free.saturating_duration_since(now));
        let debt = debt.unwrap_or_default() + REFUSAL_EVERY;
        let admits = debt <= REFUSAL_EVERY * REFUSALS;
        if admits {
            self.debts.insert(who, now + debt);
        }
        admits
    }
}

/// Who was refused, if that is what the event says. Of a stranger, a name is only what somebody sent.
fn refused(event: &Event) -> Option<Option<&str>> {
    match event.name {
        EventName::TokenRefused | EventName::LoginFailed => Some(None),
        EventName::SessionRefused => Some(event.user.as_deref()),
        _ => None,
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
    fn nobody_fills_the_queue_or_the_disk_by_being_refused() {
        let queue = Queue::default();
        for _ in 0..REFUSALS + 5 {
            queue.add(event(EventName::LoginFailed).user("bob"));
            queue.add(event(EventName::SessionRefused).user("alice").cause("busy"));
        }
        queue.add(event(EventName::SessionRefused).user("bob"));
        let events = queue.take(ROOM, NOW);
        assert_eq!(events.len(), 2 * REFUSALS as usize + 2);
        assert_eq!(events[2 * REFUSALS as usize].count, Some(10));
        assert!(!queue.is_stuck(Instant::now()));
    }

    #[test]
    fn there_is_a_bound_to_the_users_whose_refusals_are_counted() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        for number in 0..USERS {
            assert!(waiting.admits(Some(&number.to_string()), now));
        }
        for number in 0..2 * REFUSALS {
            let admits = waiting.admits(Some(&format!("late-{number}")), now);
            assert_eq!(admits, number < REFUSALS);
        }
        assert!(waiting.debts.len() <= USERS + 1);
        assert!(waiting.admits(Some("later"), now + REFUSAL_EVERY * 2));
    }

    #[test]
    fn a_trail_is_stuck_while_an_event_waits_for_long_or_found_no_room() {
        let queue = Queue::default();
        let (now, later) = (Instant::now(), Instant::now() + WAITS * 2);
        assert!(!queue.is_stuck(later));
        queue.add(event(EventName::TokenIssued));
        assert!(!queue.is_stuck(now) && queue.is_stuck(later));
        queue.take(1, NOW);
        assert!(queue.is_stuck(later), "it is taken, and not written");
        queue.done(1);
        assert!(!queue.is_stuck(later));
        for _ in 0..ROOM {
            queue.add(event(EventName::TokenIssued));
        }
        assert!(queue.is_stuck(now), "an event found no room");
        while let taken @ 1.. = queue.take(ROOM / 2, NOW).len() {
            assert!(queue.is_stuck(now));
            queue.done(taken);
        }
        assert!(!queue.is_stuck(later));
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
