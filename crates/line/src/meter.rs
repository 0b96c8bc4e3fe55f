//! How many bytes of input are in flight: written to the hypervisor's port, and not yet read by it.
//!
//! Input that is in flight when the pen changes hands still reaches the guest. The kernel would
//! buffer megabytes, so the meter allows only what the port will read soon: `[line]
//! input_in_flight` bytes for a UART and, for a port that reads faster than any UART, what it reads
//! in 2 ms, at most 64 KiB.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

/// Most bytes in flight, however fast the port reads.
const MOST: u64 = 64 * 1024;

/// The time within which a fast port reads everything in flight.
const MOMENT: Duration = Duration::from_millis(2);

/// Bytes in a millisecond that no UART reads: 230,400 baud are 23.
const FAST: u128 = 40;

/// For this time after a write, a fast port is checked in turn with other tasks, because a timer is
/// too coarse.
const TURNS: Duration = Duration::from_millis(1);

/// The shortest and the longest pause between two checks. At 115,200 baud, a port reads less than
/// 512 bytes in the longest, so it never runs out of input.
const SHORTEST: Duration = Duration::from_micros(500);
const LONGEST: Duration = Duration::from_millis(32);

/// How many bytes are in flight, as far as can be seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UnderWay {
    /// Bytes that the hypervisor has not read yet.
    Unread(u64),
    /// Bytes that another machine's kernel has not acknowledged yet.
    Unacknowledged(u64),
}

#[derive(Debug)]
pub(crate) struct Meter {
    /// The configured maximum of bytes in flight.
    least: u64,
    /// The present maximum, which depends on the port's speed.
    window: u64,
    /// Bytes that may be in flight, as of the last check.
    under_way: u64,
    /// The bytes in flight right after the last write.
    written: u64,
    written_at: Instant,
    looked_at: Instant,
    pause: Duration,
}

impl Meter {
    pub(crate) fn new(most: usize) -> Self {
        let now = Instant::now();
        let least = most as u64;
        let window = least;
        let (under_way, written, pause) = (0, 0, SHORTEST);
        Self { least, window, under_way, written, written_at: now, looked_at: now, pause }
    }

    /// Whether to check the bytes in flight before writing this many; a single key needs no check.
    pub(crate) fn is_to_look(&self, bytes: usize) -> bool {
        self.room() < bytes as u64 && self.next_look() <= Instant::now()
    }

