//! Failed logins, counted by name and address, and failed tokens, counted by address: too many of
//! them delay the next attempt.
//!
//! Failures of a name alone never delay it: otherwise anybody could lock the name's user out.

use std::hash::Hash;
use std::time::Duration;
use std::time::Instant;

use serialproxy_audit::Audit;
use serialproxy_audit::EventName;
use serialproxy_limits::Lately;
use serialproxy_limits::Meter;
use serialproxy_limits::Places;
use serialproxy_limits::Source;
use serialproxy_proto::token::TokenDigest;
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::evidence::event;
use crate::fault::Fault;
use crate::strangers::StrangerLog;

/// The time in which an address may fail as often as the limit says.
const SPAN: Duration = Duration::from_secs(60);

/// The longest delay of an attempt.
const MOST: Duration = Duration::from_secs(30);

/// Logins of one name at one address that may wait at a time.
const WAITING: usize = 16;

/// Logins of one address that may wait at a time, of all names that did not log in there lately.
/// With the longest delay, an address can try this many passwords in each [`MOST`].
const WAITING_OF_ADDRESS: usize = 128;

/// How many successful logins are remembered, each a name at an address, and for how long.
const KNOWN: usize = 4096;
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// How often a waiting login checks whether its delay has ended.
const STEP: Duration = Duration::from_millis(100);

/// Unknown tokens of all addresses that may wait at a time. Each holds a connection. Further ones
/// are answered at once: no number of tries guesses a token.
const TOKENS: usize = 64;

/// The failures of all clients.
#[derive(Debug)]
pub(crate) struct Failures {
    addresses: Meter,
    /// Failures of one name at one address, with half the limit of an address. The key is a digest,
    /// since people sometimes type their password as a name.
    names: Meter,
    /// Names that logged in at an address: failures of other names there do not delay them.
    known: Lately<Named>,
    tokens: Semaphore,
    waiting: Places<Named>,
    waiting_of_address: Places<Source>,
    /// The rate limit of log lines about refused logins.
    pub(super) refused: StrangerLog,
}

/// A name at an address.
type Named = (Source, TokenDigest);

/// Where a login attempt comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trier<'a> {
    pub(crate) client: Client,
    pub(crate) failures: &'a Failures,
    pub(crate) audit: &'a Audit,
}

/// A login whose password is not verified yet. It counts as failed until it succeeds, so that
/// simultaneous logins count, too.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    known: &'a Lately<Named>,
    /// None where the name logged in at the address lately.
    address: Option<Counted<'a, Source>>,
    name: Counted<'a, Named>,
}

/// An attempt in one of the meters.
#[derive(Debug)]
struct Counted<'a, K> {
    meter: &'a Meter,
    key: K,
    /// Whether the attempt was counted. It is not while the delay is at its maximum: then there is
    /// nothing to take back.
    counts: bool,
}

impl Failures {
    /// Allows an address this many failures in a minute; 0 is no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        let meter = |most| Meter::new(most, SPAN, MOST);
        Self {
            addresses: meter(per_minute),
            names: meter(per_minute.div_ceil(2)),
            known: Lately::new(KNOWN, LIFE),
            tokens: Semaphore::new(TOKENS),
            waiting: Places::new(WAITING),
            waiting_of_address: Places::new(WAITING_OF_ADDRESS),
            refused: StrangerLog::default(),
        }
    }
}

