//! The health of a process: why it cannot serve, if so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Serialize;

/// The present faults of a process. Cheap to clone; all clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeSet<Reason>>>);

/// The status of a process.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There are no faults.
    #[default]
    Ok,
    /// There are faults, but sessions are served.
    Degraded,
    /// No session can be served, or none should come here.
    Failing,
}

/// A fault.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Reason {
    /// Its kind.
    pub name: ReasonName,
    /// In words.
    pub text: String,
}

macro_rules! names {
    ($($(#[doc = $what:literal])+ $name:ident $word:literal $status:ident;)+) => {
        /// The kind of a fault.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum ReasonName {
            $($(#[doc = $what])+ #[serde(rename = $word)] $name,)+
        }

        impl ReasonName {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Their words, in the same order.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The status of a process with such a fault.
            pub const fn status(self) -> Status {
                match self {
                    $(Self::$name => Status::$status,)+
                }
            }
        }
    };
}

names! {
    /// The process or its host is being drained.
    Draining "draining" Failing;
    /// Tokens cannot be looked up.
    Store "store" Failing;
    /// A thread hangs.
    Thread "thread" Failing;
    /// The audit trail cannot be written.
    Audit "audit" Degraded;
    /// etcd does not respond.
    Etcd "etcd" Degraded;
    /// The journal of a line cannot be written.
    Journal "journal" Degraded;
    /// Keystone does not respond.
    Keystone "keystone" Degraded;
    /// libvirt does not respond.
    Libvirt "libvirt" Degraded;
    /// Nova does not respond.
    Nova "nova" Degraded;
}

impl Health {
    /// Adds a fault.
    pub fn fails(&self, name: ReasonName, text: impl Into<String>) {
        self.lock().insert(Reason { name, text: text.into() });
    }

    /// Removes the fault of this kind and text.
    pub fn recovers(&self, name: ReasonName, text: &str) {
        self.lock().retain(|reason| reason.name != name || reason.text != text);
    }

    /// Replaces all faults of this kind by one, or by none.
    pub fn set(&self, name: ReasonName, text: Option<String>) {
        let mut reasons = self.lock();
        reasons.retain(|reason| reason.name != name);
        reasons.extend(text.map(|text| Reason { name, text }));
    }

    /// All present faults.
    pub fn reasons(&self) -> Vec<Reason> {
        self.lock().iter().cloned().collect()
    }

    /// The status: that of the worst fault.
    pub fn status(&self) -> Status {
        self.lock().iter().map(|reason| reason.name.status()).max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Reason>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_fault_decides() {
        let health = Health::default();
        assert_eq!(health.status(), Status::Ok);
        health.fails(ReasonName::Etcd, "etcd does not respond");
        assert_eq!(health.status(), Status::Degraded);
        health.fails(ReasonName::Thread, "it hangs");
        health.fails(ReasonName::Thread, "another hangs");
        assert_eq!(health.status(), Status::Failing);
        health.recovers(ReasonName::Thread, "it hangs");
        assert_eq!(health.status(), Status::Failing);
        health.set(ReasonName::Thread, None);
        assert_eq!(health.status(), Status::Degraded);
        assert_eq!(health.reasons()[0].text, "etcd does not respond");
        health.set(ReasonName::Etcd, Some("it is away".into()));
        assert_eq!(health.reasons().len(), 1);
    }

    #[test]
    fn the_words_are_those_of_the_json() {
        for (name, word) in ReasonName::ALL.iter().zip(ReasonName::WORDS) {
            assert_eq!(serde_json::to_string(name).unwrap(), format!("\"{word}\""));
        }
    }
}
