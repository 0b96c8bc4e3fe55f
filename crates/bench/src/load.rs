//! The loads: what each puts on a peer, and which values it measures.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use serde::Deserialize;
use serde::Serialize;

use crate::client::Door;
use crate::client::Session;
use crate::client::Wire;
use crate::peer::Peer;
use crate::usage;
use crate::usage::Cpu;

mod attach;
mod bulk;
mod churn;
mod drip;
mod fan;
mod fleet;
mod idle;
mod keystroke;
mod stalled;
mod typists;
mod upload;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// The longest time of a load, unless the peer hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// The way between client and guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// One proxy, without TLS.
    Plain,
    /// One proxy, with TLS to the client.
    Tls,
    /// Two proxies, with TLS between them: proxy and compute host, or HAProxy twice.
    TwoHosts,
}

/// A kind of load.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(crate) enum Load {
    /// The guest prints as fast as it can, to one session.
    Bulk,
    /// 16 guests print as fast as they can, to a session each.
    Fleet,
    /// One session types as fast as the guest reads.
    Upload,
    /// One key after the other, to the guest and back.
    Keystroke,
    /// 200 sessions type 20 keys a second each.
    Typists,
    /// Thousands of sessions that have been used, and now wait.
    Idle,
    /// Sessions that open, send one key and leave.
    Churn,
    /// One guest prints to 101 readers.
    Fan,
    /// A session that does not read, beside others that type.
    Stalled,
    /// 16 guests print a few bytes at a time, to a session each.
    Drip,
    /// [`Load::Keystroke`] with TLS.
    KeystrokeTls,
    /// [`Load::Bulk`] with TLS.
    BulkTls,
    /// [`Load::Keystroke`] over two hosts.
    KeystrokeHosts,
    /// [`Load::Bulk`] over two hosts.
    BulkHosts,
    /// Sessions over two hosts that have been used, and now wait.
    Tunnels,
    /// Sessions over two hosts that open at a steady rate.
    Attach,
}

impl Load {
    /// How many lines it needs, and how many of them have a watcher.
    pub(crate) fn lines(self, quick: bool) -> (usize, usize) {
        match self {
            Self::Bulk | Self::Upload | Self::Keystroke => (1, 0),
            Self::BulkTls | Self::KeystrokeTls | Self::BulkHosts | Self::KeystrokeHosts => (1, 0),
            Self::Fleet => (fleet::SESSIONS, 0),
            Self::Typists => (typists::SESSIONS, 0),
            Self::Idle => (idle::sessions(quick), idle::watched(quick)),
            Self::Churn => (churn::LINES, 0),
            Self::Fan => (1, 1),
            Self::Stalled => (stalled::TYPISTS + 1, 1),
            Self::Drip => (drip::SESSIONS, 0),
            Self::Tunnels => (idle::tunnels(quick), 0),
            Self::Attach => (attach::LINES, 0),
        }
    }

    /// The way between client and guest.
    pub(crate) fn way(self) -> Way {
        match self {
            Self::KeystrokeTls | Self::BulkTls => Way::Tls,
            Self::KeystrokeHosts | Self::BulkHosts | Self::Tunnels | Self::Attach => Way::TwoHosts,
            _ => Way::Plain,
        }
    }

    /// Whether everything runs on one core, so that no core has to be woken.
    pub(crate) fn on_one_core(self) -> bool {
        matches!(self, Self::Keystroke | Self::KeystrokeTls | Self::KeystrokeHosts)
    }

    /// Whether its values are meaningful for this peer.
    pub(crate) fn applies_to(self, peer: Peer) -> bool {
        match self {
            Self::Bulk | Self::Fleet | Self::Upload => true,
            Self::Keystroke | Self::Typists | Self::Churn | Self::Drip => true,
            Self::Idle | Self::Fan => peer != Peer::Direct,
            Self::Stalled | Self::Attach => peer == Peer::Serialproxy,
            Self::KeystrokeTls | Self::KeystrokeHosts => peer != Peer::Websockify,
            Self::BulkTls | Self::BulkHosts | Self::Tunnels => {
                matches!(peer, Peer::Haproxy | Peer::Serialproxy)
            }
        }
    }
}

/// The parameters of a load.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) load: Load,
    pub(crate) peer: Peer,
    /// Whether to run a shorter load.
    pub(crate) quick: bool,
    pub(crate) target: Target,
}

/// The address of a peer, and how its consoles are opened.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The peer's certificate, where it speaks TLS.
    pub(crate) certificate: Option<PathBuf>,
    /// Its process; none where there is no proxy.
    pub(crate) process: Option<u32>,
    /// The process on the guest's host, where it is another one.
    pub(crate) behind: Option<u32>,
    /// Its memory in bytes when it serves no session.
    pub(crate) base: u64,
    /// For each line, the request of a session that writes; empty where all are the same.
    pub(crate) writers: Vec<String>,
    /// For the first lines, the request of a session that watches.
    pub(crate) watchers: Vec<String>,
}

