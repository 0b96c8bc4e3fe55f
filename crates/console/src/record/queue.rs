//! The data of a recording that waits to be written. It is limited in size, with a share for each
//! session, and separately for input and output, so that neither a flood of output nor another
//! session displaces input.

use std::mem::size_of;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::event::Event;

/// Most waiting bytes of all recordings together: this much output, and the same amount of input. A
/// session may use as much as it leaves free for the others.
const ROOM: usize = 16 * 1024 * 1024;

/// Bytes that a session can always queue, whatever others have queued.
const LEAST: usize = 8 * 1024;

/// Events of one kind within this time become one.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// Largest joined event in bytes. With this much data, the writer does not wait for more.
const LARGE: usize = 64 * 1024;

/// An event of a session, and its time after the beginning.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Duration,
    pub(super) event: Event,
    /// Bytes before it that did not fit.
    pub(super) missing: u64,
}

/// Waiting bytes of all recordings, including the memory for keeping them.
#[derive(Debug, Default)]
pub(super) struct Load([AtomicUsize; 2]);

impl Load {
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }
}

/// Waiting bytes of one recording, by kind.
pub(super) type Bytes = [usize; 2];

/// The waiting data of one recording.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: Vec<Entry>,
    /// Bytes of the entries, and of those that are being written.
    waiting: Bytes,
    /// Bytes since the last entry that did not fit.
    missing: u64,
    called: Call,
    ended: bool,
}

/// A request to the writer.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Call {
    #[default]
    Nothing,
    /// Write.
    Soon,
    /// Write without waiting for more.
    Now,
}

/// An event did not fit.
#[derive(Debug)]
pub(super) struct NoRoom {
    /// Whether it is the first one after an event that did.
    pub(super) first: bool,
}

/// Data to write.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// There is no more data after it; this many bytes are missing at the end.
    pub(super) ended: Option<u64>,
    pub(super) bytes: Bytes,
}

impl Queue {
    /// Adds an event; returns the request to the writer.
    pub(super) fn add(&mut self, at: Duration, event: Event, all: &Load) -> Result<Call, NoRoom> {
        let last = self.entries.last_mut().filter(|_| self.missing == 0);
        let last = last.filter(|last| at < last.at + PAUSE && last.event.joins(&event, LARGE));
        let cost = event.length() + if last.is_some() { 0 } else { size_of::<Entry>() };
        let kind = kind(&event);
        let (Some(own), Some(all)) = (self.waiting.get_mut(kind), all.0.get(kind)) else {
            return Ok(Call::Nothing);
        };
        let free = ROOM.saturating_sub(all.load(Ordering::Relaxed));
        if *own + cost > free.max(LEAST) {
            let first = self.missing == 0;
            self.missing += event.length() as u64;
            return Err(NoRoom { first });
        }
        *own += cost;
        all.fetch_add(cost, Ordering::Relaxed);
        match last {
            Some(last) => last.event.append(event),
            None => {
                let missing = std::mem::take(&mut self.missing);
                self.entries.push(Entry { at, event, missing });
            }
        }
        let large = self.waiting.iter().sum::<usize>() >= LARGE;
        Ok(self.call(if large { Call::Now } else { Call::Soon }))
    }

    /// There are no more events.
    pub(super) fn end(&mut self) -> Call {
        self.ended = true;
        self.call(Call::Soon)
    }

    fn call(&mut self, call: Call) -> Call {
        if call <= self.called {
            return Call::Nothing;
        }
        self.called = call;
        call
    }

    /// Takes all waiting data. It occupies its room until [`Self::written`].
    pub(super) fn take(&mut self) -> Batch {
        self.called = Call::Nothing;
        let ended = self.ended.then(|| std::mem::take(&mut self.missing));
        Batch { entries: std::mem::take(&mut self.entries), ended, bytes: self.waiting }
    }

