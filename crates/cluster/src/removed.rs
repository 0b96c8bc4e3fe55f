//! Certificates that were removed before they expired.

use std::collections::BTreeSet;
use std::sync::Arc;

use serialproxy_limits::seldom;
use tokio::sync::watch;

use crate::peer::Serial;

/// The serial numbers of the certificates of removed hosts. Clones share the set.
#[derive(Clone, Debug)]
pub struct Removed(Arc<watch::Sender<Option<Known>>>);

/// The known serial numbers.
#[derive(Debug)]
struct Known {
    serials: BTreeSet<Serial>,
    /// Whether all removed certificates are known.
    is_complete: bool,
}

/// The status of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    /// It was not removed, as far as is known.
    Good,
    Removed,
    /// More certificates were removed than are known.
    Unknowable,
}

impl Known {
    fn status(&self, serial: &Serial) -> Status {
        match self.serials.contains(serial) {
            true => Status::Removed,
            false if self.is_complete => Status::Good,
            false => Status::Unknowable,
        }
    }
}

impl Default for Removed {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Removed {
    /// Whether this certificate was removed.
    pub fn contains(&self, serial: &Serial) -> bool {
        self.status(serial) == Status::Removed
    }

    pub(crate) fn status(&self, serial: &Serial) -> Status {
        self.0.borrow().as_ref().map_or(Status::Good, |known| known.status(serial))
    }

    /// Sets the removed certificates. There are no others.
    pub fn replace(&self, serials: BTreeSet<Serial>) {
        self.0.send_replace(Some(Known { serials, is_complete: true }));
    }

    /// Sets the removed certificates, of which some are unknown, so that no certificate is
    /// accepted.
    pub(crate) fn replace_incomplete(&self, serials: BTreeSet<Serial>) {
        if seldom::is_due("removed") {
            tracing::error!(
                "etcd has too many removed certificates: no host is trusted until some expire"
            );
        }
        self.0.send_replace(Some(Known { serials, is_complete: false }));
    }

    /// Waits until this certificate is not known to be good any more, so that its connections end.
    pub async fn until(&self, serial: &Serial) {
        self.until_any(|known| known.status(serial) != Status::Good).await;
    }

    /// Waits until this host's certificate, which may change meanwhile, is removed.
    pub(crate) async fn until_contains(&self, serial: impl Fn() -> Option<Serial>) {
        self.until_any(|known| serial().is_some_and(|serial| known.serials.contains(&serial)))
            .await;
    }

    /// Waits until the set is known. Before, no certificate can be accepted.
    pub async fn known(&self) {
        self.until_any(|_| true).await;
    }

    async fn until_any(&self, mut wanted: impl FnMut(&Known) -> bool) {
        let is_wanted = |known: &Option<Known>| known.as_ref().is_some_and(&mut wanted);
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(is_wanted).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_removal_learns_of_it() {
        let (removed, one, other) = (Removed::default(), Serial::of(&[1]), Serial::of(&[2]));
        removed.replace(BTreeSet::from([other]));
        let waits = tokio::spawn({
            let (removed, one) = (removed.clone(), one.clone());
            async move { removed.until(&one).await }
        });
        assert!(!removed.contains(&one));
        removed.replace(BTreeSet::from([one.clone()]));
        waits.await.unwrap();
        assert!(removed.contains(&one));
    }

    #[tokio::test]
    async fn while_some_are_not_known_no_certificate_is_good() {
        let (removed, one) = (Removed::default(), Serial::of(&[1]));
        removed.replace_incomplete(BTreeSet::new());
        assert_eq!(removed.status(&one), Status::Unknowable);
        // It is not removed either, so its host goes on.
        assert!(!removed.contains(&one));
        removed.until(&one).await;
        removed.replace(BTreeSet::new());
        assert_eq!(removed.status(&one), Status::Good);
    }
}