    /// Writes as much of `bytes` as the maximum allows.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Many small writes would cost more than they gain.
        if self.room() < (bytes.len() as u64).min(self.window.div_ceil(2)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        let written = write(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        match &written {
            Ok(written) => {
                self.under_way += *written as u64;
                self.written = self.under_way;
                self.written_at = Instant::now();
            }
            Err(_) => self.wait(),
        }
        written
    }

    /// The socket accepts nothing now: the next check is after a pause.
    pub(crate) fn wait(&mut self) {
        self.looked_at = Instant::now();
    }

    /// When there may be room again. A past time means the task's next turn.
    pub(crate) fn next_look(&self) -> Instant {
        let takes_turns =
            self.window > self.least && self.looked_at.duration_since(self.written_at) < TURNS;
        match takes_turns {
            true => self.looked_at,
            false => self.looked_at.max(self.written_at) + self.pause,
        }
    }

    fn room(&self) -> u64 {
        self.window.saturating_sub(self.under_way)
    }

    /// Records the bytes in flight, and how fast the port reads.
    pub(crate) fn note(&mut self, seen: UnderWay) {
        let now = Instant::now();
        let (left, is_near) = match seen {
            UnderWay::Unread(left) => (left.min(self.under_way), true),
            UnderWay::Unacknowledged(left) => (left.min(self.under_way), false),
        };
        // Timers are late on a busy machine, so the speed since the write counts.
        let took = now.duration_since(self.written_at);
        let taken = self.written.saturating_sub(left);
        self.under_way = left;
        self.looked_at = now;
        if left > 0 && took < TURNS {
            return;
        }
        let window = match left {
            0 if is_near && is_fast(taken, took) => self.window * 2,
            0 => self.window,
            left if taken == 0 => self.window.min(left),
            _ => self.window.min(within_a_moment(taken, took)),
        };
        self.window = window.clamp(self.least, MOST.max(self.least));
        let pause = match left {
            0 => SHORTEST,
            _ if taken == 0 => took,
            // By then half of the rest is left, so the port does not run out of input.
            left => took.mul_f64(left as f64 / taken as f64 / 2.0),
        };
        self.pause = pause.clamp(SHORTEST, LONGEST);
    }
}

/// Whether a port reads faster than a UART.
fn is_fast(read: u64, took: Duration) -> bool {
    u128::from(read) * 1_000_000 >= FAST * took.as_nanos()
}

/// Bytes that a port reads in a [`MOMENT`].
fn within_a_moment(read: u64, took: Duration) -> u64 {
    let bytes = u128::from(read) * MOMENT.as_nanos() / took.as_nanos().max(1);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASTE: &[u8] = &[0; 1 << 20];

    /// Writes as much as the meter allows, with the checks that it asks for; returns how much.
    fn fill(meter: &mut Meter, seen: UnderWay) -> u64 {
        if meter.is_to_look(PASTE.len()) {
            meter.note(seen);
        }
        meter.write(PASTE, |piece| Ok(piece.len())).unwrap_or(0) as u64
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_reads_nothing_gets_what_is_configured_and_no_more() {
        let mut meter = Meter::new(512);
        assert_eq!(fill(&mut meter, UnderWay::Unread(0)), 512);
        for _ in 0..1000 {
            tokio::time::sleep_until(meter.next_look()).await;
            assert_eq!(fill(&mut meter, UnderWay::Unread(512)), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_written_without_a_look() {
        let mut meter = Meter::new(512);
        let key = |meter: &mut Meter| meter.write(b"k", |piece| Ok(piece.len())).is_ok();
        for _ in 0..512 {
            assert!(!meter.is_to_look(1) && key(&mut meter));
        }
        assert!(!meter.is_to_look(1) && !key(&mut meter));
        tokio::time::sleep_until(meter.next_look()).await;
        assert!(meter.is_to_look(1));
        meter.note(UnderWay::Unread(0));
        assert!(key(&mut meter));
    }

    /// Simulates a second of a port with this speed; returns the bytes that it reads and the most
    /// bytes that were in flight. Bytes that are left wait for the next second.
    async fn second(meter: &mut Meter, bytes_per_second: u64, waits: &mut u64) -> (u64, u64) {
        let start = Instant::now();
        let (mut read, mut under_way, mut most, mut at, mut able) = (0, *waits, 0, start, 0);
        while start.elapsed() < Duration::from_secs(1) {
            able += bytes_per_second * at.elapsed().subsec_nanos() as u64;
            at = Instant::now();
            let reads = under_way.min(able / 1_000_000_000);
            (read, under_way) = (read + reads, under_way - reads);
            // A port without input to read loses that time.
            able = if under_way == 0 { 0 } else { able % 1_000_000_000 };
            under_way += fill(meter, UnderWay::Unread(under_way));
            most = most.max(under_way);
            // A task's turn takes some microseconds.
            let turn = Instant::now() + Duration::from_micros(5);
            tokio::time::advance(meter.next_look().max(turn) - Instant::now()).await;
        }
        *waits = under_way;
        (read, most)
    }

    #[tokio::test(start_paused = true)]
    async fn a_uart_never_waits_for_input_and_has_no_more_under_way_than_configured() {
        for speed in [9_600, 11_520, 200_000] {
            let (read, most) = second(&mut Meter::new(512), speed, &mut 0).await;
            assert!(read > speed / 100 * 95, "{read} of {speed}");
            assert!(most <= 512, "{most} bytes under way at {speed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_reads_at_once_gets_more_by_and_by() {
        let mut meter = Meter::new(512);
        let mut waits = 0;
        second(&mut meter, 1_000_000_000, &mut waits).await;
        let (read, most) = second(&mut meter, 1_000_000_000, &mut waits).await;
        assert!(read > 900_000_000 && most <= MOST, "{read} bytes, {most} under way");
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_reads_at_once_gets_more_also_where_every_look_is_late() {
        let mut meter = Meter::new(512);
        let mut last = 0;
        for _ in 0..20 {
            last = fill(&mut meter, UnderWay::Unread(0));
            tokio::time::advance(Duration::from_millis(8)).await;
        }
        assert_eq!(last, MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_becomes_slow_has_little_under_way_soon() {
        let mut meter = Meter::new(512);
        let mut waits = 0;
        second(&mut meter, 1_000_000_000, &mut waits).await;
        second(&mut meter, 1_000_000, &mut waits).await;
        second(&mut meter, 11_520, &mut waits).await;
        assert!(second(&mut meter, 11_520, &mut waits).await.1 <= 512);
    }

    #[tokio::test(start_paused = true)]
    async fn another_machine_acknowledges_what_nobody_reads_and_gets_no_more_for_it() {
        let mut meter = Meter::new(512);
        for _ in 0..1000 {
            assert_eq!(fill(&mut meter, UnderWay::Unacknowledged(0)), 512);
            tokio::time::sleep_until(meter.next_look()).await;
        }
    }
}
