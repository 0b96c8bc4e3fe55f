//! Sessions that open, send one key and leave.

use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use tokio::task::JoinSet;

use crate::client::Session;
use crate::client::Wire;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::values;
use crate::peer::Peer;

pub(crate) const LINES: usize = 1000;

/// How many sessions are open at a time, each on its own lines.
const WORKERS: usize = 16;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let sessions = match (plan.quick, plan.peer) {
        (true, Peer::Websockify) => 96,
        (false, Peer::Websockify) => 240,
        (true, _) => 2000,
        (false, _) => 8000,
    };
    let wires: Arc<Vec<Wire>> = Arc::new((0..LINES).map(|line| plan.writing(line)).collect());
    let door = plan.door()?;
    let meter = Meter::start(plan)?;
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (door, wires) = (door.clone(), Arc::clone(&wires));
        workers.spawn(async move {
            let lines = wires.iter().skip(worker).step_by(WORKERS).cycle();
            for (number, wire) in lines.take(sessions / WORKERS).enumerate() {
                let session = Session::open(&door, wire).await;
                let visited = async { visit(session?).await };
                visited.await.with_context(|| format!("session {number} of worker {worker}"))?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let (seconds, cpu) = meter.stop()?;
    let sessions = sessions as f64;
    Ok(values([("churn rate", sessions / seconds), ("churn cpu", cpu * 1e6 / sessions)]))
}

async fn visit(mut session: Session) -> anyhow::Result<()> {
    let mut echo = 0;
    session.writer.send(b"k").await?;
    session.reader.read_exactly(1, |piece| echo = piece.first().copied().unwrap_or(0)).await?;
    ensure!(echo == b'k', "the echo of a key is another");
    session.leave().await
}
