//! Passwords that were right lately: a client that sends one with each call does not pay for a hash
//! each time.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Password;
use serialproxy_proto::token::TokenDigest;
use tokio::time::Instant;

use crate::secret;

/// How long a password is remembered.
const SPAN: Duration = Duration::from_secs(60);

/// How many passwords are remembered.
const MOST: usize = 10_000;

pub(super) struct Recent {
    key: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Changes of users so far.
    changes: u64,
    users: HashMap<TokenDigest, (Instant, Identity)>,
}

/// The state of the users at the time of a failed search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before(u64);

impl Recent {
    /// Makes an empty memory, with a random key.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { key: secret::random()?, known: Mutex::default() })
    }

    /// The user whose name and password these are, if they were right lately.
    pub(super) fn find(&self, user: &str, password: &Password) -> Result<Identity, Before> {
        let known = self.lock();
        match known.users.get(&self.digest(user, password)) {
            Some((since, identity)) if since.elapsed() < SPAN => Ok(identity.clone()),
            _ => Err(Before(known.changes)),
        }
    }

    /// Remembers a right password, unless users have changed since `before`.
    pub(super) fn keep(&self, before: Before, user: &str, password: &Password, whose: &Identity) {
        let mut known = self.lock();
        if known.changes != before.0 {
            return;
        }
        if known.users.len() >= MOST {
            known.users.retain(|_, (since, _)| since.elapsed() < SPAN);
        }
        if known.users.len() < MOST {
            known.users.insert(self.digest(user, password), (Instant::now(), whose.clone()));
        }
    }

    /// Forgets all passwords, because a user has changed.
    pub(super) fn forget(&self) {
        let mut known = self.lock();
        known.changes += 1;
        known.users.clear();
    }

    /// The digest includes a key that no other process has, so it reveals nothing about the
    /// password.
    fn digest(&self, user: &str, password: &Password) -> TokenDigest {
        TokenDigest::of(&format!("{}\0{user}\0{}", self.key, password.expose()))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::identity::Role;

    use super::*;

    fn alice() -> Identity {
        Identity {
            user: "alice".into(),
            user_id: "1".into(),
            project: "demo".into(),
            role: Role::Member,
        }
    }

    fn password(text: &str) -> Password {
        Password::from_person(text.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_is_remembered_for_a_minute_and_no_other_one() {
        let recent = Recent::new().unwrap();
        let before = recent.find("alice", &password("x")).unwrap_err();
        recent.keep(before, "alice", &password("x"), &alice());
        assert_eq!(recent.find("alice", &password("x")).unwrap(), alice());
        assert!(recent.find("alice", &password("y")).is_err());
        assert!(recent.find("bob", &password("x")).is_err());
        tokio::time::advance(SPAN).await;
        assert!(recent.find("alice", &password("x")).is_err());
    }

    #[test]
    fn a_change_of_users_ends_what_is_remembered_and_what_is_about_to_be() {
        let recent = Recent::new().unwrap();
        let before = recent.find("alice", &password("x")).unwrap_err();
        recent.keep(before, "alice", &password("x"), &alice());
        recent.forget();
        assert!(recent.find("alice", &password("x")).is_err());
        recent.keep(before, "alice", &password("x"), &alice());
        assert!(recent.find("alice", &password("x")).is_err());
    }
}
