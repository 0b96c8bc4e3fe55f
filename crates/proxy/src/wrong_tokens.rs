//! Counts unknown console tokens and resume keys per address; too many delay further responses.

use std::time::Duration;

use serialproxy_limits::Meter;
use serialproxy_limits::Source;
use serialproxy_metrics::Operation;
use serialproxy_proto::refusal::Refusal;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::Proxy;
use crate::client::Client;

/// The period of the limit.
const SPAN: Duration = Duration::from_secs(60);

/// Maximum delay of a response.
const MOST: Duration = Duration::from_secs(30);

/// Maximum number of delayed responses, of all addresses. Each holds a connection. Further responses are sent at
/// once, because no number of attempts guesses a token.
const WAITING: usize = 64;

/// Unknown tokens and keys of all addresses.
#[derive(Debug)]
pub(crate) struct WrongTokens {
    addresses: Meter,
    waiting: Semaphore,
}

impl WrongTokens {
    /// Allows an address `per_minute` unknown tokens and keys; 0 means no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { addresses: Meter::new(per_minute, SPAN, MOST), waiting: Semaphore::new(WAITING) }
    }

    /// Counts one, and waits for its delay, unless too many responses are delayed.
    pub(crate) async fn count(&self, address: Source) {
        let wait = self.addresses.count(&address, Instant::now().into_std());
        let Ok(_place) = self.waiting.try_acquire() else { return };
        tokio::time::sleep(wait).await;
    }

    /// Waits for the delay of this address before a resume key is sent to another host; false if too many wait.
    pub(crate) async fn turn(&self, address: Source) -> bool {
        let wait = self.addresses.wait(&address, Instant::now().into_std());
        if wait.is_zero() {
            return true;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        tokio::time::sleep(wait).await;
        true
    }
}

/// Counts a wrong token or key. If another proxy passed the request on, that proxy counts it.
pub(crate) async fn count_wrong(proxy: &Proxy, client: Client) {
    if !client.passed_on {
        serialproxy_metrics::TOKENS.of(Operation::Refused).inc();
        tokio::select! {
            () = proxy.lines.draining() => {}
            () = proxy.wrong_tokens.count(Source::from(client.address.ip())) => {}
        }
    }
}

/// Whether another host may be asked about a resume key. That costs a connection, and anyone can make up a key
/// that names a line there.
pub(crate) async fn may_show_key(proxy: &Proxy, client: Client) -> Result<(), Refusal> {
    match proxy.wrong_tokens.turn(Source::from(client.address.ip())).await {
        true => Ok(()),
        false => Err(Refusal::Unavailable(
            "your address has shown too many unknown keys, try again later".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_shows_many_waits_and_others_do_not() {
        let tokens = WrongTokens::new(20);
        let [guesser, other] = [7, 8].map(|last| IpAddr::from([192, 0, 2, last]).into());
        let started = Instant::now();
        for _ in 0..20 {
            tokens.count(guesser).await;
        }
        assert!(started.elapsed().is_zero());
        tokens.count(guesser).await;
        assert_eq!(started.elapsed().as_secs(), 3);
        let started = Instant::now();
        tokens.count(other).await;
        assert!(started.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_shown_many_waits_before_the_next_is_looked_at() {
        let tokens = WrongTokens::new(20);
        let [guesser, other] = [7, 8].map(|last| IpAddr::from([192, 0, 2, last]).into());
        for _ in 0..21 {
            tokens.count(guesser).await;
        }
        let started = Instant::now();
        assert!(tokens.turn(other).await && tokens.turn(guesser).await);
        assert!(started.elapsed().is_zero(), "its debt is paid");
        let counts = futures_util::future::join_all((0..5).map(|_| tokens.count(guesser)));
        let turns = async {
            tokio::task::yield_now().await;
            let all = futures_util::future::join_all((0..300).map(|_| tokens.turn(guesser))).await;
            all.into_iter().filter(|turn| *turn).count()
        };
        let (_, given) = tokio::join!(counts, turns);
        assert_eq!(given, WAITING - 5);
        assert!(started.elapsed().as_secs() >= 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_wrong_tokens_holds_no_more_than_so_many_connections() {
        let tokens = WrongTokens::new(20);
        let started = Instant::now();
        let tries = (0..300).map(|_| async {
            tokens.count(IpAddr::from([192, 0, 2, 7]).into()).await;
            started.elapsed().is_zero()
        });
        let at_once = futures_util::future::join_all(tries).await;
        assert_eq!(at_once.iter().filter(|at_once| !**at_once).count(), WAITING);
    }
}
