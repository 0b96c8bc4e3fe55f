//! When the owner reads: at once, or at a common interval (the beat) while the guest keeps
//! printing.
//!
//! QEMU's UART writes some 11 bytes at a time, a thousand times a second. A read of 11 bytes costs
//! as much as one of a thousand, and so does a frame to a viewer. So bytes that follow soon after a
//! read wait in the kernel for the next beat. All lines have the same beat, so that one timer wakes
//! them together. The first bytes after silence, and what may be the echo of a key, are read at
//! once.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// The time between two beats, too short to be noticed.
const BEAT: Duration = Duration::from_millis(5);

/// How long after input new output may be its echo.
const ECHO: Duration = Duration::from_millis(50);

/// A read of this many bytes is efficient, and a guest that prints this much in a beat must not
/// have to wait: the kernel buffers 64 KiB.
pub(crate) const MUCH: usize = 32 * 1024;

/// The time from which beats are counted.
static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Debug)]
pub(crate) struct Pace {
    /// The next beat; none while bytes are read as they arrive.
    beat: Option<Instant>,
    /// The time of the last read, if it brought few bytes.
    few_at: Option<Instant>,
    /// Bytes of input written to the guest so far, as of the last note.
    input: u64,
    echo_until: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { beat: None, few_at: None, input: 0, echo_until: Instant::now() }
    }

    /// When to read next; none means as soon as bytes arrive.
    pub(crate) fn beat(&self) -> Option<Instant> {
        self.beat
    }

    /// Records how many bytes of input have been written to the guest so far.
    pub(crate) fn note_input(&mut self, written: u64) {
        if self.input != written {
            self.input = written;
            self.echo_until = Instant::now() + ECHO;
            self.beat = None;
        }
    }

    /// Whether output that is read at this time may be the echo of a key.
    pub(crate) fn may_be_echo(&self, now: Instant) -> bool {
        now < self.echo_until
    }

    /// Whether the bytes after a read at this time wait for a beat, if the read brings few bytes.
    pub(crate) fn is_printing(&self, now: Instant) -> bool {
        let lately = || self.few_at.is_some_and(|few_at| now < few_at + BEAT);
        !self.may_be_echo(now) && (self.beat.is_some() || lately())
    }

    /// Records how many bytes a read at this time brought; none where none had arrived.
    pub(crate) fn note_read(&mut self, now: Instant, bytes: Option<usize>) {
        let few = match bytes {
            Some(bytes) => bytes < MUCH,
            // A beat without a byte means silence; any other read without one means nothing.
            None if self.beat.is_none() => return,
            None => false,
        };
        self.beat = (few && self.is_printing(now)).then(|| next_beat(now));
        self.few_at = few.then_some(now);
    }
}

fn next_beat(now: Instant) -> Instant {
    let since = now.saturating_duration_since(*FIRST).as_nanos() % BEAT.as_nanos();
    now + BEAT - Duration::from_nanos(u64::try_from(since).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// The times at which the owner reads from a guest that prints a piece each millisecond.
    async fn reads(pace: &mut Pace, time: Duration, piece: usize) -> Vec<Instant> {
        let end = Instant::now() + time;
        let mut reads = Vec::new();
        let mut waiting = 0;
        while Instant::now() < end {
            waiting += piece;
            let now = Instant::now();
            if pace.beat().is_none_or(|beat| beat <= now) {
                pace.note_read(now, Some(waiting));
                waiting = 0;
                reads.push(now);
            }
            tokio::time::sleep(MILLISECOND).await;
        }
        reads
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_keeps_printing_is_read_by_the_beat_and_its_first_bytes_at_once() {
        let mut pace = Pace::new();
        let started = Instant::now();
        let reads = reads(&mut pace, Duration::from_secs(1), 11).await;
        assert_eq!(reads[0], started);
        assert!((195..=205).contains(&reads.len()), "{}", reads.len());
        // The guest fell silent: the beat finds nothing, and the next bytes are read at once.
        pace.note_read(pace.beat().unwrap(), None);
        assert_eq!(pace.beat(), None);
        tokio::time::sleep(BEAT).await;
        pace.note_read(Instant::now(), Some(11));
        assert_eq!(pace.beat(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn all_lines_have_the_same_beat() {
        let [mut one, mut other] = [Pace::new(), Pace::new()];
        reads(&mut one, 7 * MILLISECOND, 11).await;
        reads(&mut other, 2 * MILLISECOND, 11).await;
        let now = Instant::now();
        one.note_read(now, Some(11));
        other.note_read(now, Some(11));
        assert!(one.beat().is_some());
        assert_eq!(one.beat(), other.beat());
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_an_echo_waits_for_no_beat() {
        let mut pace = Pace::new();
        reads(&mut pace, 20 * MILLISECOND, 11).await;
        pace.note_input(1);
        let typed = Instant::now();
        assert_eq!(pace.beat(), None);
        assert_eq!(reads(&mut pace, ECHO, 11).await.len(), 50);
        assert_eq!(typed.elapsed(), ECHO);
        assert!(reads(&mut pace, ECHO, 11).await.len() < 15);
        pace.note_input(1);
        assert!(pace.beat().is_some(), "nothing more was typed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_prints_much_or_seldom_is_read_at_once() {
        let mut pace = Pace::new();
        assert_eq!(reads(&mut pace, 20 * MILLISECOND, MUCH).await.len(), 20);
        for _ in 0..10 {
            tokio::time::sleep(BEAT).await;
            pace.note_read(Instant::now(), Some(1));
            assert_eq!(pace.beat(), None);
        }
    }
}
