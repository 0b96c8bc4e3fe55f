//! A session that does not read while its line prints, beside other sessions that type.

use std::future::pending;
use std::time::Duration;

use anyhow::Context;
use anyhow::anyhow;
use anyhow::ensure;
use tokio::net::TcpSocket;

use crate::client::Reader;
use crate::client::Session;
use crate::guest::Command;
use crate::guest::Punctuality;
use crate::load::Plan;
use crate::load::Values;
use crate::load::typists;
use crate::load::values;
use crate::statistics::percentile;
use crate::usage;

/// The sessions that type, each on its own line; the first line prints.
pub(crate) const TYPISTS: usize = 100;

/// The rate of the line that prints, for as long as the others type: 5 MB/s.
const RATE: u64 = 5_000_000;

/// The time for a new session to settle: painting its screen takes memory for a moment, which must
/// not count.
const SETTLE: Duration = Duration::from_millis(500);

/// The receive buffer of a stalled client, small so that the proxy soon holds the rest.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// The close code of a raw session that reads too slowly.
const TOO_SLOW: u16 = 4011;

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let mut typing = plan.open_all(TYPISTS + 1).await?;
    let printing = typing.swap_remove(0);
    let mut stage = Stage { plan, typing, printing };
    // One phase is not measured, so that the line's history is full.
    stage.phase(None).await?;
    let (raw, raw_delay) = stage.compare("", Some(TOO_SLOW)).await?;
    let (v1, v1_delay) = stage.compare("console.v1", None).await?;
    Ok(values([
        ("stalled raw", raw),
        ("stalled v1", v1),
        ("stalled raw delay", raw_delay),
        ("stalled v1 delay", v1_delay),
    ]))
}

/// The sessions that type, and the session whose line prints.
struct Stage<'a> {
    plan: &'a Plan,
    typing: Vec<Session>,
    printing: Session,
}

/// The results while the line prints and the others type.
struct Phase {
    /// The peer's largest memory in bytes.
    memory: u64,
    /// The 99th percentile of the keys' times, in nanoseconds.
    p99: u64,
}

impl Stage<'_> {
    /// Compares a watching session that reads with one that does not: how many KiB more the second
    /// one takes, and by which factor the keys take longer.
    async fn compare(
        &mut self,
        subprotocol: &'static str,
        closed_with: Option<u16>,
    ) -> anyhow::Result<(f64, f64)> {
        let mut reading = self.watch(subprotocol).await?;
        let beside_reading = self.phase(Some(&mut reading.reader)).await?;
        reading.leave().await?;
        let mut stalled = self.watch(subprotocol).await?;
        let beside_stalled = self.phase(None).await?;
        if let Some(code) = closed_with {
            while stalled.reader.read(|_| ()).await?.is_some() {}
            // A Close frame does not arrive where the proxy had no room for it.
            let close = stalled.reader.close().unwrap_or(code);
            ensure!(close == code, "the session was closed with {close}, not {code}");
        }
        let held = beside_stalled.memory.saturating_sub(beside_reading.memory);
        Ok((held as f64 / 1024.0, beside_stalled.p99 as f64 / beside_reading.p99 as f64))
    }

    /// Opens a session that watches the printing line, on a socket with a small buffer.
    async fn watch(&self, subprotocol: &'static str) -> anyhow::Result<Session> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        Session::open_on(socket, &self.plan.door()?, &self.plan.watching(0, subprotocol)).await
    }

    /// Runs the load once: the line prints, the others type, and perhaps another session reads.
    async fn phase(&mut self, reading: Option<&mut Reader>) -> anyhow::Result<Phase> {
        let process = self.plan.target.process.context("no proxy, no stalled reader")?;
        let seconds = if self.plan.quick { 3 } else { 5 };
        let bytes = RATE * u64::from(seconds);
        tokio::time::sleep(SETTLE).await;
        usage::forget_peak(process)?;
        let command = Command::Pace { bytes, rate: RATE }.typed();
        self.printing.writer.send(command.as_bytes()).await?;
        let both = async {
            let printed = self.printing.reader.read_exactly(bytes + Punctuality::SIZE, |_| ());
            let typed = typists::type_for(std::mem::take(&mut self.typing), seconds);
            let (printed, typed) = tokio::join!(printed, typed);
            printed.context("the line that prints")?;
            typed
        };
        let (typing, mut times) = tokio::select! {
            both = both => both?,
            error = read_on(reading) => return Err(error.context("the session that watches")),
        };
        self.typing = typing;
        Ok(Phase { memory: usage::peak(process)?, p99: percentile(&mut times, 0.99) })
    }
}

/// Reads until an error occurs.
async fn read_on(reader: Option<&mut Reader>) -> anyhow::Error {
    let Some(reader) = reader else { return pending().await };
    loop {
        match reader.read(|_| ()).await {
            Ok(Some(_)) => {}
            Ok(None) => return anyhow!("{}", reader.end()),
            Err(error) => return error,
        }
    }
}
