//! Changes of a server's power, for both our own calls and Nova's.

use std::sync::Arc;

use serialproxy_audit::EventName;
use serialproxy_proto::api::Server;
use serialproxy_proto::compute::Power;

use crate::Api;
use crate::auth::Caller;
use crate::fault::Fault;

impl Api {
    /// Returns when the change is done. The change goes on and is logged even when the caller hangs
    /// up before.
    pub(crate) async fn change_power(
        &self,
        caller: &Caller,
        server: Server,
        power: Power,
    ) -> Result<(), Fault> {
        let (servers, user) = (Arc::clone(&self.servers), caller.user.clone());
        let event = caller.event_at(EventName::GuestPower, &server).cause(power.as_str());
        let audit = self.audit.clone();
        let change = async move {
            let Server { id: server, name, .. } = server;
            match servers.power(server, power.clone()).await {
                Ok(()) => {
                    tracing::info!(user, name, %server, ?power, "power changed");
                    audit.record(event);
                }
                // Logged here, since the caller may have hung up.
                Err(error) => {
                    tracing::warn!(user, name, %server, ?power, %error, "power not changed");
                    return Err(error);
                }
            }
            Ok(())
        };
        self.change(change).await
    }
}
