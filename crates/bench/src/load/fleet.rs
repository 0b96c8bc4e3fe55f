//! Many guests print as fast as they can, for a fixed time, to a session each.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::bail;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Session;
use crate::guest::Command;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::values;
use crate::pattern::Check;
use crate::statistics::jain;

pub(crate) const SESSIONS: usize = 16;

const WARM_UP: Duration = Duration::from_millis(300);

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let time = Duration::from_secs(if plan.quick { 1 } else { 3 });
    let counts: Arc<Vec<AtomicU64>> = Arc::new((0..SESSIONS).map(|_| AtomicU64::new(0)).collect());
    let read = || counts.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let mut readers = JoinSet::new();
    for (line, mut session) in plan.open_all(SESSIONS).await?.into_iter().enumerate() {
        session.writer.send(Command::Print(u64::MAX).typed().as_bytes()).await?;
        readers.spawn(follow(session, Arc::clone(&counts), line));
    }
    let measured = async {
        sleep(WARM_UP).await;
        let (before, meter) = (read(), Meter::start(plan)?);
        sleep(time).await;
        let shares: Vec<u64> = read().iter().zip(before).map(|(now, then)| now - then).collect();
        let (rate, cpu) = meter.stop_after(shares.iter().sum())?;
        let shares: Vec<f64> = shares.into_iter().map(|share| share as f64).collect();
        Ok(values([("fleet rate", rate), ("fleet cpu", cpu), ("fleet fairness", jain(&shares))]))
    };
    tokio::select! {
        values = measured => values,
        Some(ended) = readers.join_next() => {
            ended??;
            bail!("a session ended that should continue")
        }
    }
}

/// Counts bytes until an error occurs.
async fn follow(
    mut session: Session,
    counts: Arc<Vec<AtomicU64>>,
    line: usize,
) -> anyhow::Result<()> {
    let mut check = Check::default();
    while session.reader.read(|piece| check.take(piece)).await?.is_some() {
        check.verify()?;
        if let Some(count) = counts.get(line) {
            count.store(check.bytes(), Ordering::Relaxed);
        }
        // Readers take turns; otherwise one that always finds more would starve the others.
        tokio::task::yield_now().await;
    }
    bail!("{}", session.reader.end())
}
