//! A host of the cluster, as etcd keeps it.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serialproxy_etcd::EtcdError;

use crate::authority::Issued;
use crate::peer::Serial;
use crate::role::Roles;

/// Most valid certificates of a host: those that must be removed with it. It needs one or two.
const CERTIFICATES: usize = 8;

/// What a code stands for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Invitation {
    pub(crate) roles: Roles,
    /// The host whose place is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replace: Option<String>,
}

/// A host that joined.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Member {
    /// Its roles.
    pub roles: Roles,
    /// Its certificates that are valid.
    pub certificates: Vec<Valid>,
}

/// A certificate that is valid.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Valid {
    /// Its serial number.
    pub serial: Serial,
    /// When it ends.
    pub until: Timestamp,
}

/// Why a change of the members was not made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MemberError {
    /// The store does not answer, or refuses.
    #[error(transparent)]
    Store(#[from] EtcdError),
    /// There is no such code.
    #[error(
        "the code is wrong, was used already or has expired; `serialproxy enroll` prints another"
    )]
    Code,
    /// A host of this name belongs to the cluster.
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
        /// Who wants to join.
        found: String,
        /// Whom the code is for.
        expected: String,
    },
    /// No host of this name belongs to the cluster.
    #[error("no host {0} belongs to the cluster; `serialproxy cluster status` lists them")]
    Unknown(String),
    /// Somebody else changed it at the same time.
    #[error("host {0} was changed at the same time; try again")]
    Changed(String),
}

impl Member {
    /// Makes room for one more certificate, beside the one that asks for it. Those that have to go, the
    /// oldest, never reached the host, or somebody else asked for them.
    pub(crate) fn make_room(&mut self, asking: &Serial) -> Vec<Valid> {
        let now = Timestamp::now();
        self.certificates.retain(|valid| valid.until > now);
        let mut surplus = Vec::new();
        while self.certificates.len() >= CERTIFICATES
            && let Some(oldest) = self.certificates.iter().position(|one| one.serial != *asking)
        {
            surplus.push(self.certificates.remove(oldest));
        }
        surplus
    }
}

impl From<&Issued> for Valid {
    fn from(issued: &Issued) -> Self {
        let until = Timestamp::try_from(issued.until).unwrap_or(Timestamp::MAX);
        Self { serial: issued.serial.clone(), until }
    }
}
