//! The owners of the serial ports of a Nova's servers: one of several proxies connects to each
//! port.
//!
//! `owners/SERVER-PORT` names that proxy, under a lease of its process. A proxy that has not heard
//! from etcd for a while closes all its ports before its lease can have ended, and takes them again
//! when etcd is back.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use serialproxy_config::cluster_name;
use serialproxy_etcd::Bounds;
use serialproxy_etcd::Entry;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::Lease;
use serialproxy_etcd::LeaseId;
use serialproxy_etcd::Revision;
use serialproxy_etcd::Watched;
use serialproxy_limits::seldom;
use serialproxy_proto::id::ServerId;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::publish::LEASE;
use crate::publish::pause;

/// The prefix of owners by server and TCP port.
const OWNERS: &str = "owners/";

/// How long after its last acknowledged keepalive a lease is relied on. The remaining time is for
/// closing the ports.
const RELIED_ON: Duration = Duration::from_secs(10);

/// How often etcd is compared with this process's state.
const LOOK: Duration = Duration::from_secs(2);

/// How often to check whether a lease is acknowledged again.
const AGAIN: Duration = Duration::from_millis(200);

/// How long to wait for a new lease.
const NEW_LEASE: Duration = Duration::from_secs(1);

/// Most targets of one process.
const MOST: usize = 8192;

/// Most targets of all proxies that are followed, and most bytes of an entry.
const FOLLOWED: Bounds = Bounds { entries: 100_000, value: 1024 };

/// Most keys that are checked or removed at a time, one by one.
const BATCH: usize = 64;

/// How often a key may change while it is being taken.
const TRIES: usize = 4;

/// The owner of a target, as etcd stores it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Owner {
    host: String,
    /// A random number: it tells a process that was killed from the next one.
    process: u64,
}

/// The targets of this process, and those of others. Clones share them.
#[derive(Clone, Debug)]
pub struct Owners(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    etcd: Etcd,
    runtime: Handle,
    own: Owner,
    all: Watched<Owner>,
    /// None while there is no lease to rely on.
    term: watch::Sender<Option<Arc<Term>>>,
    held: Mutex<BTreeMap<String, Held>>,
}

/// A period in which etcd responds.
#[derive(Debug)]
struct Term {
    lease: Arc<Lease>,
    ended: CancellationToken,
}

/// A target that this process has or is taking.
#[derive(Debug)]
struct Held {
    guards: usize,
    /// The newest change of its key that is known to be this process's, and the lease of that
    /// change.
    written: Option<(Revision, LeaseId)>,
    /// Canceled when another process changed its key.
    lost: CancellationToken,
    /// Callers that take it wait for each other here.
    turn: Turn,
}

type Turn = Arc<tokio::sync::Mutex<()>>;

/// A target of this process, until this is dropped or the target is lost.
#[derive(Debug)]
pub struct Ownership {
    owners: Owners,
    target: String,
    term: Arc<Term>,
    lost: CancellationToken,
}

/// Why this process does not have a target.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotOwner {
    /// The proxy on this host has it.
    #[error("host {0} has it")]
    Other(String),
    /// It is unknown which process has it.
    #[error("etcd does not say who has it: {0}")]
    Unknown(String),
    /// This process has the maximum number of targets.
    #[error("this proxy has {MOST} targets, which is the maximum")]
    Full,
}

impl Owners {
    /// The targets of a proxy on the host of this name. It has none before [`Self::keep`] runs.
    ///
    /// # Errors
    ///
    /// When no random numbers are available.
    pub fn new(etcd: Etcd, host: String) -> io::Result<Self> {
        let process = getrandom::u64().map_err(io::Error::other)?;
        let all = etcd.watch(OWNERS, FOLLOWED);
        let own = Owner { host, process };
        let (term, held) = (watch::Sender::new(None), Mutex::default());
        let runtime = Handle::current();
        Ok(Self(Arc::new(Shared { etcd, runtime, own, all, term, held })))
    }

    /// Keeps a lease until `end`, and then gives all targets back. By then their ports must be
    /// closed.
    pub async fn keep(self, end: CancellationToken) {
        tokio::select! {
            () = end.cancelled() => {}
            never = self.keep_leases() => match never {},
            never = self.compare() => match never {},
        }
        if let Some(term) = self.0.term.send_replace(None) {
            term.ended.cancel();
            if let Err(error) = self.0.etcd.revoke(term.lease.id()).await {
                tracing::debug!(%error, "the owner's lease ends by itself");
            }
        }
    }

