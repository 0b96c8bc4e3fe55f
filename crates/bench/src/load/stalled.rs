//! A session that does not read while its line prints, beside others that type.

use anyhow::Context;
use anyhow::ensure;
use tokio::net::TcpSocket;

use crate::client::Session;
use crate::guest::Command;
use crate::guest::Punctuality;
use crate::load::Plan;
use crate::load::Values;
use crate::load::typists;
use crate::load::values;
use crate::statistics::percentile;
use crate::usage;

/// They type on lines of their own; the first line prints.
pub(crate) const TYPISTS: usize = 100;

/// The line that prints: 5 MB/s, for as long as the others type.
const RATE: u64 = 5_000_000;

/// What a stalled client's kernel takes, so that the rest is soon the proxy's.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// The close code of a raw session that reads too slowly.
const TOO_SLOW: u16 = 4011;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let seconds = if plan.quick { 3 } else { 5 };
    let mut typing = plan.open_all(TYPISTS + 1).await?;
    let mut printing = typing.swap_remove(0);
    // Once without a count, so that the line's history is full.
    let (typing, _) = phase(plan, typing, &mut printing, seconds).await?;
    let (typing, without) = phase(plan, typing, &mut printing, seconds).await?;

    let mut raw = stall(plan, "").await?;
    let (typing, beside_raw) = phase(plan, typing, &mut printing, seconds).await?;
    while raw.reader.read(|_| ()).await?.is_some() {}
    // A Close frame does not arrive where the proxy found no room for it.
    let close = raw.reader.close().unwrap_or(TOO_SLOW);
    ensure!(close == TOO_SLOW, "the raw session was closed with {close}, not {TOO_SLOW}");

    let v1 = stall(plan, "console.v1").await?;
    let (_, beside_v1) = phase(plan, typing, &mut printing, seconds).await?;
    drop(v1);

    let held = |phase: &Phase| phase.memory.saturating_sub(without.memory) as f64 / 1024.0;
    let delay = |phase: &Phase| phase.p99 as f64 / without.p99 as f64;
    Ok(values([
        ("stalled raw", held(&beside_raw)),
        ("stalled v1", held(&beside_v1)),
        ("stalled raw delay", delay(&beside_raw)),
        ("stalled v1 delay", delay(&beside_v1)),
    ]))
}

/// Opens a session that watches the line that prints, on a socket that takes little.
async fn stall(plan: &Plan, subprotocol: &'static str) -> anyhow::Result<Session> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    Session::open_on(socket, plan.target.address, &plan.watching(0, subprotocol)).await
}

/// What is seen while the line prints and all type.
struct Phase {
    /// The peer's memory where it was largest, in bytes.
    memory: u64,
    /// Of the keys' times, in nanoseconds.
    p99: u64,
}

async fn phase(
    plan: &Plan,
    typing: Vec<Session>,
    printing: &mut Session,
    seconds: u32,
) -> anyhow::Result<(Vec<Session>, Phase)> {
    let bytes = RATE * u64::from(seconds);
    let process = plan.target.process.context("no proxy, no stalled reader")?;
    usage::forget_peak(process)?;
    printing.writer.send(Command::Pace { bytes, rate: RATE }.typed().as_bytes()).await?;
    let typed = typists::type_for(typing, seconds);
    let printed = printing.reader.read_exactly(bytes + Punctuality::SIZE, |_| ());
    let (typed, printed) = tokio::join!(typed, printed);
    printed.context("the line that prints")?;
    let (typing, mut times) = typed?;
    let memory = usage::peak(process)?;
    Ok((typing, Phase { memory, p99: percentile(&mut times, 0.99) }))
}
