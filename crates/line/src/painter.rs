//! Painting screens: on threads of their own, and each screen once for all who wait for it.
//!
//! A guest decides how much work its screen is, up to the bound of [`serialproxy_screen::paint`], and clients how
//! often it is wanted. So look-ups of tokens and names never wait behind paintings, a line is painted by
//! one thread at a time, and who attaches meanwhile begins where that painting ends.

use std::collections::VecDeque;
use std::panic;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use serialproxy_proto::console::Size;
use serialproxy_screen::paint;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lock;

/// Lines that wait to be painted, at most. Who asks when there are so many begins without a screen.
const QUEUE: usize = 256;

/// How long a session waits for its screen. After that it begins without.
const WAIT: Duration = Duration::from_secs(2);

/// Paintings that are kept for the next who asks, of all lines together: 16 MiB at most.
const KEPT: usize = 16;

/// A painted screen.
#[derive(Debug)]
pub(crate) struct Painting {
    /// Offset of the first byte that it does not show.
    pub(crate) end: u64,
    /// The grid on which it was painted.
    size: Option<Size>,
    /// What paints it; nothing where nothing was kept.
    pub(crate) bytes: Bytes,
}

/// What a screen is painted from.
#[derive(Debug)]
pub(crate) struct Sight {
    /// The newest output.
    pub(crate) recent: Vec<u8>,
    /// Where in it the guest booted last.
    pub(crate) boot: Option<usize>,
    /// Offset of the byte behind it.
    pub(crate) end: u64,
    /// The grid.
    pub(crate) size: Option<Size>,
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads that paint. They end when all clones are gone.
#[derive(Clone, Debug)]
pub(crate) struct Painters {
    queue: SyncSender<Job>,
    kept: Arc<Mutex<VecDeque<Arc<Painting>>>>,
}

impl Painters {
    /// Starts half as many threads as there are cores, one to four.
    pub(crate) fn start() -> Self {
        let (painters, jobs) = Self::with_room_for(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for number in 0..(cores / 2).clamp(1, 4) {
            let jobs = Arc::clone(&jobs);
            let thread = thread::Builder::new().name(format!("painter-{number}"));
            if let Err(error) = thread.spawn(move || work(&jobs)) {
                tracing::error!(%error, "no thread to paint screens");
            }
        }
        painters
    }

    fn with_room_for(jobs: usize) -> (Self, Receiver<Job>) {
        let (queue, receiver) = mpsc::sync_channel(jobs);
        (Self { queue, kept: Arc::default() }, receiver)
    }

    fn keep(&self, painting: Arc<Painting>) {
        let mut kept = lock(&self.kept);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(painting);
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = lock(jobs).recv();
        let Ok(job) = job else { return };
        job();
    }
}

/// A line's screen, as it was painted last and as it is being painted.
#[derive(Debug, Default)]
pub(crate) struct Paintings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Weak<Painting>,
    next: Option<Next>,
}

/// A painting that waits or is being made.
#[derive(Debug)]
struct Next {
    /// Where it ends, once the output is taken from which it is made.
    end: Option<u64>,
    done: watch::Sender<Option<Arc<Painting>>>,
}

impl Paintings {
    /// Asks for the screen at `end`, where the output ends now, on a grid. Returns where the session
    /// begins, and its screen unless too many wait. The screen may end behind where the session began.
    ///
    /// It is called with the history locked. `look` takes what to paint from, when a thread is free, and
    /// calls [`Self::begin`] with the history locked.
    pub(crate) fn ask(
        self: &Arc<Self>,
        end: u64,
        size: Option<Size>,
        painters: &Painters,
        look: impl FnOnce() -> Sight + Send + 'static,
    ) -> (u64, Option<Awaited>) {
        let mut state = lock(&self.0);
        let last = state.last.upgrade();
        if let Some(last) = last.filter(|last| last.end == end && last.size == size) {
            let (_, done) = watch::channel(Some(last));
            return (end, Some(Awaited::from(done)));
        }
        if let Some(next) = &state.next {
            return (next.end.unwrap_or(end), Some(Awaited::from(next.done.subscribe())));
        }
        let job = {
            let (paintings, painters) = (Arc::clone(self), painters.clone());
            Box::new(move || paintings.paint(&painters, look))
        };
        if painters.queue.try_send(job).is_err() {
            return (end, None);
        }
        let (done, awaited) = watch::channel(None);
        state.next = Some(Next { end: None, done });
        (end, Some(Awaited::from(awaited)))
    }

    /// The output up to `end` is taken to be painted: who asks from now on begins there.
    pub(crate) fn begin(&self, end: u64) {
        if let Some(next) = &mut lock(&self.0).next {
            next.end = Some(end);
        }
    }

