//! Detects threads that hang. Such a thread does no work and handles no signal, so only another
//! process could end it. Each thread that runs tasks increments a counter. If a counter stops, the
//! thread is logged and reported by `/healthz`, and after some time the process aborts, so that its
//! supervisor restarts it. While all threads respond, the service manager is told so.

use std::convert::Infallible;
use std::fmt::Write;
use std::fs::DirEntry;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serialproxy_proto::health::Health;
use serialproxy_proto::health::ReasonName;
use serialproxy_proto::work;
use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

use crate::logging;
use crate::notify;

/// How often a thread shows that it responds.
const ROUND: Duration = Duration::from_secs(1);

/// How often the watchdog checks.
const LOOK: Duration = Duration::from_millis(500);

/// How much of the time between two checks counts at most. If more has passed, the watchdog itself
/// did not run, so the whole process may have been stopped (SIGSTOP, a suspended machine).
const COUNTED: Duration = Duration::from_secs(1);

/// After this time without a response, a thread counts as hanging.
const HANGS: Duration = Duration::from_secs(5);

/// After this time, the process aborts.
const ABORTS: Duration = Duration::from_secs(30);

/// How long logging the reason may take, since the log's reader may have stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Name of the process's first thread, which no runtime names.
const MAIN: &str = "main";

/// Most threads of a pool that are described.
const DESCRIBED: usize = 4;

/// Watches the threads of the process, as long as it lives. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watchdog {
    threads: Arc<Mutex<Vec<Thread>>>,
    health: Health,
    /// The watchdog's thread ends when the last clone is dropped.
    _alive: SyncSender<Infallible>,
}

#[derive(Debug)]
struct Thread {
    name: String,
    rounds: Arc<AtomicU64>,
    judge: Judge,
}

impl Watchdog {
    /// Starts its thread.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (alive, ended) = sync_channel(0);
        let watchdog = Self { threads: Arc::default(), health: Health::default(), _alive: alive };
        let (threads, health) = (Arc::clone(&watchdog.threads), watchdog.health.clone());
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watch(&threads, &health, &ended))?;
        Ok(watchdog)
    }

    /// The hanging threads, if any.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// From now on, the threads of this runtime, which have this name, must respond.
    pub(crate) fn watch(&self, name: &str, runtime: &Handle) {
        runtime.spawn(come_round(self.rounds(name)));
    }

    /// The outcome of this future. Meanwhile the main thread, which waits for it, must respond.
    pub(crate) async fn watch_main<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = future => done,
            never = come_round(self.rounds(MAIN)) => match never {},
        }
    }

    fn rounds(&self, name: &str) -> Arc<AtomicU64> {
        let rounds = Arc::default();
        let thread =
            Thread { name: name.into(), rounds: Arc::clone(&rounds), judge: Judge::default() };
        lock(&self.threads).push(thread);
        rounds
    }
}

async fn come_round(rounds: Arc<AtomicU64>) -> Infallible {
    let mut clock = tokio::time::interval(ROUND);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// A change in the state of a thread.
#[derive(Debug, Eq, PartialEq)]
enum News {
    Hangs,
    CameBack,
    Lost,
}

/// Judges a thread by its counter.
#[derive(Debug, Default)]
struct Judge {
    rounds: u64,
    still: Duration,
}

impl Judge {
    /// Checks the thread: its counter is `rounds`, and `passed` is the time since the last check.
    fn look(&mut self, passed: Duration, rounds: u64) -> Option<News> {
        let hung = self.hangs();
        if rounds != self.rounds {
            *self = Self { rounds, still: Duration::ZERO };
            return hung.then_some(News::CameBack);
        }
        self.still += passed.min(COUNTED);
        match self.still {
            still if still >= ABORTS => Some(News::Lost),
            still if still >= HANGS && !hung => Some(News::Hangs),
            _ => None,
        }
    }

    fn hangs(&self) -> bool {
        self.still >= HANGS
    }
}

fn watch(threads: &Mutex<Vec<Thread>>, health: &Health, ended: &Receiver<Infallible>) {
    let mut looked = Instant::now();
    let (every, mut told) = (notify::watchdog(), None::<Instant>);
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let passed = looked.elapsed();
        looked = Instant::now();
        for Thread { name, rounds, judge } in lock(threads).iter_mut() {
            let news = judge.look(passed, rounds.load(Ordering::Relaxed));
            let text = format!("the thread {name} has not responded for {} s", HANGS.as_secs());
            match news {
                None => {}
                Some(News::Hangs) => {
                    health.fails(ReasonName::Thread, &text);
                    log(format!("{text}: {}", describe(name)));
                }
                Some(News::CameBack) => {
                    health.recovers(ReasonName::Thread, &text);
                    log(format!("the thread {name} responds again"));
                }
                Some(News::Lost) => {
                    let seconds = ABORTS.as_secs();
                    log(format!(
                        "the thread {name} has been hanging for {seconds} s: {}",
                        describe(name)
                    ));
                    std::process::abort();
                }
            }
        }
        let is_due = |every| told.is_none_or(|told| told.elapsed() >= every);
        if every.is_some_and(is_due) && !lock(threads).iter().any(|thread| thread.judge.hangs()) {
            notify::alive();
            told = Some(Instant::now());
        }
    }
}

