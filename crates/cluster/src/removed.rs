//! Certificates that are not valid any more, though their time is not over.

use std::collections::BTreeSet;
use std::sync::Arc;

use serialproxy_limits::seldom;
use tokio::sync::watch;

use crate::peer::Serial;

/// The serial numbers of the certificates of removed hosts. All clones are the same set.
#[derive(Clone, Debug)]
pub struct Removed(Arc<watch::Sender<Option<Known>>>);

/// What is known of them.
#[derive(Debug)]
struct Known {
    serials: BTreeSet<Serial>,
    /// Whether there are no others.
    is_complete: bool,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It was not removed, as far as is known.
    Good,
    Removed,
    /// There are more that were removed than are known.
    Unknowable,
}

impl Known {
    fn standing(&self, serial: &Serial) -> Standing {
        match self.serials.contains(serial) {
            true => Standing::Removed,
            false if self.is_complete => Standing::Good,
            false => Standing::Unknowable,
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
        self.standing(serial) == Standing::Removed
    }

    pub(crate) fn standing(&self, serial: &Serial) -> Standing {
        self.0.borrow().as_ref().map_or(Standing::Good, |known| known.standing(serial))
    }

    /// From now on, these are removed, and no others.
    pub fn replace(&self, serials: BTreeSet<Serial>) {
        self.0.send_replace(Some(Known { serials, is_complete: true }));
    }

    /// From now on, these are removed, and others whose numbers are not known: no certificate is good.
    pub(crate) fn replace_incomplete(&self, serials: BTreeSet<Serial>) {
        if seldom::is_due("removed") {
            tracing::error!(
                "etcd has too many removed certificates: no host is trusted until some expire"
            );
        }
        self.0.send_replace(Some(Known { serials, is_complete: false }));
    }

    /// Waits until this certificate is not known to be good any more: connections with it end then.
    pub async fn until(&self, serial: &Serial) {
        self.until_any(|known| known.standing(serial) != Standing::Good).await;
    }

    /// Waits until this certificate is removed, whichever it is by then.
    pub(crate) async fn until_contains(&self, serial: impl Fn() -> Option<Serial>) {
        self.until_any(|known| serial().is_some_and(|serial| known.serials.contains(&serial)))
            .await;
    }

    /// Waits until the set is known: before, nobody can say that a certificate is good.
    pub async fn known(&self) {
        self.until_any(|_| true).await;
    }

    async fn until_any(&self, mut wanted: impl FnMut(&Known) -> bool) {
        let is_wanted = |known: &Option<Known>| known.as_ref().is_some_and(&mut wanted);
        // The sender lives as long as this does.
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
        assert_eq!(removed.standing(&one), Standing::Unknowable);
        // It is not removed either: its host goes on.
        assert!(!removed.contains(&one));
        removed.until(&one).await;
        removed.replace(BTreeSet::new());
        assert_eq!(removed.standing(&one), Standing::Good);
    }
}
