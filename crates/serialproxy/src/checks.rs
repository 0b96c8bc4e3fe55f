//! Looks whether what sessions need is there, and says at `/healthz` what is not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_audit::Audit;
use serialproxy_cluster::Directory;
use serialproxy_cluster::Identity;
use serialproxy_compute::Manager;
use serialproxy_grants::Grants;
use serialproxy_line::Lines;
use serialproxy_metrics as metrics;
use serialproxy_proto::health::Health;
use serialproxy_proto::health::ReasonName;
use serialproxy_proto::times::rfc3339;
use serialproxy_proto::token::TokenDigest;
use serialproxy_tls::Certificate;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::cluster::Own;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(2);

/// How long the look-up of a token may take.
const STORE: Duration = Duration::from_secs(5);

/// What a role depends on, and what is measured of it.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Tokens in a file of this host. Those in etcd are looked up as long as `etcd` is there.
    pub(crate) store: Option<Grants>,
    pub(crate) etcd: Option<Directory>,
    pub(crate) compute: Option<Arc<Manager>>,
    /// Whether this host is drained.
    pub(crate) drained: Option<watch::Receiver<bool>>,
    pub(crate) lines: Option<Lines>,
    pub(crate) audit: Audit,
    /// The certificate of this host in its cluster.
    pub(crate) identity: Option<Arc<Identity>>,
    /// The other certificates.
    pub(crate) certificates: Vec<(metrics::Certificate, Arc<Certificate>)>,
}

impl Watched {
    /// Of a role on a host of a cluster.
    pub(crate) fn of_cluster(own: &Own) -> Self {
        Self {
            etcd: Some(own.directory.clone()),
            drained: Some(own.drained.clone()),
            identity: Some(Arc::clone(&own.identity)),
            ..Self::default()
        }
    }

    /// The same with the certificate of a listener, if it has one.
    pub(crate) fn with_certificate(
        mut self,
        of: metrics::Certificate,
        certificate: Option<&Arc<Certificate>>,
    ) -> Self {
        self.certificates.extend(certificate.map(|certificate| (of, Arc::clone(certificate))));
        self
    }

    /// Says what is wrong, from now on.
    pub(crate) async fn check(&self, health: &Health) -> Infallible {
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drained = self.drained.clone();
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = changed(drained.as_mut()) => {}
            }
            self.look(health).await;
        }
    }

    async fn look(&self, health: &Health) {
        if let Some(drained) = &self.drained {
            let is_drained = *drained.borrow();
            let text = || "this host is being drained".to_owned();
            health.set(ReasonName::Draining, is_drained.then(text));
        }
        if let Some(grants) = &self.store {
            let known = grants.validate(TokenDigest::of(""), Timestamp::now());
            let text = match tokio::time::timeout(STORE, known).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(format!("tokens cannot be looked up: {error}")),
                Err(_) => Some("tokens cannot be looked up: the store does not respond".into()),
            };
            health.set(ReasonName::Store, text);
        }
        if let Some(directory) = &self.etcd {
            let text = match directory.as_of() {
                None => Some("etcd has not responded yet".into()),
                Some(as_of) if as_of.stale => {
                    Some(format!("etcd has not responded since {}", rfc3339(as_of.time)))
                }
                Some(_) => None,
            };
            health.set(ReasonName::Etcd, text);
        }
        let unwritten = || "the audit trail cannot be written".to_owned();
        health.set(ReasonName::Audit, (!self.audit.writable()).then(unwritten));
        if let Some(compute) = &self.compute {
            health.set(ReasonName::Libvirt, compute.libvirt_is_away());
        }
    }
}

/// Waits until it is another; forever where it stays as it is.
async fn changed(drained: Option<&mut watch::Receiver<bool>>) {
    let changed = match drained {
        Some(drained) => drained.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}