/// Logs on a thread of its own, and waits for a limited time until the line is written: the hanging
/// thread may have been stopped while it logged.
fn log(text: String) {
    let (done, logged) = sync_channel(1);
    let _ = thread::Builder::new().name("watchdog-log".into()).spawn(move || {
        tracing::error!("{text}");
        logging::flush();
        done.send(())
    });
    let _ = logged.recv_timeout(LAST_WORDS);
}

/// The state of the threads with this name: their last recorded work, and what the kernel reports.
fn describe(name: &str) -> String {
    let last = work::last_of(name).map(|work| format!("last worked on {work}; "));
    let mut text = last.unwrap_or_default();
    let tasks = Path::new("/proc/self/task").read_dir().into_iter().flatten().flatten();
    let main = std::process::id().to_string();
    let is_it = |task: &DirEntry| match name {
        MAIN => task.file_name() == *main,
        name => read(&task.path(), "comm") == name,
    };
    for task in tasks.filter(is_it).take(DESCRIBED) {
        let path = task.path();
        let stat = read(&path, "stat");
        // After the name, which may contain any character (proc(5)).
        let mut stat = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let (state, cpu) = (stat.next().unwrap_or_default(), stat.nth(10).unwrap_or_default());
        let (syscall, at) = (read(&path, "syscall"), read(&path, "wchan"));
        let syscall = syscall.split(' ').next().unwrap_or_default();
        let id = task.file_name();
        let _ = write!(
            text,
            "[thread {}: state {state}, user CPU {cpu} ticks, system call {syscall}, waits in {at}]",
            id.display()
        );
    }
    text
}

fn read(task: &Path, file: &str) -> String {
    std::fs::read_to_string(task.join(file)).unwrap_or_default().trim_end().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes in this many checks of a thread that does not respond.
    fn looks(judge: &mut Judge, count: usize) -> Vec<News> {
        (0..count).filter_map(|_| judge.look(LOOK, 7)).collect()
    }

    #[test]
    fn a_thread_that_comes_round_is_no_news() {
        let mut judge = Judge::default();
        assert!((0..1000).all(|look| judge.look(LOOK, look / 4).is_none()));
    }

    #[test]
    fn a_thread_that_hangs_is_told_once_after_5_s_and_lost_after_30_s() {
        let mut judge = Judge { rounds: 7, ..Judge::default() };
        assert_eq!(looks(&mut judge, 9), []);
        assert_eq!(looks(&mut judge, 1), [News::Hangs]);
        assert_eq!(looks(&mut judge, 49), []);
        assert_eq!(looks(&mut judge, 1), [News::Lost]);
    }

    #[test]
    fn a_thread_that_comes_back_is_told_and_may_hang_again() {
        let mut judge = Judge { rounds: 7, ..Judge::default() };
        looks(&mut judge, 59);
        assert_eq!(judge.look(LOOK, 8), Some(News::CameBack));
        assert_eq!(judge.look(LOOK, 9), None);
        judge.rounds = 7;
        assert_eq!(looks(&mut judge, 10), [News::Hangs]);
    }

    #[test]
    fn time_in_which_the_watchdog_itself_did_not_run_does_not_count() {
        let mut judge = Judge { rounds: 7, ..Judge::default() };
        assert_eq!(judge.look(Duration::from_secs(3600), 7), None);
        assert_eq!(looks(&mut judge, 7), []);
        assert_eq!(looks(&mut judge, 1), [News::Hangs]);
    }

    #[test]
    fn a_thread_is_described_by_what_the_kernel_knows_of_it() {
        let named = thread::Builder::new().name("described".into());
        let text = named.spawn(|| describe("described")).unwrap().join().unwrap();
        assert!(text.contains("state R"), "{text}");
    }
}
