//! Passwords, hashed a few at a time: each costs 19 MiB and some tens of milliseconds of a core.

use std::sync::Arc;

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
    computing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        let room = |places| Arc::new(Semaphore::new(places));
        Self { computing: room(AT_ONCE), waiting: room(WAITING) }
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
        let waits = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| busy())?;
        let computes = Arc::clone(&self.computing).acquire_owned().await.map_err(|_| busy())?;
        let work = move || {
            // Goes on when its caller hangs up, and keeps its place until it is done.
            let _places = (waits, computes);
            work()
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| Fault::Failed("the hash of a password was cut off".into()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    #[tokio::test]
    async fn a_hash_whose_caller_hung_up_keeps_its_place_until_it_is_done() {
        let passwords = Passwords::default();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let hung_up = passwords.compute(move || finished.recv().is_err());
        assert!(tokio::time::timeout(Duration::ZERO, hung_up).await.is_err());
        assert_eq!(passwords.computing.available_permits(), AT_ONCE - 1);
        assert_eq!(passwords.waiting.available_permits(), WAITING - 1);
        drop(finish);
        let all = u32::try_from(AT_ONCE).unwrap();
        drop(passwords.computing.acquire_many(all).await.unwrap());
    }
}
