//! Logins that failed: after some of one name, it has to wait.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use serialproxy_proto::token::TokenDigest;
use tokio::time::Instant;

/// How many may fail within [`SPAN`].
const MOST: u32 = 10;

/// Counted from the first that failed.
const SPAN: Duration = Duration::from_secs(60);

/// Names that are remembered. More than that cannot be tried within [`SPAN`]: a try is a hash.
const NAMES: usize = 10_000;

/// By digest, since what is typed as a name may be a password.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<TokenDigest, (Instant, u32)>>);

impl Failures {
    /// Whether this name has failed so often that it has to wait.
    pub(super) fn are_many(&self, name: &str) -> bool {
        let failures = self.lock();
        let failed = failures.get(&TokenDigest::of(name));
        failed.is_some_and(|(since, count)| since.elapsed() < SPAN && *count >= MOST)
    }

    /// Notes one more.
    pub(super) fn note(&self, name: &str) {
        let mut failures = self.lock();
        if failures.len() >= NAMES {
            failures.retain(|_, (since, _)| since.elapsed() < SPAN);
        }
        if failures.len() >= NAMES {
            failures.clear();
        }
        let entry = failures.entry(TokenDigest::of(name)).or_insert_with(|| (Instant::now(), 0));
        if entry.0.elapsed() >= SPAN {
            *entry = (Instant::now(), 0);
        }
        entry.1 += 1;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenDigest, (Instant, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_that_failed_often_waits_for_the_rest_of_a_minute_and_others_do_not() {
        let failures = Failures::default();
        for _ in 0..MOST {
            assert!(!failures.are_many("alice"));
            failures.note("alice");
        }
        assert!(failures.are_many("alice") && !failures.are_many("bob"));
        tokio::time::advance(SPAN).await;
        assert!(!failures.are_many("alice"));
        failures.note("alice");
        assert!(!failures.are_many("alice"));
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_not_remembered_without_end() {
        let failures = Failures::default();
        for name in 0..=NAMES {
            failures.note(&name.to_string());
        }
        assert!(failures.lock().len() <= NAMES);
    }
}