    fn paint(&self, painters: &Painters, look: impl FnOnce() -> Sight) {
        if !self.is_awaited() {
            return;
        }
        let Sight { recent, boot, end, size } = look();
        let sight = serialproxy_screen::Sight { output: &recent, boot, viewer: None, writer: size };
        // A guest chooses what the model is given.
        let bytes = panic::catch_unwind(|| paint(&sight)).unwrap_or_default();
        let painting = Arc::new(Painting { end, size, bytes: bytes.into() });
        painters.keep(Arc::clone(&painting));
        let mut state = lock(&self.0);
        state.last = Arc::downgrade(&painting);
        if let Some(next) = state.next.take() {
            next.done.send_replace(Some(painting));
        }
    }

    /// Whether somebody still waits for the next painting, which is dropped otherwise.
    fn is_awaited(&self) -> bool {
        let mut state = lock(&self.0);
        state.next.take_if(|next| next.done.receiver_count() == 0);
        state.next.is_some()
    }
}

/// A screen that a session waits for.
#[derive(Debug)]
pub(crate) struct Awaited {
    done: watch::Receiver<Option<Arc<Painting>>>,
    until: Instant,
}

impl From<watch::Receiver<Option<Arc<Painting>>>> for Awaited {
    fn from(done: watch::Receiver<Option<Arc<Painting>>>) -> Self {
        Self { done, until: Instant::now() + WAIT }
    }
}

impl Awaited {
    /// The screen; none where it takes too long, which is no reason to end. Dropping the future loses
    /// nothing.
    pub(crate) async fn painted(&mut self) -> Option<Arc<Painting>> {
        let done = self.done.wait_for(Option::is_some);
        tokio::time::timeout_at(self.until, done).await.ok()?.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(end: u64) -> Sight {
        Sight { recent: b"login: ".to_vec(), boot: None, end, size: None }
    }

    #[tokio::test]
    async fn all_who_ask_meanwhile_and_until_the_next_output_get_one_painting() {
        let (painters, jobs) = Painters::with_room_for(1);
        let screen = Arc::new(Paintings::default());
        let first = screen.ask(7, None, &painters, || sight(9));
        let second = screen.ask(8, None, &painters, || panic!("it is painted already"));
        assert_eq!((first.0, second.0), (7, 8));
        jobs.recv().unwrap()();
        let third = screen.ask(9, None, &painters, || panic!("it was painted"));
        let [first, second, third] = [first, second, third].map(|(_, awaited)| awaited.unwrap());
        let mut paintings = Vec::new();
        for mut awaited in [first, second, third] {
            paintings.push(awaited.painted().await.unwrap());
        }
        assert!(paintings.iter().all(|painting| Arc::ptr_eq(painting, &paintings[0])));
        assert_eq!(paintings[0].end, 9);
        let (_, fourth) = screen.ask(10, None, &painters, || sight(10));
        jobs.recv().unwrap()();
        assert_eq!(fourth.unwrap().painted().await.unwrap().end, 10);
    }

    #[tokio::test]
    async fn who_asks_while_the_screen_is_painted_begins_where_it_ends() {
        let (painters, jobs) = Painters::with_room_for(1);
        let screen = Arc::new(Paintings::default());
        let (later, asked) = mpsc::channel();
        let look = {
            let (screen, painters) = (Arc::clone(&screen), painters.clone());
            move || {
                screen.begin(9);
                later.send(screen.ask(12, None, &painters, || panic!("two at once"))).unwrap();
                sight(9)
            }
        };
        let (_, first) = screen.ask(7, None, &painters, look);
        jobs.recv().unwrap()();
        let (begin, joined) = asked.recv().unwrap();
        assert_eq!(begin, 9);
        assert_eq!(joined.unwrap().painted().await.unwrap().end, 9);
        drop(first);
    }

    #[test]
    fn nothing_is_painted_when_nobody_waits_any_more() {
        let (painters, jobs) = Painters::with_room_for(1);
        let screen = Arc::new(Paintings::default());
        drop(screen.ask(7, None, &painters, || panic!("nobody waits")));
        jobs.recv().unwrap()();
        assert!(screen.ask(7, None, &painters, || sight(7)).1.is_some());
        assert!(jobs.recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_begins_without_a_screen_where_too_many_wait_or_it_takes_too_long() {
        let (painters, _jobs) = Painters::with_room_for(1);
        let (screen, other) = (Arc::new(Paintings::default()), Arc::new(Paintings::default()));
        let (_, awaited) = screen.ask(7, None, &painters, || sight(7));
        assert!(other.ask(7, None, &painters, || sight(7)).1.is_none(), "the queue is full");
        assert!(awaited.unwrap().painted().await.is_none(), "nobody paints");
    }
}
