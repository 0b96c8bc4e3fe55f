//! Recordings of sessions (`[serial_console] record`): an asciicast v2 file for each connection of
//! a session, with its output and its input.
//!
//! ```text
//!   sessions ─▶ a bounded queue each ─▶ one thread ─▶ files
//! ```
//!
//! No session waits for the disk: data that does not fit in its queue is dropped, and a marker in
//! the recording says so.

mod cast;
mod event;
mod mask;
mod queue;
mod shelf;
mod tape;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use serialproxy_config::values::Record;
use serialproxy_config::values::RecordInput;
use serialproxy_config::values::RecordPlace;
use serialproxy_limits::seldom;
use serialproxy_line::Keyboard;
use serialproxy_proto::console::Size;
use serialproxy_proto::id::SessionId;
use tokio::sync::oneshot;
use tokio::sync::watch;

use self::event::Event;
use self::mask::Mask;
use self::queue::Call;
use self::queue::Load;
use self::queue::NoRoom;
use self::queue::PAUSE;
use self::queue::Queue;
use self::shelf::Shelf;
use self::tape::Progress;
use self::tape::Tape;

/// How long writing the remaining data may take when the program ends.
const LAST: Duration = Duration::from_secs(1);

/// Writes recordings. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    /// Bounded: each recording sends one call until the writer handles it, and one more if it is
    /// urgent.
    calls: Sender<Called>,
    load: Arc<Load>,
    place: RecordPlace,
    /// Largest size of a file in bytes.
    limit: u64,
    input: RecordInput,
}

#[derive(Debug)]
enum Called {
    /// Data waits to be written.
    ToWrite(Arc<Waiting>),
    /// So much data waits that it must be written at once.
    Now(Arc<Waiting>),
    /// To be answered when all earlier calls are done.
    ToFlush(oneshot::Sender<()>),
}

/// A recording, and its data that waits to be written.
#[derive(Debug)]
struct Waiting {
    queue: Mutex<Queue>,
    /// Used by the writing thread.
    tape: Mutex<Tape>,
}

/// The state of a session's recording.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Recorded {
    /// Everything is recorded.
    Yes,
    /// It cannot be written at present.
    Failing,
    /// The recording has reached its size limit, so that only input is recorded.
    Full,
}

/// The recording of one connection of a session. Cheap to clone; it ends with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Recording(Arc<Start>);

#[derive(Debug)]
struct Start {
    recorder: Recorder,
    waiting: Arc<Waiting>,
    recorded: watch::Receiver<Recorded>,
    session: SessionId,
    begun: Instant,
}

impl Recorder {
    /// Makes the directory, which only its owner can read, and starts the writing thread; none
    /// where sessions are not recorded.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made, or the thread cannot be started.
    pub(crate) fn start(record: &Record) -> io::Result<Option<Self>> {
        let Some(place) = record.place.clone() else { return Ok(None) };
        DirBuilder::new().recursive(true).mode(0o700).create(&place.directory)?;
        if record.input == RecordInput::Full {
            tracing::warn!(
                "recordings contain all input, including passwords: [serial_console] \
                 record_input = full"
            );
        }
        let shelf = Shelf::new(place.clone(), record.keep, record.total);
        let (recorder, called) = Self::new(place, record.limit, record.input);
        let load = Arc::clone(&recorder.load);
        let work = move || write(&called, &load, shelf);
        thread::Builder::new().name("recordings".into()).spawn(work)?;
        Ok(Some(recorder))
    }

    fn new(place: RecordPlace, limit: u64, input: RecordInput) -> (Self, Receiver<Called>) {
        let (calls, called) = channel();
        (Self { calls, load: Arc::default(), place, limit, input }, called)
    }

    /// Begins the recording of a connection.
    pub(crate) fn begin(&self, keyboard: &Keyboard) -> Recording {
        let (since, session, line) = (Timestamp::now(), keyboard.session(), keyboard.line());
        let name = format!(
            "{}{}-{}-{}-{session}.cast",
            self.place.name,
            since.strftime("%Y%m%dT%H%M%S%.6fZ"),
            line.server,
            line.port,
        );
        let title = format!("{} port {}, {}", keyboard.server().name, line.port, keyboard.user());
        let recording = self.record(&name, title, session, since);
        // So that the file exists even if nothing happens in the session.
        recording.shown(Vec::new());
        recording
    }

    fn record(&self, name: &str, title: String, session: SessionId, since: Timestamp) -> Recording {
        let (told, recorded) = watch::channel(Recorded::Yes);
        let tape = Tape {
            path: self.place.directory.join(name),
            session,
            title,
            since,
            limit: self.limit,
            mask: (self.input == RecordInput::Masked).then(Mask::default),
            recorded: told,
            progress: Progress::default(),
        };
        let waiting = Waiting { queue: Mutex::default(), tape: Mutex::new(tape) };
        Recording(Arc::new(Start {
            recorder: self.clone(),
            waiting: Arc::new(waiting),
            recorded,
            session,
            begun: Instant::now(),
        }))
    }

    /// Waits for a limited time until the present data is written.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let _ = self.calls.send(Called::ToFlush(done));
        if !matches!(tokio::time::timeout(LAST, flushed).await, Ok(Ok(()))) {
            tracing::warn!("the ends of recordings are missing: the disk is too slow");
        }
    }
}

impl Recording {
    /// Live output for the session.
    pub(crate) fn shown(&self, bytes: Vec<u8>) {
        self.add(Event::Output { bytes, live: true });
    }

    /// Earlier output for the session.
    pub(crate) fn replayed(&self, bytes: Vec<u8>) {
        self.add(Event::Output { bytes, live: false });
    }

