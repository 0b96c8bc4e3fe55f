//! How long the owner may delay a read so that a session can catch up.
//!
//! Without delays, a source that is faster than any network would push every reader out of the
//! history; without a limit, a slow reader would stall the guest. So a delay is taken from a
//! budget, which the bytes that are read refill. Apart from the initial budget [`MOST`], the line
//! always reads at least [`GUARANTEED`] bytes a second, which no UART reaches.

use std::time::Duration;

/// Bytes a second that no session can slow a line below: 16 MiB, forty times what an emulated
/// 16550 gives.
const GUARANTEED: u32 = 16 * 1024 * 1024;

/// The most time that can be spent at once. In this time a UART prints less than the socket between
/// us and the hypervisor buffers.
const MOST: Duration = Duration::from_millis(250);

/// The time budget for waiting.
#[derive(Debug)]
pub(crate) struct Patience(Duration);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(MOST)
    }

    /// Bytes were read: adds to the budget.
    pub(crate) fn earn(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.0 = (self.0 + Duration::from_secs(1) * bytes / GUARANTEED).min(MOST);
    }

    /// Time was spent waiting.
    pub(crate) fn spend(&mut self, waited: Duration) {
        self.0 = self.0.saturating_sub(waited);
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_any_stretch_the_guaranteed_rate_is_kept() {
        let mut patience = Patience::new();
        let (mut waited, mut read) = (Duration::ZERO, 0usize);
        for _ in 0..1000 {
            let pause = patience.left();
            patience.spend(pause);
            waited += pause;
            patience.earn(4096);
            read += 4096;
        }
        let owed = Duration::from_secs_f64(read as f64 / f64::from(GUARANTEED));
        assert!(waited <= owed + MOST, "{waited:?} for {read} bytes");
    }
}