    /// Takes a target, if no other proxy has it. The caller may then connect to its port.
    ///
    /// # Errors
    ///
    /// When another process has it, or its owner is unknown.
    pub async fn take(&self, target: &str) -> Result<Ownership, NotOwner> {
        let term = self.0.term().await;
        let term = term.ok_or_else(|| NotOwner::Unknown("etcd does not answer".into()))?;
        let (ownership, turn) = self.begin(target, term)?;
        let _turn = turn.lock().await;
        let lease = ownership.term.lease.id();
        let known = self.0.held().get(target).and_then(|held| held.written);
        // An earlier caller may still have it.
        if known.is_none_or(|(_, of)| of != lease) {
            let written = self.0.write(target, lease).await?;
            if let Some(held) = self.0.held().get_mut(target) {
                held.written = Some((written, lease));
            }
        }
        match ownership.is_held() {
            true => Ok(ownership),
            false => Err(NotOwner::Unknown("etcd answers too slowly".into())),
        }
    }

    /// The host of the proxy that last took a port of this server, if it is another process.
    pub fn of(&self, server: ServerId) -> Option<String> {
        let first = format!("{server}-");
        self.0.all.read(|all| {
            let ports = all.range(first.clone()..).take(BATCH);
            let ports = ports.take_while(|(target, _)| target.starts_with(&first));
            let others = ports.filter(|(_, entry)| entry.value.process != self.0.own.process);
            let last = others.max_by_key(|(_, entry)| entry.created);
            last.and_then(|(_, entry)| entry.value.host())
        })
    }

    fn begin(&self, target: &str, term: Arc<Term>) -> Result<(Ownership, Turn), NotOwner> {
        let mut all = self.0.held();
        if all.len() >= MOST && !all.contains_key(target) {
            return Err(NotOwner::Full);
        }
        let held = all.entry(target.to_owned()).or_insert_with(Held::new);
        if held.lost.is_cancelled() {
            (held.lost, held.written) = (CancellationToken::new(), None);
        }
        held.guards += 1;
        let (owners, target, lost) = (self.clone(), target.to_owned(), held.lost.clone());
        Ok((Ownership { owners, target, term, lost }, Arc::clone(&held.turn)))
    }

    async fn keep_leases(&self) -> Infallible {
        loop {
            let Err(error) = self.keep_lease().await;
            if seldom::is_due("owner lease") {
                tracing::warn!(%error, "there is no lease in etcd for this proxy's serial ports");
            }
            sleep(pause()).await;
        }
    }

    /// Keeps one lease until it is lost, and relies on it while etcd acknowledges it.
    async fn keep_lease(&self) -> Result<Infallible, EtcdError> {
        let lease = Arc::new(self.0.etcd.lease(LEASE).await?);
        while !lease.is_lost() {
            let term =
                Arc::new(Term { lease: Arc::clone(&lease), ended: CancellationToken::new() });
            self.0.term.send_replace(Some(Arc::clone(&term)));
            term.over().await;
            self.0.term.send_replace(None);
            term.ended.cancel();
            tracing::warn!("etcd does not answer: this proxy lets go of its serial ports");
            while !lease.is_lost() && !term.is_acknowledged() {
                sleep(AGAIN).await;
            }
        }
        Err(EtcdError::NoLease)
    }

    /// Finds targets that another process took from this one, and keys that this process has left.
    async fn compare(&self) -> Infallible {
        let mut left = BTreeSet::new();
        loop {
            sleep(LOOK).await;
            if self.0.all.as_of().is_none_or(|as_of| as_of.stale) {
                continue;
            }
            self.0.find_lost().await;
            left = self.0.remove_left(left).await;
        }
    }
}

impl Owner {
    /// Its host, if this is a valid name of a host.
    fn host(&self) -> Option<String> {
        cluster_name(&self.host).ok().filter(|name| *name == self.host)
    }
}

impl Shared {
    /// Each critical section leaves its data consistent.
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease to rely on; waits for a new one.
    async fn term(&self) -> Option<Arc<Term>> {
        let mut term = self.term.subscribe();
        let relied_on =
            |term: &Option<Arc<Term>>| term.as_ref().is_some_and(|term| term.is_relied_on());
        let term = timeout(NEW_LEASE, term.wait_for(relied_on)).await.ok()?.ok()?;
        term.clone()
    }

