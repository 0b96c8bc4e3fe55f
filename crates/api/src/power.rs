//! Changes of a server's power, for our own calls and for Nova's.

use std::sync::Arc;

use serialproxy_proto::api::Server;
use serialproxy_proto::compute::Power;

use crate::Api;
use crate::auth::Caller;
use crate::fault::Fault;

impl Api {
    /// Done when it is, and recorded: even when the caller hangs up before that.
    pub(crate) async fn change_power(
        &self,
        caller: &Caller,
        server: Server,
        power: Power,
    ) -> Result<(), Fault> {
        let (servers, user) = (Arc::clone(&self.servers), caller.user.clone());
        let change = async move {
            let Server { id: server, name, .. } = server;
            match servers.power(server, power.clone()).await {
                Ok(()) => tracing::info!(user, name, %server, ?power, "power changed"),
                // The caller may be gone.
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
