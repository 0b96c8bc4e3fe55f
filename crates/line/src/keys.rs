//! The keys with which a session's client may resume.

use std::collections::VecDeque;

use serialproxy_proto::token::TokenDigest;

/// Most keys: this many attempts to resume in a row may fail before the client reads its `hello`,
/// and the key of each is valid.
const MOST: usize = 8;

/// The newest key that the client is known to have, and the later ones, each of which may have been
/// lost on its way.
#[derive(Debug, Default)]
pub(crate) struct Keys(VecDeque<TokenDigest>);

impl FromIterator<TokenDigest> for Keys {
    fn from_iter<I: IntoIterator<Item = TokenDigest>>(keys: I) -> Self {
        let mut all = Self::default();
        keys.into_iter().for_each(|key| all.add(key));
        all
    }
}

impl Keys {
    pub(crate) fn open(&self, key: TokenDigest) -> bool {
        self.0.contains(&key)
    }

    /// The client sent this key, so those before it are not needed any more.
    pub(crate) fn shown(&mut self, key: TokenDigest) {
        while self.0.front().is_some_and(|first| *first != key) {
            self.0.pop_front();
        }
    }

    /// Adds a key that is sent to the client.
    pub(crate) fn add(&mut self, key: TokenDigest) {
        if self.0.len() == MOST {
            self.0.remove(1);
        }
        if self.0.is_empty() {
            // Most sessions never need a second key.
            self.0.reserve_exact(1);
        }
        self.0.push_back(key);
    }

    /// The client responded to the message with the newest key, so no other is needed. Returns
    /// whether there were others.
    pub(crate) fn confirm(&mut self) -> bool {
        let others = self.0.len().saturating_sub(1);
        self.0.drain(..others);
        others > 0
    }

    /// All keys, the oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = TokenDigest> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> TokenDigest {
        TokenDigest::of(&number.to_string())
    }

    #[test]
    fn what_the_client_had_and_the_newest_that_it_may_have_stay_good() {
        let mut keys = Keys::default();
        (0..100).for_each(|number| keys.add(key(number)));
        let good: Vec<u32> = (0..100).filter(|number| keys.open(key(*number))).collect();
        assert_eq!(good, [0, 93, 94, 95, 96, 97, 98, 99]);
        keys.shown(key(97));
        let good: Vec<u32> = (0..100).filter(|number| keys.open(key(*number))).collect();
        assert_eq!(good, [97, 98, 99]);
        assert!(keys.confirm() && !keys.confirm());
        assert!(keys.open(key(99)) && !keys.open(key(98)));
    }
}
