//! Threads for blocking calls: a few, with a bounded queue and a time limit for each caller.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

/// Most calls that wait for a thread.
const QUEUE: usize = 256;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Threads outside of tokio's, since a call that never returns must not keep the process from
/// ending. They end when the lane is dropped and its calls have returned. Each thread has its own
/// state, which its calls find as the last one left it.
#[derive(Debug)]
pub(super) struct Lane<S> {
    jobs: mpsc::SyncSender<Job<S>>,
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoAnswer {
    /// Too many calls are waiting already.
    Busy,
    /// The call did not return in time. If it has begun, it goes on.
    TimedOut,
    /// The call panicked, or there is no thread.
    Broken,
}

impl<S: Default + 'static> Lane<S> {
    /// Starts the threads.
    pub(super) fn start(name: &str, threads: usize) -> Self {
        let (jobs, queue) = mpsc::sync_channel::<Job<S>>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new().name(name.into());
            if let Err(error) = thread.spawn(move || work(&queue)) {
                tracing::error!(%error, name, "no thread could be started");
            }
        }
        Self { jobs }
    }

    /// Runs `call` on one of the threads. A call whose caller gave up before it began is skipped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        within: Duration,
        call: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (sender, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |state| {
            if !sender.is_closed() {
                // The caller may have given up meanwhile.
                let _ = sender.send(call(state));
            }
        });
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => NoAnswer::Busy,
            mpsc::TrySendError::Disconnected(_) => NoAnswer::Broken,
        })?;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(NoAnswer::Broken),
            Err(_) => Err(NoAnswer::TimedOut),
        }
    }
}

fn work<S: Default>(queue: &Mutex<mpsc::Receiver<Job<S>>>) {
    let mut state = S::default();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The caller notices a panic, because the answer's channel closes.
        if catch_unwind(AssertUnwindSafe(|| job(&mut state))).is_err() {
            state = S::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_call_is_answered() {
        let lane = Lane::<()>::start("test", 1);
        assert_eq!(lane.run(LONG, |()| 6 * 7).await, Ok(42));
    }

    #[tokio::test]
    async fn a_call_that_hangs_is_given_up_and_the_next_thread_takes_over() {
        let lane = Lane::<()>::start("test", 2);
        let (release, held) = mpsc::channel::<()>();
        let hanging = lane.run(Duration::from_millis(10), move |()| held.recv());
        assert_eq!(hanging.await, Err(NoAnswer::TimedOut));
        assert_eq!(lane.run(LONG, |()| 1).await, Ok(1));
        drop(release);
    }

    #[tokio::test]
    async fn a_call_whose_caller_left_does_not_begin() {
        let lane = Lane::<()>::start("test", 1);
        let (release, held) = mpsc::channel::<()>();
        let (hangs, hung) = oneshot::channel();
        let mut hanging = pin!(lane.run(LONG, move |()| {
            hangs.send(()).unwrap();
            held.recv()
        }));
        tokio::select! {
            answer = &mut hanging => panic!("{answer:?}"),
            hangs = hung => hangs.unwrap(),
        }
        let (began, begins) = mpsc::channel();
        let abandoned = lane.run(Duration::from_millis(10), move |()| began.send(()));
        assert_eq!(abandoned.await, Err(NoAnswer::TimedOut));
        drop(release);
        assert_eq!(hanging.await, Ok(Err(mpsc::RecvError)));
        assert_eq!(lane.run(LONG, |()| ()).await, Ok(()));
        assert!(begins.try_recv().is_err());
    }

    #[tokio::test]
    async fn more_calls_than_the_queue_holds_are_refused() {
        let lane = Lane::<()>::start("test", 0);
        assert_eq!(lane.run(LONG, |()| ()).await, Err(NoAnswer::Broken));
        let (jobs, _queue) = mpsc::sync_channel(0);
        assert_eq!(Lane::<()> { jobs }.run(LONG, |()| ()).await, Err(NoAnswer::Busy));
    }

    #[tokio::test]
    async fn a_thread_keeps_its_state_from_call_to_call() {
        let lane = Lane::<u32>::start("test", 1);
        for expected in 1..4 {
            let counted = lane.run(LONG, |count| {
                *count += 1;
                *count
            });
            assert_eq!(counted.await, Ok(expected));
        }
    }

    #[tokio::test]
    async fn a_call_that_panics_does_not_take_its_thread_along() {
        let lane = Lane::<()>::start("test", 1);
        let broken = lane.run(LONG, |()| panic!("in a test")).await;
        assert_eq!(broken, Err::<(), _>(NoAnswer::Broken));
        assert_eq!(lane.run(LONG, |()| 1).await, Ok(1));
    }
}
