//! Leases: keys that are removed when their owner ends.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use etcd_client::Client;
use etcd_client::Error as ClientError;
use jiff::Timestamp;
use serialproxy_metrics as metrics;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::Etcd;
use crate::EtcdError;
use crate::Instant;
use crate::link::Nature;

/// The pause after a failed keepalive.
const RETRY: Duration = Duration::from_millis(500);

/// A lease's number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LeaseId(pub(crate) i64);

/// A lease that is kept alive. Dropping this revokes it, which removes its keys at once.
///
/// A lost lease stays lost; its owner makes a new one.
#[derive(Debug)]
pub struct Lease {
    id: LeaseId,
    ttl: Duration,
    acknowledged: Arc<Mutex<Instant>>,
    lost: watch::Receiver<bool>,
    /// Dropped when the lease is no longer needed.
    wanted: Option<oneshot::Sender<()>>,
    keeper: JoinHandle<()>,
}

impl Etcd {
    /// Makes a lease that is not kept alive: it ends after `ttl`.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses.
    pub async fn grant(&self, ttl: Duration) -> Result<LeaseId, EtcdError> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let grant =
            |client: Arc<Client>| async move { client.lease_client().grant(seconds, None).await };
        // If the answer is lost, the lease has no keys, and ends by itself.
        let granted = self.link.call(Nature::Repeatable, grant).await?;
        Ok(LeaseId(granted.id()))
    }

    /// Makes a lease of `ttl`, in whole seconds, and keeps it alive.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses.
    pub async fn lease(&self, ttl: Duration) -> Result<Lease, EtcdError> {
        let asked = Instant::now();
        let id = self.grant(ttl).await?;
        note_acknowledged();
        let acknowledged = Arc::new(Mutex::new(asked));
        let (wanted, unwanted) = oneshot::channel();
        let (losing, lost) = watch::channel(false);
        let keeper =
            Keeper { etcd: self.clone(), id, ttl, acknowledged: Arc::clone(&acknowledged) };
        let keeper = self.link.runtime().spawn(keeper.run(unwanted, losing));
        Ok(Lease { id, ttl, acknowledged, lost, wanted: Some(wanted), keeper })
    }

    /// Ends a lease, which removes its keys.
    ///
    /// # Errors
    ///
    /// When etcd is away or refuses.
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), EtcdError> {
        let revoke =
            |client: Arc<Client>| async move { client.lease_client().revoke(lease.0).await };
        match self.link.call(Nature::Repeatable, revoke).await {
            Ok(_) | Err(EtcdError::NoLease) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Renews a lease for its full time; false when it has ended.
    async fn keep_alive(&self, lease: LeaseId) -> Result<bool, EtcdError> {
        let keep = |client: Arc<Client>| async move {
            match client.lease_client().keep_alive(lease.0).await {
                Ok(_) => Ok(true),
                // The client library returns this for an answer without a time.
                Err(ClientError::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.link.call(Nature::Repeatable, keep).await
    }
}

impl Lease {
    /// Its number, for keys that are to be removed with it.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// When the newest acknowledged keepalive was sent: the lease is valid for its time from then
    /// on.
    pub fn acknowledged(&self) -> Instant {
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may have ended.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow() || self.acknowledged().elapsed() >= self.ttl
    }

    /// Waits until it may have ended.
    pub async fn lost(&self) {
        // The keeper sends this, and ends only then or with this lease.
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }

    /// Ends it, and waits until etcd has removed its keys, if etcd can be reached.
    pub async fn close(mut self) {
        self.wanted = None;
        // The keeper ends within the time of two calls.
        let _ = (&mut self.keeper).await;
    }
}

/// The task that keeps a lease alive.
struct Keeper {
    etcd: Etcd,
    id: LeaseId,
    ttl: Duration,
    acknowledged: Arc<Mutex<Instant>>,
}

impl Keeper {
    async fn run(self, unwanted: oneshot::Receiver<()>, losing: watch::Sender<bool>) {
        tokio::select! {
            _ = unwanted => {}
            () = self.keep() => {
                metrics::ETCD_LEASES_LOST.inc();
                losing.send_replace(true);
            }
        }
        // Also after a loss: if etcd only did not respond, the lease may still block the next one.
        if let Err(error) = self.etcd.revoke(self.id).await {
            tracing::debug!(%error, "a lease ends by itself");
        }
    }

    /// Ends when the lease may have ended.
    async fn keep(&self) {
        let mut pause = self.ttl / 3;
        loop {
            sleep(pause).await;
            let asked = Instant::now();
            pause = match self.etcd.keep_alive(self.id).await {
                Ok(true) => {
                    note_acknowledged();
                    *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) = asked;
                    self.ttl / 3
                }
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%error, "a lease was not kept alive");
                    RETRY
                }
            };
            let since = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            let Some(rest) = self.ttl.checked_sub(since).filter(|rest| !rest.is_zero()) else {
                return;
            };
            pause = pause.min(rest);
        }
    }
}

fn note_acknowledged() {
    metrics::ETCD_ACKNOWLEDGED.set(Timestamp::now().as_duration().as_secs_f64());
}
