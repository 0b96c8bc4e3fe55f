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

/// Keys per second of each.
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

/// Types in all sessions for some seconds. The time in nanoseconds from when each key should have
/// been sent until its echo came, so that a key that is sent late counts as slow.
pub(crate) async fn type_for(
    sessions: Vec<Session>,
    seconds: u32,
) -> anyhow::Result<(Vec<Session>, Vec<u64>)> {
    let count = u32::try_from(sessions.len())?;
    let between = Duration::from_secs(1) / RATE / count;
    let keys = seconds * RATE;
    let mut writers: Vec<_> = sessions.iter().map(|session| session.writer.clone()).collect();
    let (mut timer, start) = (Metronome::new(between)?, Instant::now());
    let mut readers = JoinSet::new();
    for (number, session) in (0..).zip(sessions) {
        readers.spawn(hear(session, start + between * (number + 1), between * count, keys));
    }
    let (mut due, mut sent) = (0, 0);
    while sent < keys * count {
        due = u64::min(due + timer.ticks().await?, u64::from(keys * count));
        while u64::from(sent) < due {
            if let Some(writer) = writers.get_mut((sent % count) as usize) {
                writer.try_send(Opcode::Binary, &[key(sent / count)])?;
            }
            sent += 1;
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

fn key(number: u32) -> u8 {
    b'a' + u8::try_from(number % 26).unwrap_or_default()
}

/// Waits for the echo of so many keys, of which the first is typed at `first`.
async fn hear(
    mut session: Session,
    first: Instant,
    between: Duration,
    keys: u32,
) -> anyhow::Result<(Session, Vec<u64>)> {
    let (mut times, mut number, mut right) = (Vec::new(), 0, true);
    let echo = |piece: &[u8]| {
        for byte in piece {
            right &= *byte == key(number);
            let taken = (first + between * number).elapsed();
            times.push(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX));
            number += 1;
        }
    };
    session.reader.read_exactly(u64::from(keys), echo).await?;
    ensure!(right, "the echo of a key is another");
    Ok((session, times))
}

/// Ticks that are exact to some microseconds, where tokio's timers have milliseconds. A timer's
/// descriptor is read as a pipe's is.
struct Metronome(pipe::Receiver);

impl Metronome {
    fn new(period: Duration) -> anyhow::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let period = Timespec {
            tv_sec: i64::try_from(period.as_secs())?,
            tv_nsec: i64::from(period.subsec_nanos()),
        };
        let times = Itimerspec { it_interval: period, it_value: period };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(timer)?))
    }

    /// Waits for the next; how many there were since the last call.
    async fn ticks(&mut self) -> anyhow::Result<u64> {
        let mut count = [0; 8];
        self.0.read_exact(&mut count).await?;
        Ok(u64::from_ne_bytes(count))
    }
}
