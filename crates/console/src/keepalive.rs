//! The timers of a session: for pings, for lost clients, for sessions without an answer, and for
//! the time limit.

use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio::time::Sleep;

/// Sessions send their pings at multiples of this part of the interval, so that they go out
/// together: a process with thousands of idle sessions then wakes up only a few times a second.
const PARTS: u32 = 20;

/// How long the answer to a ping may take before the client counts as lost; less where pings are
/// more frequent.
const ANSWER: Duration = Duration::from_secs(5);

/// The time from which the multiples are counted.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// An event of the timers.
pub(crate) enum KeepaliveEvent {
    /// A ping is due.
    Ping,
    /// The last ping was not answered in time.
    Unanswered,
    /// No sign of life for the grace time.
    Silence,
    /// The session's time limit is reached.
    Limit,
}

pub(crate) struct Keepalive {
    interval: Duration,
    grace: Duration,
    limit: Option<Instant>,
    ping: Instant,
    /// When the client counts as lost, unless it gives a sign of life before.
    answer: Option<Instant>,
    heard: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Keepalive {
    pub(crate) fn new(
        timing: &serialproxy_config::values::Session,
        limit: Option<Timestamp>,
    ) -> Self {
        let heard = Instant::now();
        let ping = due(heard, timing.ping_interval);
        let mut keepalive = Self {
            interval: timing.ping_interval,
            grace: timing.grace,
            limit: limit.map(|limit| heard + left(limit)),
            ping,
            answer: None,
            heard,
            timer: Box::pin(tokio::time::sleep_until(ping)),
        };
        let next = keepalive.next();
        keepalive.timer.as_mut().reset(next);
        keepalive
    }

    /// The client gave a sign of life. Unless this answers a ping, the timer is not changed: it
    /// checks the time when it expires.
    pub(crate) fn heard(&mut self) {
        self.heard = Instant::now();
        if self.answer.take().is_some() {
            let next = self.next();
            self.timer.as_mut().reset(next);
        }
    }

    /// Waits for the next event.
    pub(crate) async fn event(&mut self) -> KeepaliveEvent {
        loop {
            self.timer.as_mut().await;
            let now = Instant::now();
            let event = if self.limit.is_some_and(|limit| limit <= now) {
                Some(KeepaliveEvent::Limit)
            } else if self.heard + self.grace <= now {
                Some(KeepaliveEvent::Silence)
            } else if self.answer.take_if(|answer| *answer <= now).is_some() {
                Some(KeepaliveEvent::Unanswered)
            } else if self.ping <= now {
                self.ping = due(now, self.interval);
                self.answer = Some(now + ANSWER.min(self.interval));
                Some(KeepaliveEvent::Ping)
            } else {
                None
            };
            let next = self.next();
            self.timer.as_mut().reset(next);
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn next(&self) -> Instant {
        let next = self.ping.min(self.heard + self.grace);
        [self.limit, self.answer].into_iter().flatten().fold(next, Instant::min)
    }
}

/// The first multiple that is at least `interval` after `now`.
fn due(now: Instant, interval: Duration) -> Instant {
    let part = interval / PARTS;
    let parts = (now + interval - *START).as_nanos().div_ceil(part.as_nanos().max(1));
    *START + part * u32::try_from(parts).unwrap_or(u32::MAX)
}

fn left(limit: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_until(limit)).unwrap_or(Duration::ZERO)
}
