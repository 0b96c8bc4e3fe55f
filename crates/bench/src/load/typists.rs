//! Many sessions that type at the same time, each at a steady rate.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;
use rustix::time::Timespec;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::task::JoinSet;

use crate::client::Session;
use crate::client::frame::Opcode;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::values;
use crate::statistics::percentile;

pub(crate) const SESSIONS: usize = 200;

/// Keys per second of each session.
const RATE: u32 = 20;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let seconds = if plan.quick { 2 } else { 5 };
    let sessions = type_for(plan.open_all(SESSIONS).await?, 1).await?.0;
    let meter = Meter::start(plan)?;
    let (_, mut times) = type_for(sessions, seconds).await?;
    let (_, cpu) = meter.stop()?;
    let micros = |nanos: u64| nanos as f64 / 1e3;
    Ok(values([
        ("typists cpu", cpu * 1e6 / times.len() as f64),
        ("typists p50", micros(percentile(&mut times, 0.5))),
        ("typists p99", micros(percentile(&mut times, 0.99))),
    ]))
}

/// Types in all sessions for some seconds. Returns the times in nanoseconds from when each key was
/// due until its echo arrived, so that a key that is sent late counts as slow.
pub(crate) async fn type_for(
    sessions: Vec<Session>,
    seconds: u32,
) -> anyhow::Result<(Vec<Session>, Vec<u64>)> {
    let mut writers: Vec<_> = sessions.iter().map(|session| session.writer.clone()).collect();
    let schedule = schedule(sessions.len(), seconds * RATE, Duration::from_secs(1) / RATE);
    let mut keys: Vec<(Duration, usize, u32)> = Vec::new();
    for (session, times) in schedule.iter().enumerate() {
        keys.extend((0..).zip(times).map(|(number, time)| (*time, session, number)));
    }
    keys.sort_unstable();
    let (mut alarm, start) = (Alarm::new()?, Instant::now());
    let mut readers = JoinSet::new();
    for (session, times) in sessions.into_iter().zip(schedule) {
        readers.spawn(hear(session, start, times));
    }
    for (time, session, number) in keys {
        alarm.wait(time.saturating_sub(start.elapsed())).await?;
        if let Some(writer) = writers.get_mut(session) {
            writer.try_send(Opcode::Binary, &[key(number)])?;
        }
    }
    let (mut sessions, mut times) = (Vec::new(), Vec::new());
    while let Some(heard) = readers.join_next().await {
        let (session, heard) = heard??;
        sessions.push(session);
        times.extend(heard);
    }
    Ok((sessions, times))
}

/// The times at which each session types its keys: one key in each interval, anywhere in it, as
/// people do. With even times, no two keys would ever coincide. The schedule is the same for every
/// peer.
pub(crate) fn schedule(sessions: usize, keys: u32, interval: Duration) -> Vec<Vec<Duration>> {
    let mut state = 1_u64;
    let mut random = || {
        // Knuth's linear congruential generator; its upper bits are the more random ones.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let mut times = || (0..keys).map(|key| interval.mul_f64(f64::from(key) + random())).collect();
    (0..sessions).map(|_| times()).collect()
}

fn key(number: u32) -> u8 {
    b'a' + u8::try_from(number % 26).unwrap_or_default()
}

/// Waits for the echo of the keys that are due at these times after `start`.
async fn hear(
    mut session: Session,
    start: Instant,
    due: Vec<Duration>,
) -> anyhow::Result<(Session, Vec<u64>)> {
    let mut keys = (0..).zip(&due);
    let (mut times, mut right) = (Vec::new(), true);
    let echo = |piece: &[u8]| {
        for byte in piece {
            let Some((number, time)) = keys.next() else { continue };
            right &= *byte == key(number);
            let taken = start.elapsed().saturating_sub(*time);
            times.push(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX));
        }
    };
    session.reader.read_exactly(due.len() as u64, echo).await?;
    ensure!(right, "the echo of a key is another");
    Ok((session, times))
}

/// A timer with a precision of some microseconds, where tokio's has milliseconds. Its descriptor is
/// read like a pipe.
pub(crate) struct Alarm(pipe::Receiver);

impl Alarm {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(timer)?))
    }

    /// Waits for this time; returns at once where it is zero.
    pub(crate) async fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let time = Timespec {
            tv_sec: i64::try_from(time.as_secs())?,
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let times = Itimerspec { it_interval: once, it_value: time };
        rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &times)?;
        self.0.read_exact(&mut [0; 8]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_types_once_in_each_interval_and_not_with_the_others() {
        let interval = Duration::from_secs(1) / RATE;
        let schedule = schedule(3, 40, interval);
        for times in &schedule {
            assert_eq!(times.len(), 40);
            for (number, time) in (0..).zip(times) {
                assert!(interval * number <= *time && *time < interval * (number + 1));
            }
        }
        assert_ne!(schedule[0], schedule[1]);
    }

    #[tokio::test]
    async fn an_alarm_waits_as_long_as_it_is_told() {
        let (mut alarm, start) = (Alarm::new().unwrap(), Instant::now());
        alarm.wait(Duration::from_micros(300)).await.unwrap();
        alarm.wait(Duration::ZERO).await.unwrap();
        assert!(start.elapsed() >= Duration::from_micros(300));
    }
}
