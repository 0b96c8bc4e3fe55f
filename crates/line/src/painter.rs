//! Painting screens, on separate threads, and each screen once for all sessions that wait for it.
//!
//! A guest determines how much work its screen is, up to the limit of
//! [`serialproxy_screen::paint`], and clients determine how often it is needed. So painting has its
//! own threads, for which lookups of tokens and names never wait. One thread at a time paints a
//! line, once for all clients with the same grid.

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
use serialproxy_proto::console::PaintedBoot;
use serialproxy_proto::console::Size;
use serialproxy_screen::paint;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lock;

/// Maximum number of lines that wait to be painted. Further sessions begin without a screen.
const QUEUE: usize = 256;

/// How long a session waits for its screen. After that it begins without.
const WAIT: Duration = Duration::from_secs(2);

/// Paintings that are kept for further requests, of all lines together: 16 MiB at most.
const KEPT: usize = 16;

/// Maximum number of grids on which a line's screen waits to be painted. Requests for further grids get one of these.
const GRIDS: usize = 8;

/// The grids that a screen is painted for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Grids {
    /// The grid of the session that will show it.
    pub(crate) viewer: Option<Size>,
    /// The grid of the session that writes.
    pub(crate) writer: Option<Size>,
}

/// A painted screen.
#[derive(Debug)]
pub(crate) struct Painting {
    /// The offset of the first byte after the painted output.
    pub(crate) end: u64,
    grids: Grids,
    /// The bytes that paint it; empty where no output was kept.
    pub(crate) bytes: Bytes,
    /// The offset of the first byte of the painted output.
    pub(crate) from: u64,
    /// The last boots in it, and where in its bytes their rows begin.
    pub(crate) boots: Vec<PaintedBoot>,
}

/// The output that a screen is painted from.
#[derive(Debug)]
pub(crate) struct Sight {
    /// The newest output.
    pub(crate) recent: Vec<u8>,
    /// The boots in it, and the positions at which they begin.
    pub(crate) boots: Vec<(u64, usize)>,
    /// The offset of the byte after it.
    pub(crate) end: u64,
    /// Whether a line feed begins a line on the terminals of the line.
    pub(crate) begins_line: bool,
}

/// Takes the output to paint when a thread is free. Calls [`Paintings::begin`] with the history
/// locked.
type Look = Arc<dyn Fn() -> Sight + Send + Sync>;

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
                tracing::error!(%error, "the threads that paint screens cannot be started");
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

/// A line's last painted screen, and the requested ones. One thread at a time paints them.
#[derive(Debug, Default)]
pub(crate) struct Paintings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Weak<Painting>,
    /// The first one is being painted or is next.
    wanted: VecDeque<Wanted>,
}

/// A painting that waits or is being made.
#[derive(Debug)]
struct Wanted {
    grids: Grids,
    /// The offset at its end, known once its output was taken.
    end: Option<u64>,
    done: watch::Sender<Option<Arc<Painting>>>,
}

impl Paintings {
    /// Asks for the screen on some grids, of the output at least up to `end`, the present end.
    /// Returns none where too many requests wait. Called with the history locked.
    pub(crate) fn ask(
        self: &Arc<Self>,
        end: u64,
        grids: Grids,
        painters: &Painters,
        look: impl Fn() -> Sight + Send + Sync + 'static,
    ) -> Option<Awaited> {
        let mut state = lock(&self.0);
        let last = state.last.upgrade();
        if let Some(last) = last.filter(|last| last.end == end && last.grids == grids) {
            let (_, done) = watch::channel(Some(last));
            return Some(Awaited::from(done));
        }
        let is_full = state.wanted.len() >= GRIDS;
        let mut shared =
            state.wanted.iter().rev().filter(|wanted| wanted.end.is_none_or(|at| at >= end));
        if let Some(wanted) = shared.find(|wanted| is_full || wanted.grids == grids) {
            return Some(Awaited::from(wanted.done.subscribe()));
        }
        let is_idle = state.wanted.is_empty();
        if is_idle && !self.queue(painters, Arc::new(look)) {
            return None;
        }
        let (done, awaited) = watch::channel(None);
        state.wanted.push_back(Wanted { grids, end: None, done });
        Some(Awaited::from(awaited))
    }

    /// The output up to `end` was taken to be painted.
    pub(crate) fn begin(&self, end: u64) {
        if let Some(next) = lock(&self.0).wanted.front_mut() {
            next.end = Some(end);
        }
    }

    /// Queues the line for the next free thread. Returns whether there is room in the queue.
    fn queue(self: &Arc<Self>, painters: &Painters, look: Look) -> bool {
        let (paintings, painter) = (Arc::clone(self), painters.clone());
        painters.queue.try_send(Box::new(move || paintings.paint(&painter, look))).is_ok()
    }

