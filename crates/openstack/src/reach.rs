//! Whether Keystone and Nova respond, as the calls that are made show.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serialproxy_proto::health::Health;
use serialproxy_proto::health::ReasonName;
use tokio::task::AbortHandle;

use crate::unavailable::Service;
use crate::unavailable::Unavailable;

/// How long a failure counts if nothing is asked after it.
const COUNTS: Duration = Duration::from_secs(60);

/// Notes at `/healthz` that a service does not respond.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    health: Health,
    /// What forgets the last failure of each service.
    forgets: [Mutex<Option<AbortHandle>>; 2],
}

impl Reach {
    /// Notes it there.
    pub(crate) fn at(health: Health) -> Self {
        Self { health, forgets: Default::default() }
    }

    /// Notes that a service responded, or how it failed to.
    pub(crate) fn note(&self, service: Service, failure: Option<&Unavailable>) {
        let [keystone, nova] = &self.forgets;
        let (name, forgets) = match service {
            Service::Keystone => (ReasonName::Keystone, keystone),
            Service::Nova => (ReasonName::Nova, nova),
        };
        let forget = failure.map(|_| {
            let health = self.health.clone();
            let forget = async move {
                tokio::time::sleep(COUNTS).await;
                health.set(name, None);
            };
            tokio::spawn(forget).abort_handle()
        });
        // The newest call counts: its failure is not forgotten with an earlier one.
        let mut forgets = forgets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *forgets, forget) {
            before.abort();
        }
        self.health.set(name, failure.map(|failure| failure.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_counts_until_the_service_responds_or_nothing_was_asked_for_a_minute() {
        let health = Health::default();
        let reach = Reach::at(health.clone());
        let failure = Service::Nova.failed("did not respond within 10 s");
        reach.note(Service::Nova, Some(&failure));
        reach.note(Service::Keystone, None);
        let reasons = health.reasons();
        assert_eq!(reasons.len(), 1);
        assert_eq!(reasons[0].name, ReasonName::Nova);
        assert_eq!(reasons[0].text, "Nova did not respond within 10 s");
        reach.note(Service::Nova, None);
        assert!(health.reasons().is_empty());

        reach.note(Service::Nova, Some(&failure));
        tokio::time::sleep(COUNTS / 2).await;
        reach.note(Service::Nova, Some(&failure));
        tokio::time::sleep(COUNTS * 3 / 4).await;
        assert_eq!(health.reasons().len(), 1, "the newest failure counts");
        tokio::time::sleep(COUNTS / 2).await;
        assert!(health.reasons().is_empty());
    }
}
