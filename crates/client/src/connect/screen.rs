//! Writes output to stdout and notices to stderr, in order, on a separate thread: a slow reader (`…
//! | less`) delays neither pings nor keys.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread::Builder;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::io::Errno;
use rustix::termios::isatty;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connect::reset::BEGIN;
use crate::connect::reset::Changes;
use crate::text::printable;

/// 1 MiB: twice the amount that a proxy sends without an acknowledgment.
const ROOM: usize = 1 << 20;
/// 64 KiB: the most that is written, and so acknowledged, at a time.
const BATCH: usize = 64 << 10;

/// How much is written at a time to a terminal that may hang, and the time after which it counts as
/// hanging.
const PIECE: usize = 64;
const STUCK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The destination of the output.
#[derive(Debug)]
pub(crate) struct Screen {
    shared: Arc<Shared>,
    written: watch::Receiver<Position>,
    /// Whether stdout is a terminal, which is restored at the end.
    is_terminal: bool,
}

/// A position in a line's output, in the count of one connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Position {
    pub(crate) connection: u64,
    pub(crate) offset: u64,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Waiting notices.
    held: Option<Vec<Item>>,
    /// The terminal's state that the guest has changed.
    changes: Changes,
    /// Bytes that are not written yet.
    size: usize,
    finished: bool,
}

#[derive(Debug)]
enum Item {
    Output {
        bytes: Vec<u8>,
        end: Position,
    },
    /// A sequence for the terminal that is not from the guest.
    Control(Vec<u8>),
    Notice(String),
    /// Lines of their own.
    Menu(Vec<String>),
}

/// The line end of notices.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LineEnd {
    /// The terminal adds the carriage return.
    Cooked,
    /// The terminal is in raw mode and does not add it.
    Raw,
}

impl Screen {
    /// Begins to write.
    pub(crate) fn start(line_end: LineEnd) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (sender, written) = watch::channel(Position::default());
        let theirs = shared.clone();
        // Not joined: stdout may block forever. `finish` waits for a limited time.
        Builder::new().name("screen".into()).spawn(move || write(&theirs, &sender, line_end))?;
        let screen = Self { shared, written, is_terminal: isatty(rustix::stdio::stdout()) };
        screen.control(BEGIN.to_vec());
        Ok(screen)
    }

    /// Queues output that ends at `end`.
    pub(crate) fn show(&self, bytes: &[u8], end: Position) {
        let mut queue = self.shared.lock();
        queue.size += bytes.len();
        queue.changes.follow(bytes);
        match queue.items.back_mut() {
            Some(Item::Output { bytes: last, end: last_end }) if last.len() < BATCH => {
                last.extend_from_slice(bytes);
                *last_end = end;
            }
            _ => queue.items.push_back(Item::Output { bytes: bytes.to_vec(), end }),
        }
        self.shared.changed.notify_one();
    }

    /// Resets the terminal's state that the guest has changed.
    pub(crate) fn reset(&self) {
        let reset = self.shared.lock().changes.reset();
        self.control(reset);
    }

    fn control(&self, bytes: Vec<u8>) {
        if self.is_terminal {
            let mut queue = self.shared.lock();
            queue.size += bytes.len();
            queue.items.push_back(Item::Control(bytes));
            self.shared.changed.notify_one();
        }
    }

    /// Queues a notice. Text from other people in it cannot control the terminal.
    pub(crate) fn say(&self, notice: &str) {
        let text = printable(notice);
        let mut queue = self.shared.lock();
        queue.size += text.len();
        match &mut queue.held {
            Some(held) => held.push(Item::Notice(text)),
            None => queue.items.push_back(Item::Notice(text)),
        }
        self.shared.changed.notify_one();
    }

    /// Queues lines that a person can read in whatever state the guest left the terminal.
    pub(crate) fn show_menu(&self, lines: &[String]) {
        self.release_notices();
        let readable = self.shared.lock().changes.readable();
        self.control(readable);
        let lines: Vec<String> = lines.iter().map(|line| printable(line)).collect();
        let mut queue = self.shared.lock();
        queue.size += lines.iter().map(String::len).sum::<usize>();
        queue.items.push_back(Item::Menu(lines));
        self.shared.changed.notify_one();
    }

    /// Holds notices back, since the next output would push them out of sight.
    pub(crate) fn hold_notices(&self) {
        self.shared.lock().held.get_or_insert_default();
    }

    /// Shows the notices that were held back.
    pub(crate) fn release_notices(&self) {
        self.shared.lock().release();
        self.shared.changed.notify_one();
    }

    /// Whether more output may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.shared.lock().size < ROOM
    }

    /// Waits until more is written; returns up to which position, or `None` once stdout is closed.
    /// Cancel-safe.
    pub(crate) async fn written(&mut self) -> Option<Position> {
        self.written.changed().await.ok()?;
        Some(*self.written.borrow_and_update())
    }

    /// Waits until everything is written, for at most `limit`.
    pub(crate) async fn finish(mut self, limit: Duration) {
        self.release_notices();
        self.shared.lock().finished = true;
        self.shared.changed.notify_one();
        let _ = timeout(limit, async { while self.written().await.is_some() {} }).await;
    }
}

