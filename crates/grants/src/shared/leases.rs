//! Leases of keys that expire, by minute.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;
use serialproxy_etcd::LeaseId;
use tokio::sync::Mutex;

const MINUTE: i64 = 60;

/// How long a lease outlasts the last of its keys' expirations, so that differing clocks do no
/// harm.
const SLACK: i64 = 60;

/// The longest lease that etcd accepts. Keys that expire later are not renewed.
const LONGEST: i64 = 100 * 365 * 24 * 3600;

/// How many leases are remembered: API tokens may expire in any minute.
const REMEMBERED: usize = 4096;

/// The leases that this process made.
#[derive(Debug)]
pub(crate) struct Leases {
    etcd: Etcd,
    /// By the minute in which all of their keys have expired.
    by_minute: Mutex<BTreeMap<i64, LeaseId>>,
}

impl Leases {
    pub(crate) fn new(etcd: Etcd) -> Self {
        Self { etcd, by_minute: Mutex::default() }
    }

    /// Writes keys under the lease of the minute in which they expire. A lease that is gone early,
    /// since an operator revoked it or set etcd up anew, is replaced once.
    pub(crate) async fn with<T, F>(
        &self,
        expires: Timestamp,
        put: impl Fn(LeaseId) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        let lease = self.until(expires).await?;
        match put(lease).await {
            Err(EtcdError::NoLease) => {
                self.forget(lease).await;
                put(self.until(expires).await?).await
            }
            outcome => outcome,
        }
    }

    async fn until(&self, expires: Timestamp) -> Result<LeaseId, EtcdError> {
        let minute = expires.as_second().div_euclid(MINUTE).saturating_add(1);
        // Other callers wait, since they want the same lease.
        let mut leases = self.by_minute.lock().await;
        if let Some(lease) = leases.get(&minute) {
            return Ok(*lease);
        }
        let now = Timestamp::now().as_second();
        leases.retain(|minute, _| minute.saturating_mul(MINUTE) > now);
        if leases.len() >= REMEMBERED {
            leases.clear();
        }
        let rest = minute.saturating_mul(MINUTE).saturating_sub(now).clamp(0, LONGEST);
        let rest = Duration::from_secs(rest.saturating_add(SLACK).unsigned_abs());
        let lease = self.etcd.grant(rest).await?;
        leases.insert(minute, lease);
        Ok(lease)
    }

    async fn forget(&self, lease: LeaseId) {
        self.by_minute.lock().await.retain(|_, known| *known != lease);
    }
}
