//! Lookup and removal of console tokens.

use std::time::Duration;

use jiff::Timestamp;
use serialproxy_grants::Grants;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::TokenDigest;
use tokio::time::MissedTickBehavior;

use crate::fault::Fault;

/// How often expired tokens are removed. They are already invalid before.
const PURGE: Duration = Duration::from_secs(60);

/// The grant of a token, if the token is valid.
pub(crate) async fn look_up(grants: &Grants, token: &str) -> Result<Option<Grant>, Fault> {
    grants.validate(TokenDigest::of(token), Timestamp::now()).await.map_err(|error| {
        Fault::Unavailable(format!("console tokens cannot be looked up now: {error}"))
    })
}

/// Removes the tokens of a deleted server. They are useless anyway, so a failure is only logged.
pub(crate) async fn revoke(grants: &Grants, server: ServerId) {
    if let Err(error) = grants.revoke_tokens_of(server).await {
        tracing::warn!(%server, %error, "console tokens of a deleted server stay until they expire");
    }
}

/// Removes expired tokens once a minute until `shutdown`.
pub async fn purge_tokens(grants: Grants, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut ticks = tokio::time::interval(PURGE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            _ = ticks.tick() => purge(&grants).await,
        }
    }
}

async fn purge(grants: &Grants) {
    match grants.purge_expired_tokens(Timestamp::now()).await {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, "removed expired tokens"),
        Err(error) => tracing::warn!(%error, "expired tokens could not be removed"),
    }
}
