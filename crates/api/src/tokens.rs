//! Making and ending console tokens, and asking the store for others. The store blocks, so it is asked on a blocking thread.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ConsoleToken;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::Store;
use serialproxy_store::StoreError;
use tokio::time::MissedTickBehavior;

use crate::fault::Fault;

/// How often expired tokens are removed. They are no good before that either.
const PURGE: Duration = Duration::from_secs(60);

/// Makes a token for a grant.
pub(crate) async fn authorize(store: &Arc<Store>, grant: Grant) -> Result<ConsoleToken, Fault> {
    Ok(blocking(store, move |store| store.authorize(&grant)).await??)
}

/// What a token stands for, if it is good.
pub(crate) async fn look_up(store: &Arc<Store>, token: &str) -> Result<Option<Grant>, Fault> {
    let digest = TokenDigest::of(token);
    let found = blocking(store, move |store| store.validate(digest, Timestamp::now())).await?;
    found.map_err(|error| {
        Fault::Unavailable(format!("no console tokens can be looked up now: {error}"))
    })
}

/// Ends the tokens of a server that is gone. They are useless anyway, so a failure is logged only.
pub(crate) async fn revoke(store: &Arc<Store>, server: ServerId) {
    if let Ok(Err(error)) = blocking(store, move |store| store.revoke_tokens_of(server)).await {
        tracing::warn!(%server, %error, "console tokens of a deleted server stay until they expire");
    }
}

/// Removes expired tokens once a minute until `shutdown`.
pub async fn purge_tokens(store: Arc<Store>, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut ticks = tokio::time::interval(PURGE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            _ = ticks.tick() => purge(&store).await,
        }
    }
}

async fn purge(store: &Arc<Store>) {
    match blocking(store, |store| store.purge_expired_tokens(Timestamp::now())).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(count)) => tracing::debug!(count, "removed expired tokens"),
        Ok(Err(error)) => tracing::warn!(%error, "expired tokens could not be removed"),
    }
}

/// Asks the store on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    call: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<Result<T, StoreError>, Fault> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || call(&store))
        .await
        .map_err(|_| Fault::Failed("the store's thread ended early".into()))
}