    /// Writes that this process has a target, unless another one has it. A key without a lease has
    /// no owner.
    async fn write(&self, target: &str, lease: LeaseId) -> Result<Revision, NotOwner> {
        let key = key(target);
        let unknown = |error: EtcdError| NotOwner::Unknown(error.to_string());
        for _ in 0..TRIES {
            let change = self.etcd.transaction();
            let found = self.etcd.entry::<Owner>(&key).await.inspect_err(|error| {
                if matches!(error, EtcdError::Value(_)) && seldom::is_due("owner") {
                    tracing::warn!(key, %error, "the owner of a serial port is not understood: if no \
                             proxy has it, remove the key from etcd");
                }
            });
            let change = match found.map_err(unknown)? {
                None => change.absent(&key),
                Some(Entry { value, lease: of, changed, .. })
                    if value.process == self.own.process || of.is_none() =>
                {
                    change.unchanged(&key, changed)
                }
                Some(entry) => {
                    let nobody = || NotOwner::Unknown("its owner's name is not one".into());
                    return Err(entry.value.host().map_or_else(nobody, NotOwner::Other));
                }
            };
            let change = change.put(&key, &self.own, Some(lease));
            if let Some(revision) = change.commit().await.map_err(unknown)? {
                return Ok(revision);
            }
        }
        Err(NotOwner::Unknown("it is taken by others all the time".into()))
    }

    /// Ends targets of this process whose keys were removed or replaced.
    async fn find_lost(&self) {
        let Some(term) = self.term.borrow().clone() else { return };
        let lease = term.lease.id();
        let is_own = |entry: &Entry<Owner>| entry.value.process == self.own.process;
        let doubtful: Vec<_> = {
            let held = self.held();
            let now =
                held.iter().filter(|(_, held)| held.written.is_some_and(|(_, of)| of == lease));
            let live = now.filter(|(_, held)| !held.lost.is_cancelled());
            let doubtful =
                live.filter(|(target, _)| self.all.get(target).is_none_or(|entry| !is_own(&entry)));
            doubtful.map(|(target, held)| (target.clone(), held.lost.clone())).take(BATCH).collect()
        };
        for (target, lost) in doubtful {
            match self.etcd.entry::<Owner>(&key(&target)).await {
                // The map is not up to date yet.
                Ok(Some(entry)) if is_own(&entry) && entry.lease == Some(lease) => {}
                Ok(_) | Err(EtcdError::Value(_)) => {
                    tracing::warn!(target, "another process changed the owner of a serial port");
                    lost.cancel();
                }
                Err(_) => return,
            }
        }
    }

    /// Removes keys that this process has left behind, because the answer to a change was lost.
    /// Removes only keys that the last comparison already saw: the answer to a newer change may
    /// still arrive.
    async fn remove_left(
        &self,
        before: BTreeSet<(String, Revision)>,
    ) -> BTreeSet<(String, Revision)> {
        let left: BTreeSet<_> = self.all.read(|all| {
            let held = self.held();
            let own = all.iter().filter(|(_, entry)| entry.value.process == self.own.process);
            let left = own.filter(|(target, _)| !held.contains_key(*target)).take(BATCH);
            left.map(|(target, entry)| (target.clone(), entry.changed)).collect()
        });
        for (target, changed) in left.intersection(&before) {
            self.remove(target, *changed).await;
        }
        left
    }

    /// Removes a key, unless it was changed since.
    async fn remove(&self, target: &str, since: Revision) {
        let key = key(target);
        let removed = self.etcd.transaction().unchanged(&key, since).delete(&key).commit().await;
        if let Err(error) = removed {
            tracing::debug!(%error, "a serial port is given back later");
        }
    }
}

impl Term {
    fn is_acknowledged(&self) -> bool {
        self.lease.acknowledged().elapsed() < RELIED_ON
    }

    fn is_relied_on(&self) -> bool {
        !self.ended.is_cancelled() && self.is_acknowledged() && !self.lease.is_lost()
    }

    /// Waits until the lease is not relied on any more.
    async fn over(&self) {
        while let Some(rest) = RELIED_ON.checked_sub(self.lease.acknowledged().elapsed())
            && self.is_relied_on()
        {
            tokio::select! {
                () = sleep(rest) => {}
                () = self.lease.lost() => return,
            }
        }
    }
}

impl Held {
    fn new() -> Self {
        Self { guards: 0, written: None, lost: CancellationToken::new(), turn: Turn::default() }
    }
}

impl Ownership {
    /// Whether this process has the target now.
    pub fn is_held(&self) -> bool {
        !self.lost.is_cancelled() && self.term.is_relied_on()
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        tokio::select! {
            () = self.lost.cancelled() => {}
            () = self.term.ended.cancelled() => {}
        }
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        let shared = &self.owners.0;
        let mut all = shared.held();
        let Some(held) = all.get_mut(&self.target) else { return };
        held.guards -= 1;
        if held.guards > 0 {
            return;
        }
        let written = held.written;
        all.remove(&self.target);
        if let Some((written, _)) = written {
            let (shared, target) = (Arc::clone(shared), std::mem::take(&mut self.target));
            self.owners.0.runtime.spawn(async move { shared.remove(&target, written).await });
        }
    }
}

fn key(target: &str) -> String {
    format!("{OWNERS}{target}")
}
