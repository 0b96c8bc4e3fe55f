//! What calls record in the audit trail.

use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_audit::Audit;
use serialproxy_audit::Event;
use serialproxy_audit::EventName;
use serialproxy_proto::audit::Trails;
use serialproxy_proto::request_id::RequestId;

use crate::Api;
use crate::client::Client;
use crate::fault::Fault;

tokio::task_local! {
    /// Who sent the call that the task serves.
    pub(crate) static SENDER: Client;
}

/// An event of the present call.
pub(crate) fn event(name: EventName) -> Event {
    let request = RequestId::current().map(|id| id.to_string());
    let event = Event { request, ..Event::new(name, Timestamp::now()) };
    match SENDER.try_with(|client| client.0) {
        Ok(address) => event.address(address.to_string()),
        Err(_) => event,
    }
}

impl Api {
    /// Records what calls do.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// Shows what other hosts record beside that.
    #[must_use]
    pub fn with_trails(self, trails: Arc<dyn Trails>) -> Self {
        Self { trails: Some(trails), ..self }
    }

    /// Refuses what has to be recorded while that is not possible.
    pub(crate) fn require_audit(&self) -> Result<(), Fault> {
        if self.audit.admits() {
            return Ok(());
        }
        Err(Fault::Unavailable(
            "the audit trail cannot be written now, and [audit] required is set: try again later"
                .into(),
        ))
    }
}
