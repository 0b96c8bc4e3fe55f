//! The log: one line an event, with fields, on stderr or in a file, as text or as JSON. A line that belongs to
//! an API call names its request id.
//!
//! ```text
//!   any thread ─▶ lines that wait (1 MiB at most) ─▶ thread `log` ─▶ stderr or file
//! ```
//!
//! Only the thread `log` writes, so no other thread waits for the reader of the log. Lines that do
//! not fit are counted, and a later line reports how many are missing.

mod form;

use std::fs::OpenOptions;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use serialproxy_config::Config;
use serialproxy_config::values::LogFormat;
use serialproxy_config::values::LogLevel;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use self::form::Json;
use self::form::TextFields;

/// Bytes of lines that wait at most; as many may be being written.
const ROOM: usize = 1 << 20;

/// How long [`flush`] waits at most: the log's reader may have stopped.
const FLUSH: Duration = Duration::from_secs(1);

static QUEUE: Queue = Queue::new();

/// Which lines are logged: set while the program runs.
#[derive(Clone, Debug)]
pub(crate) struct Filter(reload::Handle<Targets, Registry>);

impl Filter {
    /// Logs from now on what is at least as important.
    pub(crate) fn set(&self, level: LogLevel) {
        // It fails only without a log.
        let _ = self.0.reload(filter(level));
    }
}

/// Only our own crates speak at info and debug level: what libraries say there holds request heads, and with
/// them tokens.
fn filter(level: LogLevel) -> Targets {
    let (own, others) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
    };
    Targets::new().with_default(others).with_target("serialproxy", own)
}

/// Starts logging: to the end of `file`, which is made where it is missing, for its owner alone.
///
/// # Errors
///
/// When the file cannot be opened, or the kernel gives no thread.
pub(crate) fn start(config: &Config, file: Option<&Path>) -> io::Result<Filter> {
    let (filter, handle) = reload::Layer::new(filter(config.log_level()));
    let (mut log, colors): (Box<dyn Write + Send>, _) = match file {
        None => (Box::new(io::stderr()), io::stderr().is_terminal()),
        Some(file) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
            (Box::new(file), false)
        }
    };
    let format = config.log_format;
    thread::Builder::new().name("log".into()).spawn(move || {
        let mut missing = 0;
        loop {
            missing = QUEUE.write_next(&mut log, format, missing);
        }
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(|| &QUEUE);
    match format {
        LogFormat::Text => {
            let lines =
                lines.with_ansi(colors).with_target(false).fmt_fields(TextFields::default());
            registry.with(lines).init();
        }
        LogFormat::Json => registry.with(lines.event_format(Json)).init(),
    }
    Ok(Filter(handle))
}

/// Waits until everything logged so far is written, for 1 s at most. Returns whether it is.
pub(crate) fn flush() -> bool {
    QUEUE.flush(FLUSH)
}

/// Lines between the threads that log and the thread that writes. Nothing is written while it is locked.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: Vec<u8>,
    /// Lines that found no room behind these. Until the next line says so, no further line has room.
    missing: u64,
    /// Whether lines that are no longer here are being written.
    writing: bool,
}

impl Queue {
    const fn new() -> Self {
        let state = State { lines: Vec::new(), missing: 0, writing: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.missing > 0 || state.lines.len() + line.len() > ROOM {
            state.missing += 1;
        } else {
            state.lines.extend_from_slice(line);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for lines, and writes them and how many are missing: behind these, and `missing` before.
    /// Returns how many are missing that the log does not say yet.
    fn write_next(&self, log: &mut impl Write, format: LogFormat, missing: u64) -> u64 {
        let state = self.changed.wait_while(self.lock(), |state| state.lines.is_empty());
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let mut lines = std::mem::take(&mut state.lines);
        let missing = missing + std::mem::take(&mut state.missing);
        state.writing = true;
        drop(state);
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        if missing > 0 {
            lines.extend_from_slice(says_missing(format, missing).as_bytes());
        }
        let written = log.write_all(&lines);
        self.lock().writing = false;
        self.changed.notify_all();
        written.map_or(missing + count, |()| 0)
    }

    fn flush(&self, most: Duration) -> bool {
        let is_busy = |state: &mut State| state.writing || !state.lines.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), most, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Each critical section leaves the state consistent, so a poisoned lock can be used.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes whole lines: the layer that formats them writes each at once.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In the form of the other lines.
fn says_missing(format: LogFormat, missing: u64) -> String {
    let text = "log lines are missing here: the log could not be written";
    match format {
        LogFormat::Text => format!("{}  WARN {text} missing={missing}\n", form::now()),
        LogFormat::Json => {
            let fields = [("missing".to_owned(), missing.into())];
            form::json_line(Level::WARN, text.into(), fields.into_iter().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that cannot be written.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(queue: &Queue, missing: u64) -> String {
        let mut log = Vec::new();
        assert_eq!(queue.write_next(&mut log, LogFormat::Text, missing), 0);
        String::from_utf8(log).unwrap()
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let queue = Queue::new();
        queue.push(b"one\n");
        queue.push(b"two\n");
        assert_eq!(written(&queue, 0), "one\ntwo\n");
        assert!(queue.flush(Duration::ZERO));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said_where_it_is_missing() {
        let queue = Queue::new();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..1024 + 7 {
            queue.push(&line);
        }
        queue.push(b"short\n");
        let log = written(&queue, 0);
        assert_eq!(log.lines().count(), 1024 + 1);
        assert!(log.ends_with(" missing=8\n"), "{:?}", log.lines().last());
        queue.push(b"next\n");
        assert_eq!(written(&queue, 0), "next\n");
    }

    #[test]
    fn lines_that_could_not_be_written_are_missing_from_the_next() {
        let queue = Queue::new();
        queue.push(b"one\n");
        queue.push(b"two\n");
        let missing = queue.write_next(&mut Full, LogFormat::Text, 0);
        queue.push(b"three\n");
        let log = written(&queue, missing);
        assert!(log.starts_with("three\n") && log.ends_with(" missing=2\n"), "{log}");
    }

    #[test]
    fn a_flush_of_a_log_that_nobody_reads_gives_up() {
        let queue = Queue::new();
        queue.push(b"one\n");
        assert!(!queue.flush(Duration::from_millis(1)));
    }
}
