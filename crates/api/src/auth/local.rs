//! Callers that are known here: the admin token, and the API tokens of the store.

use std::sync::Arc;

use axum::http::HeaderMap;
use jiff::Timestamp;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::token::TokenDigest;
use serialproxy_store::Store;
use subtle::ConstantTimeEq;

use super::Caller;
use super::token;
use crate::fault::Fault;
use crate::tokens::blocking;

/// Who is known here.
#[derive(Debug)]
pub struct Local {
    admin: TokenDigest,
    store: Arc<Store>,
}

impl Local {
    /// Knows the admin token, and the tokens of a store.
    pub fn new(admin: TokenDigest, store: Arc<Store>) -> Self {
        Self { admin, store }
    }

    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Fault> {
        let token = token(headers).ok_or(Fault::Unauthorized)?;
        let digest = TokenDigest::of(token);
        if bool::from(digest.0.ct_eq(&self.admin.0)) {
            return Ok(Caller::admin("admin".into()));
        }
        self.known(digest).await?.map(Caller::from).ok_or(Fault::Unauthorized)
    }

    async fn known(&self, digest: TokenDigest) -> Result<Option<Identity>, Fault> {
        let now = Timestamp::now();
        let found = blocking(&self.store, move |store| store.api_token(digest, now)).await?;
        found.map(|token| token.map(|token| token.identity)).map_err(|error| {
            Fault::Unavailable(format!("who you are cannot be looked up now: {error}"))
        })
    }
}
