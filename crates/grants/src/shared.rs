//! The grants that many hosts share, in etcd.
//!
//! | key | what |
//! | --- | --- |
//! | `grants/SHA256` | a console token's grant |
//! | `granted/SERVER/SHA256` | that this token is for that server |
//! | `links/SERVER/PORT/ID` | the shared link of that id: its grant, and its token's digest |
//! | `spent/SHA256` | that this single-use token was used; the one key that hosts without the API write |
//! | `apitokens/SHA256` | an API token's user |
//! | `tokennames/NAME` | the API token of that name |
//! | `logins/USER_ID/SHA256` | that this login is good: with a password, all of them go at once |
//! | `users/NAME` | a user |
//! | `userids/ID` | the name of the user of that id |
//!
//! Keys that expire have a lease, which ends a minute or two later. All keys that expire in the
//! same minute share it.

mod api_tokens;
mod leases;
mod tokens;
mod users;

use std::sync::Arc;

use serialproxy_etcd::Etcd;
use serialproxy_etcd::Transaction;
use serialproxy_proto::token::TokenDigest;

use crate::GrantsError;
use crate::shared::leases::Leases;

/// How many changes a transaction may have, with two keys each: etcd allows 128 keys.
const BATCH: usize = 60;

/// How many keys a list may have.
const LISTED: usize = 100_000;

/// The keys in etcd.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    etcd: Etcd,
    leases: Arc<Leases>,
}

impl Shared {
    pub(crate) fn new(etcd: Etcd) -> Self {
        let leases = Arc::new(Leases::new(etcd.clone()));
        Self { etcd, leases }
    }

    /// Removes many keys, each together with its partner key.
    async fn delete_pairs(&self, pairs: &[(String, String)]) -> Result<(), GrantsError> {
        for some in pairs.chunks(BATCH) {
            let delete =
                |all: Transaction, (one, other): &(String, String)| all.delete(one).delete(other);
            some.iter().fold(self.etcd.transaction(), delete).commit().await?;
        }
        Ok(())
    }
}

/// A digest as keys contain it.
fn hex(digest: TokenDigest) -> String {
    digest.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
        text
    })
}
