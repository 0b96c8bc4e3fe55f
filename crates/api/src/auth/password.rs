//! Passwords, hashed a few at a time: each costs 19 MiB and some tens of milliseconds of a core.

use argon2::Argon2;
use argon2::PasswordHasher;
use argon2::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use serialproxy_proto::identity::Password;
use tokio::sync::Semaphore;

use crate::fault::Fault;

/// Hashes that are computed at once.
const AT_ONCE: usize = 2;

/// Passwords that may wait for that: some seconds of work.
const WAITING: usize = 64;

/// What the password of a user who does not exist is held against, so that it takes as long: of
/// the same cost as a real hash, and of no password that anybody knows.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2VyaWFscHJveHktZGVjb3k$\
                     c2VyaWFscHJveHktZGVjb3ktaGFzaC1vZi1uby11c2U";

#[derive(Debug)]
pub(super) struct Passwords {
    computing: Semaphore,
    waiting: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { computing: Semaphore::new(AT_ONCE), waiting: Semaphore::new(WAITING) }
    }
}

impl Passwords {
    /// What is kept of a new password: argon2id with a random salt, in PHC's form.
    pub(super) async fn hash(&self, password: Password) -> Result<String, Fault> {
        let hash = move || {
            let hash: Result<PasswordHash, _> =
                Argon2::default().hash_password(password.expose().as_bytes());
            hash.map(|hash| hash.to_string())
        };
        self.compute(hash)
            .await?
            .map_err(|error| Fault::Failed(format!("the password cannot be hashed: {error}")))
    }

    /// Whether a password is the one of this hash; never when there is none.
    pub(super) async fn is_right(
        &self,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, Fault> {
        self.compute(move || {
            let hash = hash.as_deref().unwrap_or(DECOY);
            Argon2::default().verify_password(password.expose().as_bytes(), hash).is_ok()
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let busy = || Fault::Unavailable("too many people log in at once: try again".into());
        let _waits = self.waiting.try_acquire().map_err(|_| busy())?;
        let _computes = self.computing.acquire().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| Fault::Failed("the hash of a password was cut off".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::from_person(text.into())
    }

    #[tokio::test]
    async fn a_hash_is_good_for_its_password_alone_and_salted() {
        let passwords = Passwords::default();
        let hash = passwords.hash(password("correct horse")).await.unwrap();
        assert_ne!(hash, passwords.hash(password("correct horse")).await.unwrap());
        for (text, right) in [("correct horse", true), ("Correct horse", false), ("", false)] {
            let found = passwords.is_right(password(text), Some(hash.clone())).await.unwrap();
            assert_eq!(found, right, "{text}");
        }
    }

    #[tokio::test]
    async fn the_decoy_costs_what_a_real_hash_does_and_fits_nothing() {
        let passwords = Passwords::default();
        let hash = passwords.hash(password("x")).await.unwrap();
        let cost = |hash: &str| hash.rsplitn(3, '$').nth(2).unwrap().to_owned();
        assert_eq!(cost(&hash), cost(DECOY));
        let length = |hash: &str| PasswordHash::new(hash).unwrap().hash.unwrap().len();
        assert_eq!(length(&hash), length(DECOY));
        assert!(!passwords.is_right(password("x"), None).await.unwrap());
    }

    #[tokio::test]
    async fn more_than_so_many_are_told_to_come_again() {
        let passwords = Passwords::default();
        let _all = passwords.waiting.try_acquire_many(u32::try_from(WAITING).unwrap()).unwrap();
        let refused = passwords.is_right(password("x"), None).await.unwrap_err();
        assert!(matches!(refused, Fault::Unavailable(_)), "{refused}");
    }
}