    /// This many of the taken bytes are written.
    pub(super) fn written(&mut self, bytes: Bytes, all: &Load) {
        for ((own, all), bytes) in self.waiting.iter_mut().zip(&all.0).zip(bytes) {
            *own -= bytes;
            all.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// The kind under which an event counts. The end of a session must not be lost in a flood before
/// it.
fn kind(event: &Event) -> usize {
    match event {
        Event::Input(_) | Event::Note(_) => 0,
        Event::Output { .. } | Event::Size(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    fn typed(text: &str) -> Event {
        Event::Input(text.as_bytes().to_vec())
    }

    fn shown(size: usize) -> Event {
        Event::Output { bytes: vec![b'x'; size], live: true }
    }

    /// Output until no more fits.
    fn flood(queue: &mut Queue, all: &Load) {
        while queue.add(SOON, shown(LARGE), all).is_ok() {}
        while queue.add(SOON, shown(1), all).is_ok() {}
    }

    #[test]
    fn what_is_typed_after_8500_keys_and_a_flood_of_output_is_there() {
        let (mut queue, all) = (Queue::default(), Load::default());
        for key in 0..8500 {
            queue.add(SOON * key, typed("x"), &all).unwrap();
            queue.add(SOON * key, shown(1), &all).unwrap();
        }
        flood(&mut queue, &all);
        queue.add(SOON * 8500, typed("rm -rf /\r"), &all).unwrap();
        let last = queue.take().entries.pop().unwrap();
        assert_eq!(last.event, typed("rm -rf /\r"));
    }

    #[test]
    fn floods_of_many_sessions_leave_room_for_another_and_for_what_is_typed() {
        let all = Load::default();
        let mut queues: Vec<Queue> = (0..100).map(|_| Queue::default()).collect();
        for queue in &mut queues {
            flood(queue, &all);
            while queue.add(SOON, typed("key"), &all).is_ok() {}
        }
        assert!(all.bytes() <= 2 * (ROOM + queues.len() * LEAST), "{}", all.bytes());
        let mut another = Queue::default();
        another.add(SOON, shown(LEAST / 2), &all).unwrap();
        another.add(SOON, typed("rm -rf /\r"), &all).unwrap();
        for queue in &mut queues {
            let batch = queue.take();
            queue.written(batch.bytes, &all);
        }
        flood(&mut another, &all);
        assert!(another.waiting[1] > ROOM / 3, "one alone has a large share");
    }

    #[test]
    fn events_of_one_kind_become_one_within_a_moment() {
        let (mut queue, all) = (Queue::default(), Load::default());
        for (at, text) in [(0, "a"), (1, "b"), (19, "c"), (20, "d")] {
            queue.add(SOON * at, typed(text), &all).unwrap();
        }
        let events: Vec<_> = queue.take().entries.into_iter().map(|entry| entry.event).collect();
        assert_eq!(events, [typed("abc"), typed("d")]);
    }

    #[test]
    fn the_writer_is_called_once_and_again_when_there_is_much() {
        let (mut queue, all) = (Queue::default(), Load::default());
        assert_eq!(queue.add(SOON, typed("a"), &all).unwrap(), Call::Soon);
        assert_eq!(queue.add(SOON, typed("b"), &all).unwrap(), Call::Nothing);
        assert_eq!(queue.add(SOON, shown(LARGE), &all).unwrap(), Call::Now);
        assert_eq!(queue.add(SOON, shown(LARGE), &all).unwrap(), Call::Nothing);
        assert_eq!(queue.end(), Call::Nothing);
        queue.take();
        assert_eq!(queue.add(SOON, typed("a"), &all).unwrap(), Call::Now, "it is still written");
    }

    #[test]
    fn how_much_found_no_room_is_said_once_something_does() {
        let (mut queue, all) = (Queue::default(), Load::default());
        flood(&mut queue, &all);
        assert!(!queue.add(SOON, shown(10), &all).unwrap_err().first);
        let batch = queue.take();
        assert_eq!(batch.entries.iter().map(|entry| entry.missing).sum::<u64>(), 0);
        queue.written(batch.bytes, &all);
        queue.add(SOON, shown(1), &all).unwrap();
        flood(&mut queue, &all);
        queue.end();
        let batch = queue.take();
        assert_eq!(batch.entries[0].missing, LARGE as u64 + 1 + 10);
        assert_eq!(batch.ended, Some(LARGE as u64 + 1));
    }
}
