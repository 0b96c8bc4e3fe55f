//! Password hashes, computed a few at a time on threads of their own: each costs 19 MiB and some
//! tens of milliseconds of a core. A thread keeps its memory for the next hash, because the C
//! library does not reuse freed blocks of such an alignment. Addresses take turns: the queue of one
//! does not delay another.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use argon2::ARGON2ID_IDENT;
use argon2::Algorithm;
use argon2::Argon2;
use argon2::Block;
use argon2::Params;
use argon2::Version;
use argon2::password_hash::Error;
use argon2::password_hash::phc::Output;
use argon2::password_hash::phc::ParamsString;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::phc::Salt;
use serialproxy_limits::Place;
use serialproxy_limits::Places;
use serialproxy_limits::Source;
use serialproxy_limits::seldom;
use serialproxy_proto::identity::Password;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::fault::Fault;

/// Hashes that are computed at a time.
const THREADS: usize = 2;

/// Passwords of one address that may wait for their hash.
const PER_ADDRESS: usize = 64;

/// Passwords of all addresses that may wait for their hash.
const WAITING: usize = 1024;

/// The hash that the password of an unknown user is compared with, so that the response takes as
/// long as for a known one. It costs as much as a real hash, and no known password fits it.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2VyaWFscHJveHktZGVjb3k$\
                     c2VyaWFscHJveHktZGVjb3ktaGFzaC1vZi1uby11c2U";

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(super) struct Passwords {
    places: Places<Source>,
    queue: Arc<Queue>,
}

/// A place among the passwords of an address.
#[derive(Debug)]
pub(super) struct Turn {
    source: Source,
    _place: Place<Source>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    /// Notified of each new job, and at the end.
    more: Condvar,
}

/// The jobs of each address that has any, in the order in which they take turns.
#[derive(Default)]
struct Jobs {
    waiting: VecDeque<(Source, VecDeque<Job>)>,
    /// How many jobs they are together.
    count: usize,
    /// Threads that run. Each is started by a job that finds fewer than [`THREADS`].
    threads: usize,
    /// Whether the threads must end, because [`Passwords`] is gone.
    over: bool,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { places: Places::new(PER_ADDRESS), queue: Arc::default() }
    }
}

impl Passwords {
    /// A place for one password of a client.
    pub(super) fn enter(&self, client: Client) -> Result<Turn, Fault> {
        let source = client.source();
        let place = self.places.enter(source).ok_or_else(|| {
            Fault::TooMany("too many simultaneous logins from your address: try again later".into())
        })?;
        Ok(Turn { source, _place: place })
    }

    /// The hash to store for a new password: argon2id with a random salt, in PHC's string format.
    pub(super) async fn hash(&self, turn: Turn, password: Password) -> Result<String, Fault> {
        let hash = move || {
            let mut hash = PasswordHash {
                algorithm: ARGON2ID_IDENT,
                version: Some(Version::default().into()),
                params: ParamsString::try_from(Params::default())?,
                salt: Some(Salt::generate()),
                hash: None,
            };
            hash.hash = Some(output(&hash, &password)?);
            Ok(hash.to_string())
        };
        self.compute(turn, hash).await?.map_err(|error: Error| {
            Fault::Failed(format!("the password cannot be hashed: {error}"))
        })
    }

