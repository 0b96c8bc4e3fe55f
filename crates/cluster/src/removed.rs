//! Certificates that are not valid any more, though their time is not over.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::peer::Serial;

/// The serial numbers of the certificates of removed hosts. All clones are the same set.
#[derive(Clone, Debug)]
pub struct Removed(Arc<watch::Sender<Option<BTreeSet<Serial>>>>);

impl Default for Removed {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Removed {
    /// Whether this certificate was removed.
    pub fn contains(&self, serial: &Serial) -> bool {
        self.0.borrow().as_ref().is_some_and(|serials| serials.contains(serial))
    }

    /// From now on, these are removed, and no others.
    pub fn replace(&self, serials: BTreeSet<Serial>) {
        self.0.send_replace(Some(serials));
    }

    /// Waits until this certificate is removed: connections with it end then.
    pub async fn until(&self, serial: &Serial) {
        self.until_any(|serials| serials.contains(serial)).await;
    }

    /// Waits until the set is known: before, nobody can say that a certificate is good.
    pub async fn known(&self) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until the set is as asked for.
    pub(crate) async fn until_any(&self, mut wanted: impl FnMut(&BTreeSet<Serial>) -> bool) {
        let is_wanted = |serials: &Option<_>| serials.as_ref().is_some_and(&mut wanted);
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
}
