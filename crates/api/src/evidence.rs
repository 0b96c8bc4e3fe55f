//! What calls record in the audit trail.

use std::sync::Arc;

use jiff::Timestamp;
use serialproxy_audit::Audit;
use serialproxy_audit::Event;
use serialproxy_audit::EventName;
use serialproxy_proto::audit::Trails;

use crate::Api;
use crate::client::Client;
use crate::fault::Fault;

/// What every event of a call says.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) client: Client,
    pub(crate) request_id: String,
}

tokio::task_local! {
    /// The call that the task serves.
    pub(crate) static ORIGIN: Origin;
}

/// An event of the present call.
pub(crate) fn event(name: EventName) -> Event {
    let event = Event::new(name, Timestamp::now());
    match ORIGIN.try_with(Clone::clone) {
        Ok(Origin { client, request_id }) => {
            Event { request: Some(request_id), ..event.address(client.0.to_string()) }
        }
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
