//! The guest prints as fast as it can, to one session.

use crate::client::Session;
use crate::guest::Command;
use crate::load::GIB;
use crate::load::MIB;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::values;
use crate::pattern::Check;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let bytes = if plan.quick { GIB } else { 3 * GIB };
    let mut session = plan.open(0).await?;
    print(&mut session, 64 * MIB).await?;
    let meter = Meter::start(plan)?;
    print(&mut session, bytes).await?;
    let (rate, cpu) = meter.stop_after(bytes)?;
    Ok(values([("bulk rate", rate), ("bulk cpu", cpu)]))
}

/// Lets the guest print this many bytes, and reads them.
async fn print(session: &mut Session, bytes: u64) -> anyhow::Result<()> {
    session.writer.send(Command::Print(bytes).typed().as_bytes()).await?;
    let mut check = Check::default();
    session.reader.read_exactly(bytes, |piece| check.take(piece)).await?;
    check.verify()
}