    /// Whether a password fits this hash; never without a hash.
    pub(super) async fn is_right(
        &self,
        turn: Turn,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, Fault> {
        self.compute(turn, move || {
            let hash = hash.as_deref().unwrap_or(DECOY);
            let Ok(hash) = PasswordHash::new(hash) else { return false };
            // This comparison takes constant time.
            hash.hash.is_some() && output(&hash, &password).ok() == hash.hash
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, done) = oneshot::channel();
        let source = turn.source;
        let job = move || {
            // Keeps its place until it is done, even if its caller hangs up.
            let _turn = turn;
            if !sender.is_closed() {
                let _ = sender.send(work());
            }
        };
        self.queue.push(source, Box::new(job))?;
        done.await.map_err(|_| Fault::Failed("the hashing of a password was interrupted".into()))
    }
}

thread_local! {
    /// The working memory of the thread's hashes.
    static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// The hash of a password with the salt and the cost of `hash`.
fn output(hash: &PasswordHash, password: &Password) -> Result<Output, Error> {
    let salt = hash.salt.ok_or(Error::SaltInvalid)?;
    let params = Params::try_from(hash)?;
    let mut output = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
    let version = hash.version.map_or_else(|| Ok(Version::default()), Version::try_from)?;
    let blocks = params.block_count();
    let argon2 = Argon2::new(Algorithm::try_from(hash.algorithm.as_str())?, version, params);
    MEMORY.with_borrow_mut(|memory| {
        memory.resize(blocks, Block::new());
        let password = password.expose().as_bytes();
        argon2.hash_password_into_with_memory(password, &salt, &mut output, memory)
    })?;
    Ok(Output::new(&output)?)
}

impl Queue {
    fn push(self: &Arc<Self>, source: Source, job: Job) -> Result<(), Fault> {
        let busy = || Fault::Unavailable("too many simultaneous logins: try again later".into());
        let mut jobs = self.lock();
        if jobs.count >= WAITING {
            return Err(busy());
        }
        if jobs.threads < THREADS {
            let queue = Arc::clone(self);
            let thread = std::thread::Builder::new().name("passwords".into());
            match thread.spawn(move || queue.work()) {
                Ok(_) => jobs.threads += 1,
                Err(error) if jobs.threads == 0 => {
                    if seldom::is_due("password threads") {
                        tracing::error!(%error, "the threads that hash passwords cannot be started");
                    }
                    return Err(busy());
                }
                Err(_) => {}
            }
        }
        jobs.push(source, job);
        self.more.notify_one();
        Ok(())
    }

    fn work(&self) {
        loop {
            // A statement of its own, so that the lock is released before the job runs.
            let job = self.next();
            let Some(job) = job else { return };
            // The caller notices a panic, because the answer's channel closes.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    /// Waits for the next job; none at the end.
    fn next(&self) -> Option<Job> {
        let idle = |jobs: &mut Jobs| jobs.count == 0 && !jobs.over;
        let jobs = self.more.wait_while(self.lock(), idle);
        jobs.unwrap_or_else(PoisonError::into_inner).next()
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Jobs {
    fn push(&mut self, source: Source, job: Job) {
        self.count += 1;
        match self.waiting.iter_mut().find(|(other, _)| *other == source) {
            Some((_, own)) => own.push_back(job),
            None => self.waiting.push_back((source, VecDeque::from([job]))),
        }
    }

    /// The next job of the address whose turn it is.
    fn next(&mut self) -> Option<Job> {
        let (source, mut own) = self.waiting.pop_front()?;
        let job = own.pop_front();
        if !own.is_empty() {
            self.waiting.push_back((source, own));
        }
        self.count -= 1;
        job
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.queue.lock().over = true;
        self.queue.more.notify_all();
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn password(text: &str) -> Password {
        Password::from_person(text.into())
    }

    fn client(number: u8) -> Client {
        Client([192, 0, 2, number].into())
    }

    async fn is_right(passwords: &Passwords, text: &str, hash: Option<String>) -> bool {
        let turn = passwords.enter(client(1)).unwrap();
        passwords.is_right(turn, password(text), hash).await.unwrap()
    }

    async fn hash(passwords: &Passwords, text: &str) -> String {
        passwords.hash(passwords.enter(client(1)).unwrap(), password(text)).await.unwrap()
    }

    /// Keeps both threads busy until it is dropped.
    async fn busy(passwords: &Passwords) -> mpsc::Sender<()> {
        let (finish, finished) = mpsc::channel::<()>();
        let finished = Arc::new(Mutex::new(finished));
        for _ in 0..THREADS {
            let finished = Arc::clone(&finished);
            let turn = passwords.enter(client(0)).unwrap();
            let (begun, begins) = oneshot::channel();
            let job = move || {
                let _turn = turn;
                begun.send(()).unwrap();
                let _ = finished.lock().unwrap_or_else(PoisonError::into_inner).recv();
            };
            passwords.queue.push(client(0).source(), Box::new(job)).unwrap();
            begins.await.unwrap();
        }
        finish
    }

    #[tokio::test]
    async fn a_hash_is_good_for_its_password_alone_and_salted() {
        let passwords = Passwords::default();
        let kept = hash(&passwords, "correct horse").await;
        assert_ne!(kept, hash(&passwords, "correct horse").await);
        for (text, right) in [("correct horse", true), ("Correct horse", false), ("", false)] {
            assert_eq!(is_right(&passwords, text, Some(kept.clone())).await, right, "{text}");
        }
    }

    #[tokio::test]
    async fn the_decoy_costs_what_a_real_hash_does_and_fits_nothing() {
        let passwords = Passwords::default();
        let kept = hash(&passwords, "x").await;
        let cost = |hash: &str| hash.rsplitn(3, '$').nth(2).unwrap().to_owned();
        assert_eq!(cost(&kept), cost(DECOY));
        let length = |hash: &str| PasswordHash::new(hash).unwrap().hash.unwrap().len();
        assert_eq!(length(&kept), length(DECOY));
        assert!(!is_right(&passwords, "x", None).await);
    }

    #[tokio::test]
    async fn an_address_that_fills_its_queue_makes_no_other_one_wait() {
        let passwords = Passwords::default();
        let finish = busy(&passwords).await;
        let (told, order) = mpsc::channel();
        let push = |number: u8| {
            let (turn, told) = (passwords.enter(client(number)).unwrap(), told.clone());
            let job = move || {
                let _turn = turn;
                told.send(number).unwrap();
            };
            passwords.queue.push(client(number).source(), Box::new(job)).unwrap();
        };
        for _ in 0..PER_ADDRESS {
            push(1);
        }
        let refused = passwords.enter(client(1)).unwrap_err();
        assert!(matches!(refused, Fault::TooMany(_)), "{refused}");
        push(2);
        drop((finish, told));
        let order: Vec<_> = order.iter().collect();
        let place = order.iter().position(|number| *number == 2).unwrap();
        // The two threads may report their jobs in any order.
        assert!(order.len() == PER_ADDRESS + 1 && place <= THREADS, "{order:?}");
    }

    #[tokio::test]
    async fn a_password_whose_caller_hung_up_keeps_its_place_and_is_not_hashed() {
        let passwords = Passwords::default();
        let finish = busy(&passwords).await;
        let hashed = Arc::new(AtomicBool::new(false));
        for _ in 1..PER_ADDRESS {
            let (turn, hashed) = (passwords.enter(client(1)).unwrap(), Arc::clone(&hashed));
            let hung_up = passwords.compute(turn, move || hashed.store(true, Ordering::SeqCst));
            assert!(tokio::time::timeout(Duration::ZERO, hung_up).await.is_err());
        }
        let last = passwords.enter(client(1)).unwrap();
        assert!(passwords.enter(client(1)).is_err());
        drop(finish);
        passwords.compute(last, || ()).await.unwrap();
        assert!(!hashed.load(Ordering::SeqCst));
    }
}