    fn paint(self: &Arc<Self>, painters: &Painters, look: Look) {
        let Some(grids) = self.next() else { return };
        let Sight { recent, boots, end, begins_line } = look();
        let (Grids { viewer, writer }, output) = (grids, recent.as_slice());
        let (epochs, places): (Vec<_>, Vec<_>) = boots.into_iter().unzip();
        let boots = places.as_slice();
        let sight = serialproxy_screen::Sight { output, boots, viewer, writer, begins_line };
        // The guest chooses the model's input, which may reveal a fault in it.
        let painted = panic::catch_unwind(|| paint(&sight)).unwrap_or_default();
        let earlier = epochs.len().saturating_sub(painted.boots.len());
        let boots = epochs.into_iter().skip(earlier).zip(painted.boots);
        let boots = boots.map(|(epoch, at)| PaintedBoot { epoch, at: at as u64 }).collect();
        let from = end - recent.len() as u64;
        let bytes = painted.bytes.into();
        let painting = Arc::new(Painting { end, grids, bytes, from, boots });
        painters.keep(Arc::clone(&painting));
        let mut state = lock(&self.0);
        state.last = Arc::downgrade(&painting);
        if let Some(done) = state.wanted.pop_front() {
            done.done.send_replace(Some(painting));
        }
        // Other lines come first. Where the queue is full, the remaining sessions begin without a
        // screen.
        if !state.wanted.is_empty() && !self.queue(painters, look) {
            state.wanted.clear();
        }
    }

    /// The grids of the next painting that a session still waits for; drops the others.
    fn next(&self) -> Option<Grids> {
        let mut state = lock(&self.0);
        state.wanted.retain(|wanted| wanted.done.receiver_count() > 0);
        state.wanted.front().map(|wanted| wanted.grids)
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
    /// The screen; none where painting takes too long, and the session goes on without it. Dropping
    /// the future loses nothing.
    pub(crate) async fn painted(&mut self) -> Option<Arc<Painting>> {
        let done = self.done.wait_for(Option::is_some);
        tokio::time::timeout_at(self.until, done).await.ok()?.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Grids = Grids { viewer: None, writer: None };

    fn sight(end: u64) -> Sight {
        Sight { recent: b"login: ".to_vec(), boots: Vec::new(), end, begins_line: false }
    }

    fn of(rows: u16) -> Grids {
        Grids { viewer: Some(Size { rows, cols: 80 }), ..ANY }
    }

    #[tokio::test]
    async fn all_who_ask_meanwhile_and_until_the_next_output_get_one_painting() {
        let (painters, jobs) = Painters::with_room_for(1);
        let screen = Arc::new(Paintings::default());
        let first = screen.ask(7, ANY, &painters, || sight(9));
        let second = screen.ask(8, ANY, &painters, || panic!("it is painted already"));
        jobs.recv().unwrap()();
        let third = screen.ask(9, ANY, &painters, || panic!("it was painted"));
        let mut paintings = Vec::new();
        for awaited in [first, second, third] {
            paintings.push(awaited.unwrap().painted().await.unwrap());
        }
        assert!(paintings.iter().all(|painting| Arc::ptr_eq(painting, &paintings[0])));
        assert_eq!(paintings[0].end, 9);
        let fourth = screen.ask(10, ANY, &painters, || sight(10));
        jobs.recv().unwrap()();
        assert_eq!(fourth.unwrap().painted().await.unwrap().end, 10);
    }

    #[tokio::test]
    async fn who_asks_later_than_a_painting_began_gets_another() {
        let (painters, jobs) = Painters::with_room_for(1);
        let screen = Arc::new(Paintings::default());
        let (later, asked) = mpsc::channel();
        let look = {
            let (screen, painters) = (Arc::clone(&screen), painters.clone());
            let ends = Mutex::new(vec![12, 9]);
            move || {
                let end = lock(&ends).pop().unwrap();
                screen.begin(end);
                if end == 9 {
                    for end in [9, 12] {
                        later
                            .send(screen.ask(end, ANY, &painters, || panic!("two at once")))
                            .unwrap();
                    }
                }
                sight(end)
            }
        };
        let first = screen.ask(7, ANY, &painters, look);
        jobs.recv().unwrap()();
        jobs.recv().unwrap()();
        let mut ends = Vec::new();
        for awaited in [first, asked.recv().unwrap(), asked.recv().unwrap()] {
            ends.push(awaited.unwrap().painted().await.unwrap().end);
        }
        assert_eq!(ends, [9, 9, 12]);
    }

    #[tokio::test]
    async fn each_grid_gets_its_own_painting_one_after_another_as_long_as_they_are_few() {
        let (painters, jobs) = Painters::with_room_for(1);
        let screen = Arc::new(Paintings::default());
        let mut asked = Vec::new();
        for rows in 1..=20 {
            asked.push(screen.ask(7, of(rows), &painters, || sight(7)).unwrap());
        }
        let mut painted = 0;
        while let Ok(job) = jobs.try_recv() {
            job();
            painted += 1;
        }
        assert_eq!(painted, GRIDS);
        for (mut awaited, rows) in asked.into_iter().zip(1..) {
            let painting = awaited.painted().await.unwrap();
            let most = u16::try_from(GRIDS).unwrap();
            assert_eq!(painting.grids, of(most.min(rows)));
        }
    }

    #[test]
    fn nothing_is_painted_when_nobody_waits_any_more() {
        let (painters, jobs) = Painters::with_room_for(1);
        let screen = Arc::new(Paintings::default());
        drop(screen.ask(7, ANY, &painters, || panic!("nobody waits")));
        jobs.recv().unwrap()();
        assert!(screen.ask(7, ANY, &painters, || sight(7)).is_some());
        assert!(jobs.recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_begins_without_a_screen_where_too_many_wait_or_it_takes_too_long() {
        let (painters, _jobs) = Painters::with_room_for(1);
        let (screen, other) = (Arc::new(Paintings::default()), Arc::new(Paintings::default()));
        let awaited = screen.ask(7, ANY, &painters, || sight(7));
        assert!(other.ask(7, ANY, &painters, || sight(7)).is_none(), "the queue is full");
        assert!(awaited.unwrap().painted().await.is_none(), "nobody paints");
    }
}