    /// Input of the session.
    pub(crate) fn typed(&self, bytes: &[u8]) {
        self.add(Event::Input(bytes.to_vec()));
    }

    /// The grid of the session's terminal.
    pub(crate) fn resized(&self, size: Size) {
        self.add(Event::Size(size));
    }

    /// The end of the session, and its reason.
    pub(crate) fn ended(&self, why: &str) {
        self.add(Event::Note(format!("ended: {why}")));
    }

    /// The state of the recording, which may change.
    pub(crate) fn recorded(&self) -> watch::Receiver<Recorded> {
        self.0.recorded.clone()
    }

    fn add(&self, event: Event) {
        let Start { recorder, waiting, session, begun, .. } = &*self.0;
        match lock(&waiting.queue).add(begun.elapsed(), event, &recorder.load) {
            Ok(call) => self.0.call(call),
            Err(NoRoom { first }) if first && seldom::is_due("recording") => {
                tracing::warn!(%session, "parts of recordings are missing: the disk is too slow");
            }
            Err(_) => {}
        }
    }
}

impl Start {
    fn call(&self, call: Call) {
        let waiting = Arc::clone(&self.waiting);
        // The thread ends after the last recorder.
        let _ = match call {
            Call::Nothing => return,
            Call::Soon => self.recorder.calls.send(Called::ToWrite(waiting)),
            Call::Now => self.recorder.calls.send(Called::Now(waiting)),
        };
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        let call = lock(&self.waiting.queue).end();
        self.call(call);
    }
}

/// Writes data until there are no recorders.
fn write(called: &Receiver<Called>, load: &Load, mut shelf: Shelf) {
    loop {
        let calls = match called.recv_timeout(shelf.remove_expired()) {
            Ok(first) => all_of_a_moment(first, called),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        for call in calls {
            match call {
                Called::ToWrite(waiting) | Called::Now(waiting) => waiting.write(load, &mut shelf),
                Called::ToFlush(done) => {
                    let _ = done.send(());
                }
            }
        }
    }
}

/// A call, and those that follow within a moment, so that small events are written together.
fn all_of_a_moment(first: Called, called: &Receiver<Called>) -> Vec<Called> {
    let until = Instant::now() + PAUSE;
    let mut calls = vec![first];
    while matches!(calls.last(), Some(Called::ToWrite(_))) {
        match called.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(call) => calls.push(call),
            Err(_) => break,
        }
    }
    calls
}

impl Waiting {
    fn write(&self, load: &Load, shelf: &mut Shelf) {
        let batch = lock(&self.queue).take();
        let mut tape = lock(&self.tape);
        for entry in batch.entries {
            tape.add(entry, shelf);
        }
        if let Some(missing) = batch.ended {
            tape.end(missing, shelf);
        }
        lock(&self.queue).written(batch.bytes, load);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// A recorder whose thread does not run yet.
    fn stalled(directory: &Path, input: RecordInput) -> (Recorder, Receiver<Called>) {
        let place = RecordPlace { directory: directory.to_owned(), name: "a.".into() };
        Recorder::new(place, u64::MAX, input)
    }

    fn begin(recorder: &Recorder) -> Recording {
        recorder.record("x.cast", "x".into(), SessionId::new(), Timestamp::UNIX_EPOCH)
    }

    /// Writes the waiting data; returns the rows of the file.
    fn written(recorder: Recorder, called: &Receiver<Called>) -> Vec<Value> {
        let (load, place) = (Arc::clone(&recorder.load), recorder.place.clone());
        drop(recorder);
        let file = place.directory.join("x.cast");
        write(called, &load, Shelf::new(place, None, u64::MAX));
        assert_eq!(load.bytes(), 0);
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    #[test]
    fn where_the_disk_is_too_slow_the_session_goes_on_and_the_recording_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let (recorder, called) = stalled(directory.path(), RecordInput::Full);
        let recording = begin(&recorder);
        for _ in 0..40 {
            recording.shown(vec![b'o'; 1024 * 1024]);
        }
        recording.typed(b"rm -rf /\r");
        recording.ended("bye");
        drop(recording);
        let rows = written(recorder, &called);
        let shown = rows.iter().filter(|row| row[1] == "o").count();
        let missing = format!("{} bytes are missing here", (40 - shown) << 20);
        let [.., marker, typed, end] = &rows[..] else { panic!("{rows:?}") };
        assert!(marker[2].as_str().unwrap().starts_with(&missing), "{marker}");
        assert_eq!((&typed[1], &typed[2]), (&"i".into(), &"rm -rf /\r".into()));
        assert_eq!(end[2], "ended: bye");
    }

    #[test]
    fn a_password_is_a_number_in_a_recording_unless_all_input_is_recorded() {
        for (input, expected) in [
            (RecordInput::Masked, vec!["input hidden: 7 bytes, not echoed", "\rls\r"]),
            (RecordInput::Full, vec!["hunter2\rls\r"]),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let (recorder, called) = stalled(directory.path(), input);
            let recording = begin(&recorder);
            for (types, text) in [(true, "hunter2\r"), (false, "\r\n# "), (true, "ls\r")] {
                match types {
                    true => recording.typed(text.as_bytes()),
                    false => recording.shown(text.as_bytes().to_vec()),
                }
            }
            recording.replayed(b"hunter2 ls".to_vec());
            recording.shown(b"ls\r\n".to_vec());
            drop(recording);
            let rows = written(recorder, &called);
            let of_it: Vec<_> = rows.iter().filter(|row| row[1] != "o").collect();
            let text: Vec<_> = of_it.iter().filter_map(|row| row[2].as_str()).collect();
            assert_eq!(text.concat(), expected.concat(), "{rows:?}");
        }
    }
}
