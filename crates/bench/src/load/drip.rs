//! Guests that print like a UART: 11 bytes at a time, a thousand times a second.

use anyhow::Context;
use tokio::task::JoinSet;

use crate::client::Session;
use crate::guest::Command;
use crate::guest::Punctuality;
use crate::load::MIB;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::values;
use crate::pattern::Check;

pub(crate) const SESSIONS: usize = 16;

/// Bytes per second: a write of 11 bytes in each millisecond.
const RATE: u64 = 11_000;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let bytes = RATE * if plan.quick { 3 } else { 5 };
    let mut sessions = plan.open_all(SESSIONS).await?;
    let meter = Meter::start(plan)?;
    for session in &mut sessions {
        session.writer.send(Command::Pace { bytes, rate: RATE }.typed().as_bytes()).await?;
    }
    let mut readers = JoinSet::new();
    for session in sessions {
        readers.spawn(read(session, bytes));
    }
    let mut frames = 0;
    while let Some(reader) = readers.join_next().await {
        frames += reader??;
    }
    let (seconds, cpu) = meter.stop()?;
    let carried = (bytes * SESSIONS as u64) as f64 / MIB as f64;
    Ok(values([
        ("drip cpu", cpu * 1e3 / carried),
        ("drip frames", frames as f64 / seconds / SESSIONS as f64),
    ]))
}

/// Reads all output; returns in how many pieces it arrived: frames, where there are any.
async fn read(mut session: Session, bytes: u64) -> anyhow::Result<u64> {
    let (mut check, mut pieces) = (Check::default(), 0);
    let take = |piece: &[u8]| {
        pieces += 1;
        let left = usize::try_from(bytes - check.bytes()).unwrap_or(usize::MAX);
        check.take(piece.get(..left.min(piece.len())).unwrap_or_default());
    };
    session.reader.read_exactly(bytes + Punctuality::SIZE, take).await.context("a reader")?;
    check.verify()?;
    Ok(pieces)
}
