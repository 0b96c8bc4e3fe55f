//! All lines of one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serialproxy_audit::Audit;
use serialproxy_proto::api;
use serialproxy_proto::console::ServerRef;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::kept::KeptSession;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::ResumeKey;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::kept::Restored;
use crate::line::Line;
use crate::lock;
use crate::ordered::Ordered;
use crate::ordered::Place;
use crate::ordered::Placed;
use crate::owner;
use crate::painter::Painters;
use crate::resolve::Resolve;
use crate::settings::Settings;

/// How long a client that resumes waits for its line, which the hypervisor must report first after
/// a restart. A proxy in front waits for 5 s.
const FOUND: Duration = Duration::from_secs(3);

/// How long it then waits until that line is connected: input from before would be dropped.
const CONNECTED: Duration = Duration::from_secs(1);

/// The registry. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    settings: Arc<Settings>,
    runtimes: Vec<Handle>,
    painters: Painters,
    turn: AtomicUsize,
    lines: Ordered<BTreeMap<LineKey, Line>>,
    owners: TaskTracker,
    draining: CancellationToken,
    /// Notified when a line is added.
    added: Notify,
    /// Sessions of the earlier process.
    restored: Mutex<Restored>,
    kept_changed: Arc<Notify>,
    /// The sessions that were kept when draining began.
    kept_at_drain: OnceLock<Vec<KeptSession>>,
}

impl Placed for BTreeMap<LineKey, Line> {
    const PLACE: Place = Place::Lines;
}

impl Lines {
    /// A registry without lines. The lines are distributed over the runtimes: a line's owner and
    /// its sessions share one, so they do not wake each other across threads.
    ///
    /// # Panics
    ///
    /// Without a runtime.
    pub fn new(settings: Settings, runtimes: Vec<Handle>) -> Self {
        assert!(!runtimes.is_empty(), "lines need a runtime");
        Self(Arc::new(Registry {
            settings: Arc::new(settings),
            runtimes,
            painters: Painters::start(),
            turn: AtomicUsize::new(0),
            lines: Ordered::default(),
            owners: TaskTracker::new(),
            draining: CancellationToken::new(),
            added: Notify::new(),
            restored: Mutex::default(),
            kept_changed: Arc::new(Notify::new()),
            kept_at_drain: OnceLock::new(),
        }))
    }

    /// Adds a line and starts its owner, which waits until the guest runs. Where the line exists
    /// already, only its project is updated. `project` is the one that its server belongs to; none
    /// where grants name none.
    pub fn add(
        &self,
        server: &ServerRef,
        project: Option<&str>,
        port: u8,
        resolve: Arc<dyn Resolve>,
    ) -> Line {
        let key = LineKey { server: server.id, port };
        let mut lines = self.0.lines.lock();
        let mut restored = None;
        let line = lines.entry(key).or_insert_with(|| {
            restored = lock(&self.0.restored).take(key);
            let runtime = self.next_runtime().clone();
            let painters = self.0.painters.clone();
            let kept_changed = Arc::clone(&self.0.kept_changed);
            let settings = &self.0.settings;
            let line = Line::new(server, port, settings, runtime.clone(), painters, kept_changed);
            self.0.owners.spawn_on(owner::own(Arc::clone(&line.0), resolve), &runtime);
            if self.is_draining() {
                line.close(&Refusal::Draining);
            }
            line
        });
        if let Some(project) = project {
            line.belongs_to(project);
        }
        if let Some((sessions, until)) = restored {
            line.restore(&sessions, until);
        }
        self.0.added.notify_waiters();
        line.clone()
    }

    /// Adds the sessions of the earlier process, as [`Self::kept`] returned them. Each one is
    /// present again as soon as its line is added, with its pen, but lost; its client has the grace
    /// time from now on to resume. Call this before adding lines.
    pub fn restore(&self, sessions: Vec<KeptSession>) {
        let until = Instant::now() + self.0.settings.grace;
        *lock(&self.0.restored) = Restored::new(sessions, until);
    }

    /// The stored form of all sessions now; once [`Self::drain`] was called, of just before that
    /// call.
    pub fn kept(&self) -> Vec<KeptSession> {
        if let Some(kept) = self.0.kept_at_drain.get() {
            return kept.clone();
        }
        let mut kept: Vec<_> = lock(&self.0.restored).waiting().cloned().collect();
        kept.extend(self.all().iter().flat_map(Line::kept));
        kept
    }

