//! One key after the other, to the guest and back.

use std::time::Instant;

use anyhow::ensure;

use crate::client::Session;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::values;
use crate::statistics::percentile;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let keys = if plan.quick { 5_000 } else { 20_000 };
    let mut session = plan.open(0).await?;
    echoes(&mut session, 500).await?;
    let meter = Meter::start(plan)?;
    let mut times = echoes(&mut session, keys).await?;
    let (_, cpu) = meter.stop()?;
    let micros = |nanos: u64| nanos as f64 / 1e3;
    Ok(values([
        ("key p50", micros(percentile(&mut times, 0.5))),
        ("key p99", micros(percentile(&mut times, 0.99))),
        ("key cpu", cpu * 1e6 / f64::from(keys)),
    ]))
}

/// The time from each key to its echo, in nanoseconds.
async fn echoes(session: &mut Session, keys: u32) -> anyhow::Result<Vec<u64>> {
    let mut times = Vec::with_capacity(keys as usize);
    for key in (b'a'..=b'z').cycle().take(keys as usize) {
        let (start, mut echo) = (Instant::now(), 0);
        session.writer.send(&[key]).await?;
        session.reader.read_exactly(1, |piece| echo = piece.first().copied().unwrap_or(0)).await?;
        times.push(u64::try_from(start.elapsed().as_nanos())?);
        ensure!(echo == key, "the echo of a key is another");
    }
    Ok(times)
}
