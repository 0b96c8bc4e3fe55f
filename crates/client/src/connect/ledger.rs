//! Sent input that the proxy has not acknowledged. With it, no input is sent twice or out of order,
//! over any number of connections of a session.

use std::collections::VecDeque;

/// 64 KiB: a line accepts as much for a guest that does not read.
const LIMIT: usize = 64 << 10;

/// The unacknowledged end of a session's input.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Count of the first byte in `kept`.
    first: u64,
    /// At most `LIMIT` bytes.
    kept: VecDeque<u8>,
}

/// The first input after a session was resumed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Again {
    /// The offset of the next byte in the session's count.
    pub(crate) offset: u64,
    /// The bytes from this offset on.
    pub(crate) bytes: Vec<u8>,
}

impl Ledger {
    /// How many sent bytes are not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.kept.len()
    }

    /// Whether `size` more bytes can be kept.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        self.kept.len() + size <= LIMIT
    }

    /// Records sent bytes. Beyond the limit, the oldest are dropped.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        self.forget(self.kept.len().saturating_sub(LIMIT));
    }

    /// The proxy has settled all input before `count`.
    pub(crate) fn acknowledge(&mut self, count: u64) {
        let size = usize::try_from(count.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.forget(size.min(self.kept.len()));
    }

    /// The session was resumed, and the proxy has `count` bytes of its input.
    pub(crate) fn resume(&mut self, count: u64) -> Again {
        self.acknowledge(count);
        let bytes = self.kept.iter().copied().collect();
        Again { offset: self.first, bytes }
    }

    /// Drops all bytes, and counts from `count` on; returns how many bytes may not have arrived.
    pub(crate) fn restart(&mut self, count: u64) -> usize {
        let size = self.kept.len();
        self.kept.clear();
        self.first = count;
        size
    }

    fn forget(&mut self, size: usize) {
        self.kept.drain(..size);
        self.first += size as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_the_proxy_does_not_have_is_sent_again() {
        let mut ledger = Ledger::default();
        ledger.sent(b"0123456789");
        ledger.acknowledge(3);
        ledger.acknowledge(2);
        assert_eq!(ledger.resume(7), Again { offset: 7, bytes: b"789".into() });
        assert_eq!(ledger.resume(10), Again { offset: 10, bytes: vec![] });
        ledger.sent(b"x");
        assert_eq!(ledger.restart(0), 1);
        assert_eq!(ledger.resume(0), Again { offset: 0, bytes: vec![] });
    }

    #[test]
    fn beyond_the_limit_the_oldest_bytes_are_forgotten_and_the_count_says_so() {
        let mut ledger = Ledger::default();
        ledger.sent(&[b'a'; LIMIT]);
        assert!(!ledger.has_room(1));
        ledger.sent(b"\x03");
        let again = ledger.resume(0);
        assert_eq!((again.offset, again.bytes.len()), (1, LIMIT));
        assert_eq!(again.bytes.last(), Some(&3));
    }

    /// A proxy's side of a session: it accepts bytes by their offset and drops repeated ones.
    #[derive(Default)]
    struct Proxy {
        /// All bytes that have reached the guest.
        guest: Vec<u8>,
        /// How many bytes of the session's input it has.
        has: u64,
        /// The offset of this connection's next byte.
        next: u64,
    }

    impl Proxy {
        fn take(&mut self, byte: u8) {
            if self.next >= self.has {
                self.guest.push(byte);
                self.has = self.next + 1;
            }
            self.next += 1;
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Type,
        /// The oldest byte in flight arrives.
        Arrive,
        /// The proxy acknowledges the bytes that have arrived.
        Acknowledge,
        /// The connection is lost, and the session is resumed.
        Drop,
        /// Like `Drop`, but the proxy has forgotten the session.
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Type),
            4 => Just(Step::Arrive),
            1 => Just(Step::Acknowledge),
            1 => Just(Step::Drop),
            1 => Just(Step::Restart),
        ]
    }

    /// Runs the steps. The input are the bytes from 0 on.
    fn play(steps: &[Step]) -> (u8, Proxy) {
        let (mut ledger, mut proxy) = (Ledger::default(), Proxy::default());
        let mut under_way = VecDeque::new();
        let mut typed = 0;
        for step in steps {
            match step {
                Step::Type => {
                    ledger.sent(&[typed]);
                    under_way.push_back(typed);
                    typed += 1;
                }
                Step::Arrive => under_way.pop_front().into_iter().for_each(|b| proxy.take(b)),
                Step::Acknowledge => ledger.acknowledge(proxy.has),
                Step::Drop => {
                    let again = ledger.resume(proxy.has);
                    proxy.next = again.offset;
                    under_way = again.bytes.into();
                }
                Step::Restart => {
                    (proxy.has, proxy.next) = (0, 0);
                    ledger.restart(0);
                    under_way.clear();
                }
            }
        }
        under_way.drain(..).for_each(|byte| proxy.take(byte));
        (typed, proxy)
    }

    proptest! {
        #[test]
        fn each_byte_reaches_the_guest_at_most_once_and_all_in_order(
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let (_, proxy) = play(&steps);
            prop_assert!(proxy.guest.is_sorted_by(|a, b| a < b), "{:?}", proxy.guest);
        }

        #[test]
        fn while_the_session_lives_no_byte_is_missing(
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let lives = |step: &&Step| !matches!(step, Step::Restart);
            let steps: Vec<_> = steps.iter().filter(lives).copied().collect();
            let (typed, proxy) = play(&steps);
            prop_assert_eq!(proxy.guest, (0..typed).collect::<Vec<_>>());
        }
    }
}
