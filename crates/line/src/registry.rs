//! All lines of one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serialproxy_proto::api;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::claim::Claims;
use crate::endpoint::Resolve;
use crate::line::Line;
use crate::lock;
use crate::owner;
use crate::painter::Painters;
use crate::places::SessionPlaces;
use crate::pump::READ;

/// How far behind a session on `console.v1` may be at least: what a UART of 115,200 baud prints
/// while a connection is gone for the grace time, one and a half times.
const WINDOW: usize = 1024 * 1024;

/// How far behind a raw session may be beside what is read at once: it cannot come back, so what it
/// is behind is what its client does not take.
const RAW_LAG: usize = 64 * 1024;

/// What is the same for all lines.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a boot's beginning that are kept.
    pub history_head: usize,
    /// Bytes of the newest output that are kept.
    pub history_tail: usize,
    /// Bytes of input that are under way to a guest at most, where the transport shows how many
    /// are.
    pub input_in_flight: usize,
    /// How long after its last sign of life a session is kept whose connection is gone.
    pub grace: Duration,
    /// How long the holder of the pen has to answer who asks for it.
    pub pen_request_timeout: Duration,
    /// What becomes of a raw session that fell out of what is kept.
    pub raw_lag: RawLag,
    /// How many sessions a user and an address may have.
    pub places: SessionPlaces,
    /// Which lines are this process's.
    pub claims: Arc<Claims>,
    /// Towards ports that speak TLS, as it is at a connect.
    pub tls: Option<watch::Receiver<Arc<rustls::ClientConfig>>>,
}

/// What becomes of a raw session that fell out of what is kept, since raw has no words for a gap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RawLag {
    /// It ends with 4011.
    Close,
    /// It goes on with what is kept.
    Skip,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            history_head: 256 * 1024,
            history_tail: 256 * 1024,
            input_in_flight: 512,
            grace: Duration::from_secs(60),
            pen_request_timeout: Duration::from_secs(15),
            raw_lag: RawLag::Close,
            places: SessionPlaces::new(0, 0),
            claims: Arc::default(),
            tls: None,
        }
    }
}

impl Settings {
    /// Bytes of the newest output that are kept for a session which has yet to read them.
    pub(crate) fn window(&self, protocol: Protocol) -> u64 {
        let window = match protocol {
            Protocol::Raw => self.history_tail.max(READ) + RAW_LAG,
            Protocol::ConsoleV1 => self.history_tail.max(WINDOW),
        };
        window as u64
    }
}

/// The registry. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    settings: Settings,
    runtimes: Vec<Handle>,
    painters: Painters,
    turn: AtomicUsize,
    lines: Mutex<BTreeMap<LineKey, Line>>,
    owners: TaskTracker,
    draining: CancellationToken,
}

impl Lines {
    /// A registry without lines. Each line lives on one of the runtimes, by turns: its owner and
    /// its sessions need not wake each other over threads.
    ///
    /// # Panics
    ///
    /// Without a runtime.
    pub fn new(settings: Settings, runtimes: Vec<Handle>) -> Self {
        assert!(!runtimes.is_empty(), "lines need a runtime");
        Self(Arc::new(Registry {
            settings,
            runtimes,
            painters: Painters::start(),
            turn: AtomicUsize::new(0),
            lines: Mutex::default(),
            owners: TaskTracker::new(),
            draining: CancellationToken::new(),
        }))
    }

    /// Adds a line and starts its owner, which waits until the guest runs. A line that is there
    /// already is returned as it is, but for the project that its server belongs to; none where
    /// grants name none.
    pub fn add(
        &self,
        server: &ServerRef,
        project: Option<&str>,
        port: u8,
        resolve: Arc<dyn Resolve>,
    ) -> Line {
        let key = LineKey { server: server.id, port };
        let mut lines = lock(&self.0.lines);
        let line = lines.entry(key).or_insert_with(|| {
            let runtime = self.next_runtime().clone();
            let (settings, painters) = (self.0.settings.clone(), self.0.painters.clone());
            let line = Line::new(server, port, settings, runtime.clone(), painters);
            self.0.owners.spawn_on(owner::own(Arc::clone(&line.0), resolve), &runtime);
            if self.is_draining() {
                line.close(&Refusal::Draining);
            }
            line
        });
        if let Some(project) = project {
            line.belongs_to(project);
        }
        line.clone()
    }

    /// The runtimes on which lines live.
    pub fn runtimes(&self) -> &[Handle] {
        &self.0.runtimes
    }

    /// The runtime whose turn it is.
    fn next_runtime(&self) -> &Handle {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        #[allow(clippy::indexing_slicing, reason = "`new` has seen that there is one")]
        &self.0.runtimes[turn % self.0.runtimes.len()]
    }

    /// A line.
    pub fn get(&self, key: LineKey) -> Option<Line> {
        lock(&self.0.lines).get(&key).cloned()
    }

    /// The lines of a server, by port.
    pub fn of_server(&self, server: ServerId) -> Vec<Line> {
        let range = LineKey { server, port: 0 }..=LineKey { server, port: u8::MAX };
        lock(&self.0.lines).range(range).map(|(_, line)| line.clone()).collect()
    }

    /// All lines, by server and port.
    pub fn all(&self) -> Vec<Line> {
        lock(&self.0.lines).values().cloned().collect()
    }

    /// Removes a line: its port is let go, its sessions end with `reason`, and who has it in hand
    /// attaches to it no more.
    pub fn remove(&self, key: LineKey, reason: &str) {
        let removed = lock(&self.0.lines).remove(&key);
        if let Some(line) = removed {
            line.close(&Refusal::NoSuchLine(reason.to_owned()));
            line.0.stop.cancel();
        }
    }

    /// Removes a line unless somebody uses it; false where somebody does.
    pub fn remove_unused(&self, key: LineKey, reason: &str) -> bool {
        let mut lines = lock(&self.0.lines);
        if let Some(line) = lines.get(&key) {
            if !line.close_unused(&Refusal::NoSuchLine(reason.to_owned())) {
                return false;
            }
            line.0.stop.cancel();
            lines.remove(&key);
        }
        true
    }

    /// All sessions.
    pub fn sessions(&self) -> Vec<api::Session> {
        self.all().iter().flat_map(Line::sessions).collect()
    }

    /// Ends all sessions with 4012 and lets nobody attach any more. The lines go on.
    pub fn drain(&self) {
        let all = lock(&self.0.lines);
        self.0.draining.cancel();
        all.values().for_each(|line| line.close(&Refusal::Draining));
    }

    /// Whether [`Self::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Waits until [`Self::drain`] is called.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Lets go of all ports and waits until that is done.
    pub async fn close(&self) {
        for line in self.all() {
            line.0.stop.cancel();
        }
        self.0.owners.close();
        self.0.owners.wait().await;
    }
}
