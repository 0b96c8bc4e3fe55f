//! Whether etcd permits the user of this role what docs/cluster.md grants it.
//!
//! Nothing is changed: etcd looks at the permission for a change before it looks whether the condition of the change
//! holds, and this one never does.

use futures_util::future::join_all;
use serialproxy_etcd::Etcd;
use serialproxy_etcd::EtcdError;

use super::Role;
use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::finding::first;

/// What a role does with the keys of a prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    Read(&'static str),
    /// Reads them, too.
    Change(&'static str),
}

use Need::Change;
use Need::Read;

const API: &[Need] = &[Change("")];
const COMPUTE: &[Need] = &[
    Change("hosts/"),
    Change("servers/"),
    Change("spent/"),
    Read("grants/"),
    Read("removed/"),
    Read("draining/"),
];
const FRONT: &[Need] = &[
    Change("hosts/"),
    Read("servers/"),
    Read("grants/"),
    Read("spent/"),
    Read("removed/"),
    Read("draining/"),
];
const DROP_IN: &[Need] = &[
    Change("hosts/"),
    Change("owners/"),
    Read("servers/"),
    Read("grants/"),
    Read("spent/"),
    Read("removed/"),
    Read("draining/"),
];

/// A problem where etcd denies something that the role needs.
///
/// # Errors
///
/// When etcd does not answer.
pub(super) async fn check(subject: &Subject, etcd: &Etcd) -> Result<Option<Finding>, EtcdError> {
    let needs = needs(subject);
    let answers = join_all(needs.iter().map(|need| need.ask(etcd))).await;
    let mut denied = Vec::new();
    for (need, answer) in needs.iter().zip(answers) {
        match answer {
            Ok(()) => {}
            Err(EtcdError::Refused(why)) if why.contains("permission denied") => {
                denied.push(need.in_words(&subject.config().cluster.etcd_prefix));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((!denied.is_empty()).then(|| {
        Finding::problem(
            Check::Etcd,
            format!("etcd does not permit this role to {}", first(&denied)),
            "give the user of this role the permissions of docs/cluster.md, or correct etcd_username",
        )
    }))
}

fn needs(subject: &Subject) -> &'static [Need] {
    match subject.role {
        Role::Serve => &[],
        Role::Api => API,
        Role::Compute => COMPUTE,
        Role::Proxy if subject.is_drop_in() => DROP_IN,
        Role::Proxy => FRONT,
    }
}

impl Need {
    async fn ask(self, etcd: &Etcd) -> Result<(), EtcdError> {
        match self {
            Read(prefix) => etcd.count(prefix).await.map(drop),
            Change(prefix) => {
                etcd.count(prefix).await?;
                let key = format!("{prefix}doctor");
                let never = etcd.transaction().present(&key).absent(&key);
                never.put(&key, &(), None).commit().await.map(drop)
            }
        }
    }

    fn in_words(self, root: &str) -> String {
        match self {
            Read(prefix) => format!("read {root}{prefix}"),
            Change(prefix) => format!("change {root}{prefix}"),
        }
    }
}
