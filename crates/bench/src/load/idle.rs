//! Sessions that have been used and now wait: their memory, and their CPU time.

use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::client::Session;
use crate::load::Load;
use crate::load::Meter;
use crate::load::Plan;
use crate::load::Values;
use crate::load::values;
use crate::peer::Peer;

/// How many bytes each session sends and gets back before it waits.
const USED: usize = 16 * 1024;

/// Watching sessions on each watched line.
const WATCHERS: usize = 2;

/// How long after the last byte the memory is measured.
const SETTLE: Duration = Duration::from_secs(3);

/// websockify's children use select(2), which allows no descriptor above 1023: it fails at 508
/// sessions.
const WEBSOCKIFY: usize = 200;

/// How many sessions wait, each on a line of its own.
pub(crate) fn sessions(quick: bool) -> usize {
    if quick { 1000 } else { 5000 }
}

/// How many lines are watched; as many others show how much output a line keeps.
pub(crate) fn watched(quick: bool) -> usize {
    sessions(quick) * 2 / 5
}

/// How many sessions wait over two hosts.
pub(crate) fn tunnels(quick: bool) -> usize {
    if quick { 500 } else { 2000 }
}

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Values> {
    let count = match (plan.load, plan.peer) {
        (Load::Tunnels, _) => tunnels(plan.quick),
        (_, Peer::Websockify) => WEBSOCKIFY,
        _ => sessions(plan.quick),
    };
    let mut sessions = plan.open_all(count).await?;
    for session in &mut sessions {
        use_it(session, &mut []).await?;
    }
    let sessions = wait(sessions, SETTLE).await?;
    let each = plan.memory()?.saturating_sub(plan.target.base) as f64 / count as f64 / 1024.0;
    let base = plan.target.base as f64 / 1024.0 / 1024.0;
    let mut found = values([("idle memory", each), ("idle base", base)]);
    if plan.peer == Peer::Serialproxy && plan.load == Load::Idle {
        let (sessions, percent) = cpu_of_waiting(plan, sessions).await?;
        found.insert("idle cpu".into(), percent);
        found.insert("idle watcher".into(), watcher(plan, sessions).await?);
    }
    Ok(found)
}

/// Sends input and reads the echo, also in the watching sessions.
async fn use_it(session: &mut Session, watchers: &mut [Session]) -> anyhow::Result<()> {
    session.writer.send(&[b'u'; USED]).await?;
    session.reader.read_exactly(USED as u64, |_| ()).await?;
    for watcher in watchers {
        watcher.reader.read_exactly(USED as u64, |_| ()).await.context("a watcher")?;
    }
    Ok(())
}

/// Answers pings, and expects nothing else.
async fn wait(sessions: Vec<Session>, time: Duration) -> anyhow::Result<Vec<Session>> {
    let end = Instant::now() + time;
    let mut waiting = JoinSet::new();
    for (number, mut session) in sessions.into_iter().enumerate() {
        waiting.spawn(async move {
            while let Ok(read) = timeout_at(end, session.reader.read(|_| ())).await {
                ensure!(read? == Some(0), "more came than a ping, or the end, while it waited");
            }
            Ok((number, session))
        });
    }
    let mut sessions = Vec::with_capacity(waiting.len());
    while let Some(waited) = waiting.join_next().await {
        sessions.push(waited??);
    }
    sessions.sort_unstable_by_key(|(number, _)| *number);
    Ok(sessions.into_iter().map(|(_, session)| session).collect())
}

/// CPU time of the peer in percent of a core while all sessions wait, for at least two pings each.
async fn cpu_of_waiting(
    plan: &Plan,
    sessions: Vec<Session>,
) -> anyhow::Result<(Vec<Session>, f64)> {
    let pings = if plan.quick { 1 } else { 2 };
    let meter = Meter::start(plan)?;
    let sessions = wait(sessions, Duration::from_secs(20 * pings + 1)).await?;
    let (seconds, cpu) = meter.stop()?;
    Ok((sessions, cpu / seconds * 100.0))
}

/// The memory in KiB of one more session on a line.
///
/// Its use makes the line keep more output. So as many other lines are used without watchers, and
/// their additional memory is subtracted.
async fn watcher(plan: &Plan, mut sessions: Vec<Session>) -> anyhow::Result<f64> {
    let lines = watched(plan.quick);
    let start = plan.memory()?;
    for session in sessions.iter_mut().skip(lines).take(lines) {
        use_it(session, &mut []).await?;
    }
    let mut sessions = wait(sessions, SETTLE).await?;
    let output = plan.memory()?.saturating_sub(start);
    let mut watchers = Vec::with_capacity(lines * WATCHERS);
    let start = plan.memory()?;
    for (line, session) in sessions.iter_mut().take(lines).enumerate() {
        let mut here = Vec::new();
        for _ in 0..WATCHERS {
            here.push(plan.watch(line).await?);
        }
        use_it(session, &mut here).await?;
        watchers.extend(here);
    }
    let count = watchers.len() as f64;
    sessions.extend(watchers);
    let _sessions = wait(sessions, SETTLE).await?;
    Ok(plan.memory()?.saturating_sub(start).saturating_sub(output) as f64 / count / 1024.0)
}
