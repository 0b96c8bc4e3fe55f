//! A host of the cluster in its stored form.

use std::time::Duration;
use std::time::SystemTime;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_etcd::EtcdError;

use crate::authority::Issued;
use crate::peer::Peer;
use crate::peer::Serial;
use crate::role::Roles;

/// How much longer than it is valid a certificate is remembered, since clocks differ.
pub(crate) const AFTERWARDS: Duration = Duration::from_secs(3600);

/// The stored form of a code.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Invitation {
    pub(crate) roles: Roles,
    /// The host to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replace: Option<String>,
}

/// A host that joined.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Member {
    /// Its roles.
    pub roles: Roles,
    /// All of its valid certificates: they must be removed with it.
    pub certificates: Vec<Valid>,
    /// The newest certificate, followed by the CA's (PEM). A request before half of its time has
    /// passed gets it again, so a host has two or three certificates, however often a thief of one
    /// asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) newest: Option<String>,
}

/// A certificate that is valid.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Valid {
    /// Its serial number.
    pub serial: Serial,
    /// When it expires.
    pub until: Timestamp,
}

/// Why a change of the members failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MemberError {
    /// The store does not respond, or refuses.
    #[error(transparent)]
    Store(#[from] EtcdError),
    /// The code is unknown.
    #[error(
        "the code is wrong, was used already or has expired; `serialproxy enroll` prints another"
    )]
    Code,
    /// A host of this name already belongs to the cluster.
    #[error(
        "host {0} belongs to the cluster already: to replace it, use `serialproxy enroll --replace \
             {0}`; to join under another name, use `serialproxy join --name`"
    )]
    Known(String),
    /// The code is for another host.
    #[error(
        "the code replaces host {expected}, and this is host {found}: use `serialproxy join --name \
             {expected}`"
    )]
    OtherName {
        /// The host that wants to join.
        found: String,
        /// The host that the code is for.
        expected: String,
    },
    /// No host of this name belongs to the cluster.
    #[error("no host {0} belongs to the cluster; `serialproxy cluster status` lists them")]
    Unknown(String),
    /// No more certificates can be removed.
    #[error(
        "{0} removed certificates are still valid, which is the maximum: wait until some of them \
             have expired, or create a new cluster"
    )]
    TooManyRemoved(usize),
    /// The member was changed at the same time.
    #[error("host {0} was changed at the same time; try again")]
    Changed(String),
}

impl Member {
    /// A host with its first certificate.
    pub(crate) fn new(roles: Roles, issued: &Issued) -> Self {
        let (certificates, newest) = (vec![Valid::from(issued)], Some(issued.chain.clone()));
        Self { roles, certificates, newest }
    }

    /// Whether this certificate is one of the host's.
    pub(crate) fn has(&self, serial: &Serial) -> bool {
        self.certificates.iter().any(|valid| valid.serial == *serial)
    }

    /// The newest certificate, unless half of its time has passed.
    pub(crate) fn fresh(&self, now: SystemTime) -> Option<&str> {
        let chain = self.newest.as_deref()?;
        let newest = CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
        let newest = Peer::read(&newest).ok()?;
        let life = newest.until.duration_since(newest.since).ok()?;
        (self.has(&newest.serial) && now < newest.since + life / 2).then_some(chain)
    }

    /// Adds a certificate, and forgets those that have expired on every clock.
    pub(crate) fn add(&mut self, issued: &Issued) {
        let now = Timestamp::now();
        self.certificates
            .retain(|valid| valid.until.saturating_add(AFTERWARDS).is_ok_and(|end| end > now));
        self.certificates.push(Valid::from(issued));
        self.newest = Some(issued.chain.clone());
    }
}

impl From<&Issued> for Valid {
    fn from(issued: &Issued) -> Self {
        let until = Timestamp::try_from(issued.until).unwrap_or(Timestamp::MAX);
        Self { serial: issued.serial.clone(), until }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;

    use super::*;
    use crate::authority::Authority;
    use crate::role::Role;

    #[test]
    fn a_certificate_is_fresh_for_half_of_its_time_and_all_that_may_be_valid_are_remembered() {
        let state = tempfile::tempdir().unwrap();
        let (ca, key) = (Authority::create(state.path()).unwrap(), KeyPair::generate().unwrap());
        let hour = Duration::from_secs(3600);
        let issue = || ca.issue("h1", &Role::Proxy.into(), &key, hour).unwrap();
        let first = issue();
        let mut member = Member::new(Role::Proxy.into(), &first);
        let now = SystemTime::now();
        assert_eq!(member.fresh(now), Some(&*first.chain));
        assert_eq!(member.fresh(now + hour / 2), None);

        for (ago, is_kept) in [(1800, true), (7200, false)] {
            let until = Timestamp::now() - Duration::from_secs(ago);
            let serial = Serial::of(&[7]);
            member.certificates.push(Valid { serial: serial.clone(), until });
            let another = issue();
            member.add(&another);
            assert_eq!(member.has(&serial), is_kept, "{ago}");
            assert!(member.has(&first.serial) && member.has(&another.serial));
            assert_eq!(member.fresh(now), Some(&*another.chain));
            member.certificates.retain(|valid| valid.serial != serial);
        }
    }
}
