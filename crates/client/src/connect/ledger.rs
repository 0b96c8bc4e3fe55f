//! Input that was sent and that the proxy has not acknowledged: what is needed to send nothing
//! twice, and nothing out of order, over as many connections as a session takes.

use std::collections::VecDeque;

/// 64 KiB: as much as a line takes in for a guest that does not read.
const LIMIT: usize = 64 << 10;

/// The unacknowledged end of a session's input.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Count of the first byte in `kept`.
    first: u64,
    /// At most `LIMIT` bytes.
    kept: VecDeque<u8>,
}

/// What a session that is come back to has to send first.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Again {
    /// Where the next byte belongs in the session's count.
    pub(crate) offset: u64,
    /// The bytes from there on.
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

    /// Takes note that `bytes` are sent. Beyond the limit the oldest are no longer kept.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        self.forget(self.kept.len().saturating_sub(LIMIT));
    }

    /// The proxy has handed all input before `count` on.
    pub(crate) fn acknowledge(&mut self, count: u64) {
        let size = usize::try_from(count.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.forget(size.min(self.kept.len()));
    }

    /// The same session goes on, and the proxy has `count` bytes of its input.
    pub(crate) fn resume(&mut self, count: u64) -> Again {
        self.acknowledge(count);
        let bytes = self.kept.iter().copied().collect();
        Again { offset: self.first, bytes }
    }

    /// Gives up what is kept and counts on from `count`; says how many bytes may not have arrived.
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

    /// A proxy's side of a session: it takes bytes by their place and drops what it has.
    #[derive(Default)]
    struct Proxy {
        /// All that ever reached the guest.
        guest: Vec<u8>,
        /// Input bytes of this session that it has.
        has: u64,
        /// Where the next byte of this connection belongs.
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
        /// The oldest byte that is under way arrives.
        Arrive,
        /// What arrived is acknowledged.
        Acknowledge,
        /// The connection breaks and the session is come back to.
        Drop,
        /// As `Drop`, and the proxy has forgotten the session.
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

    /// Runs the steps; what was typed are the bytes from 0 on.
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
