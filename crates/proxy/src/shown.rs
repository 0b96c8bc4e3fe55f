//! The tokens of a Nova that were shown here, each with its server as it was then.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serialproxy_limits::seldom;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::token::TokenDigest;
use tokio::time::Instant;

/// Maximum number of remembered console tokens of one server: further ones lock nobody out of
/// another server.
const TOKENS: usize = 1000;

/// The tokens by server and digest.
#[derive(Debug, Default)]
pub(crate) struct Shown(BTreeMap<ServerId, BTreeMap<[u8; 32], First>>);

/// When a token was first shown here, and when its server had last changed then.
#[derive(Debug)]
struct First {
    at: Instant,
    updated: Option<String>,
}

impl Shown {
    /// Notes a token, and refuses one whose server has changed since it was first shown.
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

    /// Forgets what was first shown so long ago.
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
