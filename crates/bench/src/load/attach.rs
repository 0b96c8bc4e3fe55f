//! Sessions that open at a steady rate, as people do in the morning.

use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use tokio::task::JoinSet;

use crate::client::Session;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::typists::Alarm;
use crate::load::typists::schedule;
use crate::load::values;
use crate::statistics::percentile;

/// Each line gets another session after 5 s.
pub(crate) const LINES: usize = 1000;

/// Sessions per second.
const RATE: u32 = 200;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let seconds = if plan.quick { 5 } else { 15 };
    open_for(plan, 1).await?;
    let meter = Meter::start(plan)?;
    let mut times = open_for(plan, seconds).await?;
    let (_, cpu) = meter.stop()?;
    let millis = |nanos: u64| nanos as f64 / 1e6;
    Ok(values([
        ("attach cpu", cpu * 1e6 / times.len() as f64),
        ("attach p50", millis(percentile(&mut times, 0.5))),
        ("attach p99", millis(percentile(&mut times, 0.99))),
    ]))
}

/// Opens sessions for some seconds; each leaves at once. Returns the times in nanoseconds from when
/// each session was due until it was open, so that a session that is opened late counts as slow.
async fn open_for(plan: &Plan, seconds: u32) -> anyhow::Result<Vec<u64>> {
    let door = plan.door()?;
    let due = schedule(1, seconds * RATE, Duration::from_secs(1) / RATE).concat();
    let (mut alarm, start) = (Alarm::new()?, Instant::now());
    let mut visits = JoinSet::new();
    for (number, due) in due.into_iter().enumerate() {
        alarm.wait(due.saturating_sub(start.elapsed())).await?;
        let (door, wire) = (door.clone(), plan.writing(number % LINES));
        visits.spawn(async move {
            let visit = async {
                let session = Session::open(&door, &wire).await?;
                let taken = start.elapsed().saturating_sub(due);
                session.leave().await?;
                anyhow::Ok(u64::try_from(taken.as_nanos())?)
            };
            visit.await.with_context(|| format!("session {number}"))
        });
    }
    let mut times = Vec::with_capacity(visits.len());
    while let Some(visit) = visits.join_next().await {
        times.push(visit??);
    }
    Ok(times)
}
