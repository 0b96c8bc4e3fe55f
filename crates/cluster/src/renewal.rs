//! Renewal of this host's certificate at two thirds of its lifetime.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use rcgen::CertificateParams;
use rcgen::KeyPair;
use rustix::fs::FlockOperation;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serialproxy_config::values::Cluster;

use crate::admission::Admission;
use crate::admission::AdmissionError;
use crate::authority::AuthorityError;
use crate::call;
use crate::call::CallError;
use crate::files;
use crate::files::Readers;
use crate::host;
use crate::identity::Identity;
use crate::peer::Peer;
use crate::peer::PeerError;
use crate::role::Role;
use crate::wire::RENEW;
use crate::wire::RenewAnswer;
use crate::wire::RenewRequest;

/// Longest time between two checks of the files and the clock.
const INTERVAL: Duration = Duration::from_secs(60);

/// Shortest time between two checks.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps the certificate of this host valid.
#[derive(Debug)]
pub struct Renewal<A> {
    identity: Arc<Identity>,
    cluster: Cluster,
    state_dir: PathBuf,
    admission: Option<Admission>,
    apis: A,
}

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The files of this host cannot be used.
    #[error(transparent)]
    Files(#[from] AuthorityError),
    /// Its certificate cannot be used.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// This host itself cannot issue it.
    #[error("{0}")]
    Own(String),
    /// No api host is known.
    #[error("no api host is known that could renew it")]
    NoApi,
    /// An api host refused to issue it.
    #[error("api host {host}: {error}")]
    Api {
        /// The api host.
        host: String,
        /// The error.
        error: CallError,
    },
}

impl From<AdmissionError> for RenewalError {
    fn from(error: AdmissionError) -> Self {
        Self::Own(error.to_string())
    }
}

impl<A: Fn() -> Vec<(String, String)>> Renewal<A> {
    /// For this host. With an [`Admission`] it issues its certificate itself; otherwise one of the
    /// `apis` does, which are names and addresses (`HOST:PORT`).
    pub fn new(
        identity: Arc<Identity>,
        cluster: &Cluster,
        state_dir: PathBuf,
        admission: Option<Admission>,
        apis: A,
    ) -> Self {
        Self { identity, cluster: cluster.clone(), state_dir, admission, apis }
    }

    /// Renews the certificate when it is due, and reads files again that another process renewed.
    /// Never ends.
    pub async fn run(&self) {
        let (mut wrong, mut is_registered) = (false, false);
        loop {
            self.identity.reload_if_changed();
            if !is_registered {
                is_registered = self.register().await;
            }
            match self.renew_if_due(SystemTime::now()).await {
                Ok(()) => wrong = false,
                Err(error) => {
                    if !wrong {
                        tracing::warn!(%error, "the certificate of this host was not renewed; trying again");
                    }
                    wrong = true;
                }
            }
            let own = self.identity.own();
            let interval = own.map_or(INTERVAL, |own| life(&own) / 60);
            let interval = if is_registered { interval } else { AGAIN };
            tokio::time::sleep(interval.clamp(AGAIN, INTERVAL)).await;
        }
    }

    /// Renews the certificate if it is time, unless another PKI issued it.
    ///
    /// # Errors
    ///
    /// When it is due, and no host issues one.
    pub async fn renew_if_due(&self, now: SystemTime) -> Result<(), RenewalError> {
        if !host::has_own_pki(&self.cluster, &self.state_dir) || !self.is_due(now)? {
            return Ok(());
        }
        // The other roles of this host use the same certificate.
        let Some(_lock) = self.lock()? else { return Ok(()) };
        self.identity.reload_if_changed();
        if !self.is_due(now)? {
            return Ok(());
        }
        let own = self.identity.own()?;
        let chain = self.issue(&own, self.request()?).await?;
        let new = CertificateDer::from_pem_slice(chain.as_bytes());
        let new = Peer::read(&new.map_err(|_| PeerError::Unreadable)?)?;
        if new.host != own.host {
            return Err(PeerError::OtherHost { found: new.host, expected: own.host }.into());
        }
        host::save(&self.state_dir, "cert.pem", &chain, Readers::Owner)?;
        self.identity.reload_if_changed();
        tracing::info!(serial = %new.serial, "the certificate of this host was renewed");
        Ok(())
    }

    /// Records this host in etcd if it made its certificate itself; false where etcd does not
    /// respond.
    async fn register(&self) -> bool {
        match (&self.admission, self.identity.own()) {
            (Some(admission), Ok(own)) => admission.register(&own).await.is_ok(),
            _ => true,
        }
    }

    async fn issue(&self, own: &Peer, request: String) -> Result<String, RenewalError> {
        if let Some(admission) = &self.admission {
            return Ok(admission.renew(own, &request).await?);
        }
        let request = RenewRequest { request };
        let mut failed = RenewalError::NoApi;
        for (host, address) in (self.apis)() {
            let tls = self.identity.client_config(Role::Api, &host);
            let tls = tls.map_err(|error| RenewalError::Own(error.to_string()))?;
            match call::post::<RenewAnswer>(&address, tls, RENEW, &request).await {
                Ok(answer) => return Ok(answer.certificate),
                Err(error) => failed = RenewalError::Api { host, error },
            }
        }
        Err(failed)
    }

    /// A request with this host's present key, so that key and certificate fit each other after any
    /// crash.
    fn request(&self) -> Result<String, AuthorityError> {
        let path = &self.cluster.key_file;
        let key = files::read(path).map_err(|error| failed(path.clone(), error))?;
        let unusable = |error| AuthorityError::Unusable { path: path.clone(), error };
        let key = KeyPair::from_pem(&key).map_err(unusable)?;
        Ok(CertificateParams::default().serialize_request(&key)?.pem()?)
    }

    fn is_due(&self, now: SystemTime) -> Result<bool, PeerError> {
        let own = self.identity.own()?;
        Ok(now >= own.since + life(&own) * 2 / 3)
    }

    /// None while another process holds the lock.
    fn lock(&self) -> Result<Option<File>, AuthorityError> {
        let path = self.state_dir.join("cluster/renewal.lock");
        let mut options = File::options();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(|error| failed(path.clone(), error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed(path, error.into())),
        }
    }
}

fn failed(path: PathBuf, error: io::Error) -> AuthorityError {
    AuthorityError::File { path, error }
}

fn life(own: &Peer) -> Duration {
    own.until.duration_since(own.since).unwrap_or_default()
}