    /// The line whose session has this key. After a restart, it may take a moment until a line is
    /// known and connected.
    ///
    /// # Errors
    ///
    /// When there is no such line, or it is not found again in time.
    pub async fn of_key(&self, key: &ResumeKey) -> Result<Line, Refusal> {
        let found = async {
            loop {
                let mut added = std::pin::pin!(self.0.added.notified());
                added.as_mut().enable();
                let waits =
                    lock(&self.0.restored).waiting().any(|kept| kept.keys.contains(&key.digest()));
                // In this order, because a line is added before its sessions are taken.
                if let Some(line) = self.get(key.line()) {
                    return Ok(line);
                }
                if !waits {
                    return Err(Refusal::Resume);
                }
                added.await;
            }
        };
        let missing = "the server of this session is not known yet: try again".to_owned();
        let line = timeout(FOUND, found).await.unwrap_or(Err(Refusal::Unavailable(missing)))?;
        if line.awaits(key) {
            line.connected(CONNECTED).await;
        }
        Ok(line)
    }

    /// Waits until the result of [`Self::kept`] may have changed.
    pub async fn kept_changed(&self) {
        self.0.kept_changed.notified().await;
    }

    /// Records what is done at the lines.
    pub fn audit(&self) -> &Audit {
        &self.0.settings.audit
    }

    /// The runtimes on which lines run.
    pub fn runtimes(&self) -> &[Handle] {
        &self.0.runtimes
    }

    /// The runtime for the next line.
    fn next_runtime(&self) -> &Handle {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        #[allow(clippy::indexing_slicing, reason = "`new` has seen that there is one")]
        &self.0.runtimes[turn % self.0.runtimes.len()]
    }

    /// The line with this key.
    pub fn get(&self, key: LineKey) -> Option<Line> {
        self.0.lines.lock().get(&key).cloned()
    }

    /// The lines of a server, by port.
    pub fn of_server(&self, server: ServerId) -> Vec<Line> {
        let range = LineKey { server, port: 0 }..=LineKey { server, port: u8::MAX };
        self.0.lines.lock().range(range).map(|(_, line)| line.clone()).collect()
    }

    /// All lines, by server and port.
    pub fn all(&self) -> Vec<Line> {
        self.0.lines.lock().values().cloned().collect()
    }

    /// Removes a line: its port is closed, its sessions end with `reason`, and no more sessions can
    /// be attached to it.
    pub fn remove(&self, key: LineKey, reason: &str) {
        self.end(key, &Refusal::NoSuchLine(reason.to_owned()));
    }

    /// Removes a line that another host serves from now on: its sessions end with 4012, so that their
    /// clients connect again.
    pub fn hand_over(&self, key: LineKey) {
        self.end(key, &Refusal::Draining);
    }

    fn end(&self, key: LineKey, refusal: &Refusal) {
        let removed = self.0.lines.lock().remove(&key);
        if let Some(line) = removed {
            line.close(refusal);
            line.0.stop.cancel();
        }
    }

    /// Removes a line that is not in use; false where it is.
    pub fn remove_unused(&self, key: LineKey, reason: &str) -> bool {
        let mut lines = self.0.lines.lock();
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

    /// Ends all sessions with 4012, and refuses new ones. The lines go on.
    pub fn drain(&self) {
        let kept = self.kept();
        let _ = self.0.kept_at_drain.set(kept);
        let all = self.0.lines.lock();
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

    /// Closes all ports, and waits until that is done.
    pub async fn close(&self) {
        for line in self.all() {
            line.0.stop.cancel();
        }
        self.0.owners.close();
        self.0.owners.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::compute::BoxFuture;

    use super::*;
    use crate::resolve::Unresolved;
    use crate::shared::Shared;
    use serialproxy_proto::endpoint::Endpoint;

    #[derive(Debug)]
    struct Nowhere;

    impl Resolve for Nowhere {
        fn resolve(&self, _: LineKey) -> BoxFuture<'_, Result<Endpoint, Unresolved>> {
            Box::pin(std::future::ready(Err(Unresolved::Gone("it is gone".into()))))
        }
    }

    /// Every host has thousands of lines, most of them idle.
    #[tokio::test]
    async fn a_line_and_the_task_that_owns_its_port_take_little_memory() {
        let lines = Lines::new(Settings::default(), vec![Handle::current()]);
        let server = ServerRef { id: ServerId::of_static("demo"), name: "demo".into() };
        let line = lines.add(&server, None, 0, Arc::new(Nowhere));
        let task = size_of_val(&owner::own(Arc::clone(&line.0), Arc::new(Nowhere)));
        assert!(task <= 1424, "the owner's task has {task} bytes");
        let shared = size_of::<Shared>();
        assert!(shared <= 968, "what a line shares has {shared} bytes");
    }
}