impl Target {
    /// A guest without a proxy.
    pub(crate) fn guest(address: SocketAddr) -> Self {
        let (certificate, process, behind) = (None, None, None);
        let (writers, watchers) = (Vec::new(), Vec::new());
        Self { address, certificate, process, behind, base: 0, writers, watchers }
    }
}

/// The measured values, by name.
pub(crate) type Values = BTreeMap<String, f64>;

/// Reads a [`Plan`] from stdin, executes it, and prints its [`Values`] on stdout.
pub(crate) async fn run() -> anyhow::Result<()> {
    let plan = serde_json::from_reader(io::stdin().lock()).context("no plan on stdin")?;
    let values = tokio::time::timeout(LIMIT, follow(&plan));
    let values = values.await.with_context(|| format!("not finished within {LIMIT:?}"))??;
    serde_json::to_writer(io::stdout().lock(), &values)?;
    Ok(())
}

async fn follow(plan: &Plan) -> anyhow::Result<Values> {
    match plan.load {
        Load::Bulk | Load::BulkTls | Load::BulkHosts => bulk::run(plan).await,
        Load::Fleet => fleet::run(plan).await,
        Load::Upload => upload::run(plan).await,
        Load::Keystroke | Load::KeystrokeTls | Load::KeystrokeHosts => keystroke::run(plan).await,
        Load::Typists => typists::run(plan).await,
        Load::Idle | Load::Tunnels => idle::run(plan).await,
        Load::Churn => churn::run(plan).await,
        Load::Fan => fan::run(plan).await,
        Load::Stalled => stalled::run(plan).await,
        Load::Drip => drip::run(plan).await,
        Load::Attach => attach::run(plan).await,
    }
}

impl Plan {
    /// The server of the sessions.
    pub(crate) fn door(&self) -> anyhow::Result<Door> {
        Door::new(self.target.address, self.target.certificate.as_deref())
    }

    /// Opens a session that writes to a line; lines are counted from 0.
    pub(crate) async fn open(&self, line: usize) -> anyhow::Result<Session> {
        Session::open(&self.door()?, &self.writing(line)).await
    }

    /// Opens this many sessions that write, each to a line of its own.
    pub(crate) async fn open_all(&self, sessions: usize) -> anyhow::Result<Vec<Session>> {
        let mut all = Vec::with_capacity(sessions);
        for line in 0..sessions {
            all.push(self.open(line).await.with_context(|| format!("session {line}"))?);
        }
        Ok(all)
    }

    /// Opens a session that watches a line.
    pub(crate) async fn watch(&self, line: usize) -> anyhow::Result<Session> {
        Session::open(&self.door()?, &self.watching(line, "")).await
    }

    /// The protocol of a session that writes to a line.
    pub(crate) fn writing(&self, line: usize) -> Wire {
        self.wire(self.target.writers.get(line), "")
    }

    /// The protocol of a session that watches a line: without the screen, whose painting takes
    /// memory.
    pub(crate) fn watching(&self, line: usize, subprotocol: &'static str) -> Wire {
        let path = self.target.watchers.get(line).map(|path| format!("{path}&from=live"));
        self.wire(path.as_ref(), subprotocol)
    }

    fn wire(&self, path: Option<&String>, subprotocol: &'static str) -> Wire {
        match self.peer {
            Peer::Direct | Peer::Haproxy => Wire::Plain,
            Peer::Serialproxy | Peer::Websockify => {
                let path = path.map_or("/", String::as_str).to_owned();
                Wire::WebSocket { path, subprotocol }
            }
        }
    }

    /// CPU time of the peer's processes so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<[Cpu; 2]> {
        let of = |process: Option<u32>| process.map_or(Ok(Cpu::default()), Cpu::of);
        Ok([of(self.target.process)?, of(self.target.behind)?])
    }

    /// Present memory of the peer in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.target.process.map_or(Ok(0), usage::memory)
    }
}

/// Measures time and the peer's CPU time.
pub(crate) struct Meter<'a> {
    plan: &'a Plan,
    cpu: [Cpu; 2],
    start: Instant,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(plan: &'a Plan) -> anyhow::Result<Self> {
        Ok(Self { plan, cpu: plan.cpu()?, start: Instant::now() })
    }

    /// Seconds, and CPU seconds of the peer.
    pub(crate) fn stop(self) -> anyhow::Result<(f64, f64)> {
        let seconds = self.start.elapsed().as_secs_f64();
        let now = self.plan.cpu()?;
        let taken = now.iter().zip(&self.cpu).map(|(now, then)| now.since(then));
        Ok((seconds, taken.sum::<Duration>().as_secs_f64()))
    }

    /// For this many bytes: the rate in MiB/s, and the CPU seconds of the peer per GiB.
    pub(crate) fn stop_after(self, bytes: u64) -> anyhow::Result<(f64, f64)> {
        let (seconds, cpu) = self.stop()?;
        Ok((bytes as f64 / MIB as f64 / seconds, cpu / (bytes as f64 / GIB as f64)))
    }
}

/// Values with their names.
pub(crate) fn values<const N: usize>(named: [(&str, f64); N]) -> Values {
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