impl Drop for Screen {
    /// Output that is not written by then is lost, and the terminal is restored.
    fn drop(&mut self) {
        let restore = {
            let mut queue = self.shared.lock();
            queue.items.clear();
            queue.finished = true;
            queue.changes.restore()
        };
        self.shared.changed.notify_one();
        if self.is_terminal {
            write_soon(rustix::stdio::stdout(), &restore);
        }
    }
}

impl Queue {
    fn release(&mut self) {
        self.items.extend(self.held.take().into_iter().flatten());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item; `None` at the end.
    fn next(&self) -> Option<Item> {
        let mut queue = self.lock();
        loop {
            if let Some(item) = queue.items.pop_front() {
                return Some(item);
            }
            if queue.finished {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn write(shared: &Shared, written: &watch::Sender<Position>, line_end: LineEnd) {
    let (stdout, stderr) = (rustix::stdio::stdout(), rustix::stdio::stderr());
    let same_terminal = isatty(stdout) && isatty(stderr);
    let newline = if line_end == LineEnd::Raw { "\r\n" } else { "\n" };
    let mut line_start = true;
    while let Some(item) = shared.next() {
        match item {
            Item::Output { bytes, end } => {
                if write_all(stdout, &bytes).is_err() {
                    return;
                }
                line_start = bytes.last().map_or(line_start, |last| *last == b'\n');
                shared.lock().size -= bytes.len();
                written.send_replace(end);
            }
            Item::Control(bytes) => {
                shared.lock().size -= bytes.len();
                let _ = write_all(stdout, &bytes);
            }
            Item::Notice(text) => {
                shared.lock().size -= text.len();
                let begin = if same_terminal && !line_start { newline } else { "" };
                let text = format!("{begin}serialproxy: {text}{newline}");
                // A closed stderr has no reader.
                let _ = write_all(stderr, text.as_bytes());
                line_start = true;
            }
            Item::Menu(lines) => {
                shared.lock().size -= lines.iter().map(String::len).sum::<usize>();
                let (begin, clear) = match same_terminal {
                    // What a full-screen program drew there is removed.
                    true => (if line_start { "" } else { newline }, "\x1b[K"),
                    false => ("", ""),
                };
                let lines = lines.iter().map(|line| format!("{clear}{line}{newline}"));
                let text = begin.to_owned() + &lines.collect::<String>();
                let _ = write_all(stderr, text.as_bytes());
                line_start = true;
            }
        }
    }
}

/// Writes to a terminal, unless it hangs.
pub(crate) fn write_soon(terminal: BorrowedFd<'_>, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE) {
        let mut ready = [PollFd::new(&terminal, PollFlags::OUT)];
        if poll(&mut ready, Some(&STUCK)).is_ok_and(|ready| ready == 0)
            || write_all(terminal, piece).is_err()
        {
            return;
        }
    }
}

/// Writes everything, also where a parent process left the file in non-blocking mode.
fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(size) => bytes = bytes.get(size..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&file, PollFlags::OUT)], None)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
