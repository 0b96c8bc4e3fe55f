//! When the bytes of a chunk of the history arrived.
//!
//! A stamp says since which offset the bytes arrived at a time. Bytes that arrive less than [`STEP`]
//! after a stamp get none of their own. So a line that prints has at most a hundred stamps a second,
//! and a silent one none. Stamps are stored as differences: those of a guest that keeps printing
//! take 2 to 3 bytes each.

/// The resolution of the times, in milliseconds.
const STEP: u64 = 10;

/// From this offset on, bytes arrived at this time, in milliseconds since 1970. 0 is a time that
/// nobody knows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Arrived {
    pub(crate) offset: u64,
    pub(crate) time: u64,
}

/// The last stamp of a chunk.
pub(crate) type Last = Arrived;

/// The stamps of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    /// The time of the chunk's first byte.
    first: u64,
    /// The other stamps: pairs of bytes and milliseconds since the stamp before, seven bits in each
    /// byte.
    differences: Vec<u8>,
}

impl Stamps {
    /// The stamps of a chunk whose first byte arrives at this time.
    pub(crate) fn new(first: u64) -> Self {
        Self { first, differences: Vec::new() }
    }

    /// The bytes from `offset` on arrive now. `last` is the last stamp here. Where more than `most`
    /// bytes would be needed, every second stamp is dropped.
    pub(crate) fn note(&mut self, last: &mut Last, offset: u64, now: u64, most: usize) {
        if now.abs_diff(last.time) < STEP {
            return;
        }
        self.push(*last, Arrived { offset, time: now });
        *last = Arrived { offset, time: now };
        if self.differences.len() > most {
            self.thin_out();
        }
    }

    /// The stamps of a chunk that begins at `start`.
    pub(crate) fn of(&self, start: u64) -> impl Iterator<Item = Arrived> {
        let mut at = Arrived { offset: start, time: self.first };
        let mut rest = self.differences.as_slice();
        let others = std::iter::from_fn(move || {
            at.offset += take(&mut rest)?;
            at.time = at.time.wrapping_add_signed(signed(take(&mut rest)?));
            Some(at)
        });
        std::iter::once(at).chain(others)
    }

    fn push(&mut self, before: Arrived, stamp: Arrived) {
        put(&mut self.differences, stamp.offset - before.offset);
        put(&mut self.differences, unsigned(stamp.time.wrapping_sub(before.time).cast_signed()));
    }

    /// Drops every second stamp, but neither the first nor the last.
    fn thin_out(&mut self) {
        let all: Vec<_> = self.of(0).collect();
        let kept = all.iter().skip(1).rev().step_by(2).rev();
        self.differences = Vec::with_capacity(self.differences.len());
        let mut before = Arrived { offset: 0, time: self.first };
        for stamp in kept {
            self.push(before, *stamp);
            before = *stamp;
        }
    }
}

/// Small numbers take few bytes, also below 0: the clock may be set back.
fn unsigned(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A chunk that bytes arrive in: their offsets and times.
    fn chunk(arrivals: &[(u64, u64)], most: usize) -> Vec<Arrived> {
        let Some(((start, first), others)) = arrivals.split_first() else { return Vec::new() };
        let mut stamps = Stamps::new(*first);
        let mut last = Arrived { offset: *start, time: *first };
        for (offset, time) in others {
            stamps.note(&mut last, *offset, *time, most);
            assert!(stamps.differences.len() <= most.max(22), "{}", stamps.differences.len());
        }
        stamps.of(*start).collect()
    }

    #[test]
    fn bytes_within_ten_milliseconds_share_a_stamp() {
        let stamps = chunk(&[(0, 1000), (11, 1005), (22, 1009), (33, 1010), (44, 1019)], 100);
        let wanted = [(0, 1000), (33, 1010)].map(|(offset, time)| Arrived { offset, time });
        assert_eq!(stamps, wanted);
    }

    #[test]
    fn a_guest_that_keeps_printing_has_stamps_of_two_bytes() {
        let mut stamps = Stamps::new(1_796_000_000_000);
        let mut last = Arrived { offset: 0, time: 1_796_000_000_000 };
        for beat in 1..=100 {
            stamps.note(&mut last, beat * 115, 1_796_000_000_000 + beat * 10, 8192);
        }
        assert_eq!(stamps.differences.len(), 200);
    }

    #[test]
    fn where_there_is_no_room_every_second_stamp_is_kept_and_the_last() {
        let arrivals: Vec<(u64, u64)> = (0..1000).map(|n| (n, 5000 + n * 100)).collect();
        let stamps = chunk(&arrivals, 256);
        assert!((40..=128).contains(&stamps.len()), "{}", stamps.len());
        assert_eq!(stamps.first(), Some(&Arrived { offset: 0, time: 5000 }));
        assert_eq!(stamps.last(), Some(&Arrived { offset: 999, time: 5000 + 99_900 }));
        assert!(stamps.iter().all(|stamp| stamp.time == 5000 + stamp.offset * 100));
    }

    proptest! {
        #[test]
        fn every_byte_has_the_time_at_which_it_arrived_even_if_the_clock_is_set(
            steps in proptest::collection::vec((1..100_000_u64, any::<u32>()), 1..50),
        ) {
            let mut offset = 7;
            let mut arrivals = Vec::new();
            for (bytes, time) in steps {
                arrivals.push((offset, u64::from(time)));
                offset += bytes;
            }
            let stamps = chunk(&arrivals, usize::MAX);
            for (offset, time) in arrivals {
                let stamp = stamps.iter().rev().find(|stamp| stamp.offset <= offset).unwrap();
                prop_assert!(stamp.time.abs_diff(time) < STEP);
            }
        }
    }
}
