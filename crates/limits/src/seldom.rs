//! Warnings that clients and guests can cause without limit: each is logged once in 10 s in the
//! whole process.

use std::sync::LazyLock;
use std::time::Duration;
use std::time::Instant;

use crate::meter::Meter;

/// How often one warning is logged.
const EVERY: Duration = Duration::from_secs(10);

static LOGGED: LazyLock<Meter> = LazyLock::new(|| Meter::new(1, EVERY, Duration::ZERO));

/// Whether to log the warning with this name, which must be unique, now; counts it.
pub fn is_due(warning: &'static str) -> bool {
    LOGGED.count(&warning, Instant::now()).is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_due_once_in_a_while_and_keeps_no_other_from_it() {
        let due = (0..100).filter(|_| is_due("a test's"));
        assert_eq!(due.count(), 1);
        assert!(is_due("another test's"));
    }
}
