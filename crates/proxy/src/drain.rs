//! Draining a host while it runs: it accepts no new sessions, and a proxy closes the sessions that it passes on,
//! in slices, so that their clients do not all reconnect to the other proxies at once.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long a proxy reports the drain at `/healthz` before it closes the first session, so that load balancers
/// notice.
const NOTICE: Duration = Duration::from_secs(2);

/// How many sessions are closed at once, and how often.
const SLICE: usize = 50;
const PAUSE: Duration = Duration::from_millis(250);

/// Whether this host is drained, and which sessions have to end. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    wanted: watch::Receiver<bool>,
    /// Each session waits for a permit, and consumes it.
    turns: Arc<Semaphore>,
}

impl Default for Drain {
    /// A host that is never drained.
    fn default() -> Self {
        Self::new(watch::Sender::new(false).subscribe())
    }
}

impl Drain {
    pub(crate) fn new(wanted: watch::Receiver<bool>) -> Self {
        Self { wanted, turns: Arc::new(Semaphore::new(0)) }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Waits until the host is drained.
    pub(crate) async fn wanted(&self) {
        if self.wanted.clone().wait_for(|wanted| *wanted).await.is_err() {
            pending().await
        }
    }

    /// Waits until the calling session has to end.
    pub(crate) async fn turn(&self) {
        loop {
            match self.turns.acquire().await {
                Ok(turn) => turn.forget(),
                Err(_) => pending().await,
            }
            // A permit may be left over from a drain that was undone.
            if self.is_wanted() {
                return;
            }
        }
    }

    /// Adds permits while the host is drained.
    pub(crate) async fn pace(&self) -> Infallible {
        let mut wanted = self.wanted.clone();
        loop {
            self.wanted().await;
            wanted.mark_unchanged();
            let mut pause = NOTICE;
            while *wanted.borrow_and_update() {
                tokio::select! {
                    () = sleep(pause) => {
                        let left = self.turns.available_permits();
                        self.turns.add_permits(SLICE.saturating_sub(left));
                    }
                    _ = wanted.changed() => {}
                }
                pause = PAUSE;
            }
            self.turns.forget_permits(SLICE);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::Instant;

    use super::*;

    /// Lets all tasks run that are ready.
    async fn settle() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_sent_away_in_slices_after_a_notice_until_that_is_taken_back() {
        let (telling, wanted) = watch::channel(false);
        let drain = Drain::new(wanted);
        let paces = drain.clone();
        tokio::spawn(async move { paces.pace().await });
        let mut sessions = JoinSet::new();
        for _ in 0..120 {
            let drain = drain.clone();
            sessions.spawn(async move { drain.turn().await });
        }
        settle().await;
        assert!(sessions.try_join_next().is_none());

        telling.send(true).unwrap();
        let started = Instant::now();
        let mut left = Vec::new();
        for _ in 0..100 {
            sessions.join_next().await.unwrap().unwrap();
            left.push(started.elapsed());
        }
        assert!(left[..50].iter().all(|at| *at == NOTICE), "{left:?}");
        assert!(left[50..].iter().all(|at| *at == NOTICE + PAUSE), "{left:?}");

        telling.send(false).unwrap();
        sleep(10 * NOTICE).await;
        assert!(sessions.try_join_next().is_none());
        assert_eq!(sessions.len(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_nobody_took_is_good_for_nobody_later() {
        let (telling, wanted) = watch::channel(true);
        let drain = Drain::new(wanted);
        let paces = drain.clone();
        tokio::spawn(async move { paces.pace().await });
        sleep(10 * NOTICE).await;
        assert_eq!(drain.turns.available_permits(), SLICE);
        telling.send(false).unwrap();
        let turn = tokio::time::timeout(10 * NOTICE, drain.turn()).await;
        assert!(turn.is_err());
        assert_eq!(drain.turns.available_permits(), 0);
    }
}