impl<'a> Trier<'a> {
    /// Begins a login after the delay that earlier failures cause. Refused where too many logins
    /// wait.
    pub(super) async fn log_in(self, user: &str) -> Result<Attempt<'a>, Fault> {
        let (failures, source) = (self.failures, self.client.source());
        let named = (source, TokenDigest::of(user));
        let is_known = failures.known.knows(&named, now());
        let full = || {
            Fault::TooMany(
                "too many logins from your address are waiting: try again \
                 later"
                    .into(),
            )
        };
        let _place = failures.waiting.enter(named).ok_or_else(full)?;
        let of_address = || failures.waiting_of_address.enter(source).ok_or_else(full);
        let _place_of_address = (!is_known).then(of_address).transpose()?;
        let mut attempt = Attempt {
            known: &failures.known,
            address: (!is_known).then(|| Counted::new(&failures.addresses, source)),
            name: Counted::new(&failures.names, named),
        };
        attempt.wait().await;
        Ok(attempt)
    }

    /// Counts an unknown token and waits for the delay that earlier failures cause; does not wait
    /// where too many do.
    pub(super) async fn unknown_token(self) {
        self.audit.record(event(EventName::LoginFailed).cause("token"));
        serialproxy_metrics::LOGIN_FAILURES.inc();
        let wait = self.failures.addresses.count(&self.client.source(), now());
        let Ok(_place) = self.failures.tokens.try_acquire() else { return };
        tokio::time::sleep(wait).await;
    }
}

impl Attempt<'_> {
    /// Waits for the delay that earlier failures cause, or until enough of them turn out to be
    /// successes.
    async fn wait(&mut self) {
        let until = now() + self.left();
        while now() < until && !self.left().is_zero() {
            tokio::time::sleep(STEP.min(until.saturating_duration_since(now()))).await;
        }
    }

    /// The delay that is left.
    fn left(&mut self) -> Duration {
        let now = now();
        let of_address = self.address.as_mut().map(|address| address.left(now));
        self.name.left(now).max(of_address.unwrap_or_default())
    }

    /// The password was right.
    pub(super) fn succeeded(self) {
        self.known.remember(self.name.key, now());
        self.take_back();
    }

    /// The password was right, or was not verified.
    pub(super) fn take_back(self) {
        let now = now();
        if let Some(address) = self.address {
            address.take_back(now);
        }
        self.name.take_back(now);
    }
}

impl<'a, K: Hash> Counted<'a, K> {
    fn new(meter: &'a Meter, key: K) -> Self {
        Self { meter, key, counts: false }
    }

    /// The delay that is left. Counts the attempt as soon as the meter has room for it.
    fn left(&mut self, now: Instant) -> Duration {
        if self.counts {
            return self.meter.wait(&self.key, now);
        }
        let wait = self.meter.try_count(&self.key, now);
        self.counts = wait.is_some();
        wait.unwrap_or(MOST)
    }

    fn take_back(self, now: Instant) {
        if self.counts {
            self.meter.take_back(&self.key, now);
        }
    }
}

