//! One session types as fast as the guest reads.

use anyhow::ensure;

use crate::client::Session;
use crate::guest;
use crate::guest::Command;
use crate::load::GIB;
use crate::load::MIB;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::values;
use crate::peer::Peer;

/// Payload of a frame.
const FRAME: u64 = 64 * 1024;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let bytes = match (plan.quick, plan.peer) {
        (true, Peer::Websockify) => GIB / 4,
        (true, _) | (false, Peer::Websockify) => GIB,
        (false, _) => 3 * GIB,
    };
    let mut session = plan.open(0).await?;
    let part = session.writer.upload(MIB, FRAME);
    upload(&mut session, &part, 16).await?;
    let meter = Meter::start(plan)?;
    upload(&mut session, &part, bytes / MIB).await?;
    let (rate, cpu) = meter.stop_after(bytes)?;
    Ok(values([("upload rate", rate), ("upload cpu", cpu)]))
}

/// Lets the guest read, and sends a MiB this many times.
async fn upload(session: &mut Session, part: &[u8], times: u64) -> anyhow::Result<()> {
    session.writer.send(Command::Read(times * MIB).typed().as_bytes()).await?;
    for _ in 0..times {
        session.writer.write(part).await?;
    }
    let mut answer = Vec::new();
    session.reader.read_exactly(1, |piece| answer.extend_from_slice(piece)).await?;
    ensure!(answer == [guest::WHOLE], "the guest did not read what was typed");
    Ok(())
}
