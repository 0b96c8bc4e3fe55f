//! One guest prints at a steady rate to 101 readers. Where a line cannot be shared, 101 guests
//! print.

use std::time::Duration;

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
use crate::peer::Peer;

const READERS: usize = 101;

/// Bytes per second.
const RATE: u64 = 5_000_000;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let bytes = RATE * if plan.quick { 3 } else { 4 };
    let shared = plan.peer == Peer::Serialproxy;
    let printing = if shared { 1 } else { READERS };
    let mut sessions = plan.open_all(printing).await?;
    for _ in printing..READERS {
        sessions.push(plan.watch(0).await?);
    }
    let meter = Meter::start(plan)?;
    for session in sessions.iter_mut().take(printing) {
        session.writer.send(Command::Pace { bytes, rate: RATE }.typed().as_bytes()).await?;
    }
    let mut readers = JoinSet::new();
    for session in sessions {
        readers.spawn(read(session, bytes));
    }
    let (mut waited, mut late) = (Duration::ZERO, Duration::ZERO);
    while let Some(reader) = readers.join_next().await {
        let punctuality = reader??;
        waited = waited.max(punctuality.waited);
        late = late.max(punctuality.late);
    }
    let (seconds, cpu) = meter.stop()?;
    let carried = (bytes * READERS as u64) as f64 / MIB as f64;
    Ok(values([
        ("fan cpu", cpu),
        ("fan rate", carried / seconds),
        ("fan waited", waited.as_secs_f64() * 1e3),
        ("fan late", late.as_secs_f64() * 1e3),
    ]))
}

/// Reads all output, and the guest's report after it.
async fn read(mut session: Session, bytes: u64) -> anyhow::Result<Punctuality> {
    let (mut check, mut said) = (Check::default(), Vec::new());
    let take = |piece: &[u8]| {
        let left = usize::try_from(bytes - check.bytes()).unwrap_or(usize::MAX);
        let (text, rest) = piece.split_at(left.min(piece.len()));
        check.take(text);
        said.extend_from_slice(rest);
    };
    session.reader.read_exactly(bytes + Punctuality::SIZE, take).await?;
    check.verify()?;
    Punctuality::parse(&said).context("the guest did not say how punctual it was")
}