/// The clock that tokio's timers use, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn trier<'a>(failures: &'a Failures, address: &str) -> Trier<'a> {
        static NONE: Audit = Audit::none();
        Trier { client: Client(address.parse().unwrap()), failures, audit: &NONE }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_failed_often_waits_at_that_address_and_nowhere_else() {
        let failures = Failures::new(20);
        let (here, there) = (trier(&failures, "192.0.2.7"), trier(&failures, "192.0.2.8"));
        let started = Instant::now();
        for _ in 0..10 {
            here.log_in("alice").await.unwrap();
        }
        here.log_in("bob").await.unwrap().succeeded();
        there.log_in("alice").await.unwrap().succeeded();
        assert_eq!(started.elapsed(), Duration::ZERO);
        here.log_in("alice").await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn many_tries_at_once_count_as_many() {
        let failures = Failures::new(20);
        let here = trier(&failures, "192.0.2.7");
        let started = Instant::now();
        let tries = (0..64)
            .map(|_| async { here.log_in("alice").await.is_ok().then(|| started.elapsed()) });
        let waits = futures_util::future::join_all(tries).await;
        let waits: Vec<_> = waits.into_iter().flatten().collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 10);
        assert_eq!(waits.len(), 10 + WAITING, "the others are refused");
        assert!(waits.iter().all(|wait| *wait <= MOST), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_many_names_or_tokens_waits_too() {
        let failures = Failures::new(20);
        let here = trier(&failures, "192.0.2.7");
        let started = Instant::now();
        for number in 0..10 {
            here.log_in(&number.to_string()).await.unwrap();
            here.unknown_token().await;
        }
        assert_eq!(started.elapsed(), Duration::ZERO);
        here.unknown_token().await;
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_logged_in_does_not_wait_for_others_who_guess_at_the_address() {
        let failures = Failures::new(20);
        let here = trier(&failures, "192.0.2.7");
        here.log_in("alice").await.unwrap().succeeded();
        for _ in 0..30 {
            here.unknown_token().await;
        }
        let started = Instant::now();
        for _ in 0..10 {
            here.log_in("alice").await.unwrap();
        }
        assert_eq!(started.elapsed(), Duration::ZERO);
        here.log_in("alice").await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 6, "her own failures count");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_guessers_lock_nobody_out() {
        let failures = Failures::new(20);
        let here = trier(&failures, "192.0.2.7");
        let guesses: Vec<_> = (0..64).map(|number| number.to_string()).collect();
        let guesses = guesses.iter().map(|name| here.log_in(name));
        let others = async { here.log_in("bob").await.is_ok() };
        let started = Instant::now();
        let (_, got_in) = tokio::join!(futures_util::future::join_all(guesses), others);
        assert!(got_in && started.elapsed() <= MOST, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_unknown_tokens_holds_no_more_than_so_many_connections() {
        let failures = Failures::new(20);
        let here = trier(&failures, "192.0.2.7");
        let started = Instant::now();
        let tries = (0..300).map(|_| async {
            here.unknown_token().await;
            started.elapsed().is_zero()
        });
        let at_once = futures_util::future::join_all(tries).await;
        assert_eq!(at_once.iter().filter(|at_once| !**at_once).count(), TOKENS);
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_at_once_wait_for_one_another_at_most() {
        let failures = Failures::new(20);
        let here = trier(&failures, "192.0.2.7");
        let started = Instant::now();
        let tries = (0..24).map(|_| async {
            let attempt = here.log_in("alice").await.unwrap();
            // As long as a hash may take.
            tokio::time::sleep(STEP).await;
            attempt.succeeded();
        });
        futures_util::future::join_all(tries).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_do_not_go_on_with_the_right_passwords_that_they_waited_with() {
        let failures = Failures::new(20);
        let here = trier(&failures, "192.0.2.7");
        let own: Vec<_> = (0..30).map(|number| format!("own{number}")).collect();
        let own = own.iter().map(|name| async { here.log_in(name).await.unwrap() });
        let own = futures_util::future::join_all(own).await;
        for _ in 0..30 {
            failures.addresses.count(&here.client.source(), now());
        }
        let guesses: Vec<_> = (0..60).map(|number| number.to_string()).collect();
        let started = Instant::now();
        let guesses = guesses.iter().map(|name| async {
            here.log_in(name).await.unwrap();
            started.elapsed() < Duration::from_secs(5)
        });
        let succeed = async { own.into_iter().for_each(Attempt::succeeded) };
        let (guesses, ()) = tokio::join!(futures_util::future::join_all(guesses), succeed);
        assert!(guesses.iter().filter(|early| **early).count() <= 21, "{guesses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_do_not_wear_down_what_an_address_owes() {
        let failures = Failures::new(20);
        let here = trier(&failures, "192.0.2.7");
        for _ in 0..30 {
            failures.addresses.count(&here.client.source(), now());
        }
        let owed = || failures.addresses.wait(&here.client.source(), now());
        assert_eq!(owed(), MOST);
        // All begin while the delay is at its maximum.
        let names: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        let tries = names.iter().map(|name| async { here.log_in(name).await.unwrap().succeeded() });
        let began = Instant::now();
        futures_util::future::join_all(tries).await;
        let passed = began.elapsed();
        assert!(owed() >= MOST.saturating_sub(passed), "{passed:?} passed, {:?} owed", owed());
        assert!(failures.addresses.count(&here.client.source(), now()).as_secs() >= 2);
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_never_wait() {
        let failures = Failures::new(20);
        let started = Instant::now();
        for _ in 0..1000 {
            trier(&failures, "192.0.2.7").log_in("alice").await.unwrap().succeeded();
        }
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
