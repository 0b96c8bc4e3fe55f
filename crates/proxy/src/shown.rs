//! The tokens of Nova that were used here, each with the state of its server at its first use.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serialproxy_limits::seldom;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::TokenDigest;
use tokio::time::Instant;

/// Maximum number of remembered console tokens of one server. The limit of one server does not affect others.
const TOKENS: usize = 1000;

/// The tokens by server and digest.
#[derive(Debug, Default)]
pub(crate) struct Shown(BTreeMap<ServerId, BTreeMap<[u8; 32], First>>);

/// When a token was first used here, and when its server had last changed at that time.
#[derive(Debug)]
struct First {
    at: Instant,
    updated: Option<String>,
}

impl Shown {
    /// Records the use of a token, and refuses a token whose server has changed since its first use.
    pub(crate) fn note(
        &mut self,
        token: TokenDigest,
        server: ServerId,
        updated: Option<&String>,
    ) -> Result<(), Refusal> {
        let tokens = self.0.entry(server).or_default();
        let full = tokens.len() >= TOKENS;
        match tokens.entry(token.0) {
            Entry::Occupied(first) if first.get().updated.as_ref() == updated => Ok(()),
            Entry::Occupied(_) => {
                if seldom::is_due("changed") {
                    tracing::warn!(%server, "the server changed after the token was issued");
                }
                Err(Refusal::Token)
            }
            Entry::Vacant(_) if full => {
                let reason = format!(
                    "{TOKENS} console URLs of this server are in use: try again \
                         later"
                );
                Err(Refusal::TooMany(reason))
            }
            Entry::Vacant(place) => {
                place.insert(First { at: Instant::now(), updated: updated.cloned() });
                Ok(())
            }
        }
    }

    /// Forgets tokens whose first use is longer ago than `age`.
    pub(crate) fn forget(&mut self, age: Duration) {
        self.0.retain(|_, tokens| {
            tokens.retain(|_, first| first.at.elapsed() < age);
            !tokens.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tokens_of_one_server_lock_nobody_out_of_another() {
        let mut shown = Shown::default();
        let [one, other] = ["one", "other"].map(ServerId::of_static);
        let token = |number: usize| TokenDigest::of(&number.to_string());
        for number in 0..TOKENS {
            shown.note(token(number), one, None).unwrap();
        }
        assert!(matches!(shown.note(token(TOKENS), one, None), Err(Refusal::TooMany(_))));
        assert_eq!(shown.note(token(0), one, None), Ok(()), "it is known");
        assert_eq!(shown.note(token(0), one, Some(&"later".into())), Err(Refusal::Token));
        assert_eq!(shown.note(token(TOKENS), other, None), Ok(()));
        shown.forget(Duration::from_secs(3600));
        assert_eq!(shown.0.len(), 2);
        shown.forget(Duration::ZERO);
        assert!(shown.0.is_empty());
    }
}
