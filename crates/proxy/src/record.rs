//! Recordings of sessions (`[serial_console] record`): a file of asciicast v2 for each connection of
//! a session, with what it was shown and what it typed.
//!
//! ```text
//!   sessions ─▶ bounded queue ─▶ one thread ─▶ files
//! ```
//!
//! No session waits for the disk: what finds no room in the queue is left out, and the recording
//! says so.

mod cast;
mod tape;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TrySendError;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use jiff::Timestamp;
use serialproxy_config::values::Record;
use serialproxy_config::values::RecordPlace;
use serialproxy_line::Keyboard;
use serialproxy_proto::console::Size;
use serialproxy_proto::id::SessionId;
use tokio::sync::oneshot;

use self::tape::Event;
use self::tape::Progress;
use self::tape::Tape;

/// Bytes that wait to be written at most, of all recordings together: what a disk that pauses for a
/// second leaves of a session at full speed.
const QUEUE: usize = 16 * 1024 * 1024;

/// Events that wait to be written at most.
const EVENTS: usize = 4096;

/// How often recordings are looked for that are too old.
const SWEEP: Duration = Duration::from_secs(3600);

/// How often room in the queue is looked for when the program ends.
const ROOM: Duration = Duration::from_millis(10);

/// How long what waits has to be written when the program ends.
const LAST: Duration = Duration::from_secs(1);

/// Writes recordings. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    jobs: SyncSender<Job>,
    /// Bytes of them.
    waiting: Arc<AtomicUsize>,
    place: RecordPlace,
    /// Bytes of a file at most.
    limit: u64,
}

#[derive(Debug)]
enum Job {
    Add {
        tape: Arc<Mutex<Tape>>,
        at: Duration,
        event: Event,
        missing: u64,
    },
    /// Nothing more comes, and so many bytes before it were not handed on.
    End(Arc<Mutex<Tape>>, u64),
    /// To be answered when all before it is done.
    Flush(oneshot::Sender<()>),
}

/// The recording of one connection of a session. Cheap to clone; it ends with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Recording(Arc<Start>);

#[derive(Debug)]
struct Start {
    recorder: Recorder,
    tape: Arc<Mutex<Tape>>,
    session: SessionId,
    begun: Instant,
    /// Bytes that found no room in the queue since the last that did.
    missing: AtomicU64,
}

impl Recorder {
    /// Makes the directory, for its owner alone, and starts the thread that writes; none where no
    /// sessions are recorded.
    ///
    /// # Errors
    ///
    /// When the directory cannot be made, or there is no thread.
    pub(crate) fn start(record: &Record) -> io::Result<Option<Self>> {
        let Some(place) = record.place.clone() else { return Ok(None) };
        DirBuilder::new().recursive(true).mode(0o700).create(&place.directory)?;
        let (jobs, queue) = sync_channel(EVENTS);
        let waiting = Arc::default();
        let work = {
            let (waiting, shelf) = (Arc::clone(&waiting), (place.clone(), record.keep));
            move || write(&queue, &waiting, &shelf)
        };
        thread::Builder::new().name("recordings".into()).spawn(work)?;
        Ok(Some(Self { jobs, waiting, place, limit: record.limit }))
    }

    /// Begins the recording of a connection of a session.
    pub(crate) fn begin(&self, keyboard: &Keyboard) -> Recording {
        let (since, session, line) = (Timestamp::now(), keyboard.session(), keyboard.line());
        let name = format!(
            "{}{}-{}-{}-{session}.cast",
            self.place.name,
            since.strftime("%Y%m%dT%H%M%S%.6fZ"),
            line.server,
            line.port,
        );
        let tape = Tape {
            path: self.place.directory.join(name),
            session,
            title: format!("{} port {}, {}", keyboard.server().name, line.port, keyboard.user()),
            since,
            limit: self.limit,
            progress: Progress::default(),
        };
        let recording = self.record(tape);
        // So that the file is there, also of a session in which nothing happens.
        recording.add(Event::Output(Vec::new()));
        recording
    }

    fn record(&self, tape: Tape) -> Recording {
        Recording(Arc::new(Start {
            recorder: self.clone(),
            session: tape.session,
            tape: Arc::new(Mutex::new(tape)),
            begun: Instant::now(),
            missing: AtomicU64::new(0),
        }))
    }

    /// Waits until all is written that waits now, for a bounded time.
    pub(crate) async fn flush(&self) {
        let flushed = async {
            let (done, flushed) = oneshot::channel();
            let mut job = Job::Flush(done);
            while let Err(TrySendError::Full(again)) = self.jobs.try_send(job) {
                job = again;
                tokio::time::sleep(ROOM).await;
            }
            flushed.await
        };
        if !matches!(tokio::time::timeout(LAST, flushed).await, Ok(Ok(()))) {
            tracing::warn!("the ends of recordings are missing: the disk is too slow");
        }
    }
}

impl Recording {
    /// The session was shown this.
    pub(crate) fn shown(&self, bytes: Vec<u8>) {
        self.add(Event::Output(bytes));
    }

    /// It typed this.
    pub(crate) fn typed(&self, bytes: &[u8]) {
        self.add(Event::Input(bytes.to_vec()));
    }

    /// Its terminal has this grid.
    pub(crate) fn resized(&self, size: Size) {
        self.add(Event::Size(size));
    }

    /// It ends, for this reason.
    pub(crate) fn ended(&self, why: &str) {
        self.add(Event::Note(format!("ended: {why}")));
    }

    fn add(&self, event: Event) {
        let Start { recorder, tape, session, begun, missing } = &*self.0;
        let length = event.length();
        let before = missing.swap(0, Ordering::Relaxed);
        let waiting = recorder.waiting.fetch_add(length, Ordering::Relaxed);
        let job = Job::Add { tape: Arc::clone(tape), at: begun.elapsed(), event, missing: before };
        if waiting + length <= QUEUE && recorder.jobs.try_send(job).is_ok() {
            return;
        }
        recorder.waiting.fetch_sub(length, Ordering::Relaxed);
        missing.fetch_add(before + length as u64, Ordering::Relaxed);
        if before == 0 {
            tracing::warn!(%session, "the disk is too slow for a recording, of which a part is left out");
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        // Where there is no room, the rows that are written are whole all the same.
        let missing = self.missing.load(Ordering::Relaxed);
        let _ = self.recorder.jobs.try_send(Job::End(Arc::clone(&self.tape), missing));
    }
}

/// Where recordings are, and how long they are kept.
type Shelf = (RecordPlace, Option<Duration>);

/// Writes what comes until nobody is left who records.
fn write(jobs: &Receiver<Job>, waiting: &AtomicUsize, shelf: &Shelf) {
    let mut sweep = Instant::now();
    loop {
        if sweep <= Instant::now() {
            remove_old(shelf);
            sweep = Instant::now() + SWEEP;
        }
        match jobs.recv_timeout(sweep.saturating_duration_since(Instant::now())) {
            Ok(Job::Add { tape, at, event, missing }) => {
                lock(&tape).add(at, &event, missing);
                waiting.fetch_sub(event.length(), Ordering::Relaxed);
            }
            Ok(Job::End(tape, missing)) => lock(&tape).end(missing),
            Ok(Job::Flush(done)) => {
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the recordings that were last written to so long ago that they are not kept any more.
fn remove_old((place, keep): &Shelf) {
    let Some(oldest) = keep.and_then(|keep| SystemTime::now().checked_sub(keep)) else { return };
    let files = match place.directory.read_dir() {
        Ok(files) => files.flatten(),
        Err(error) => {
            tracing::error!(%error, "recordings that are too old cannot be removed");
            return;
        }
    };
    for file in files.filter(|file| is_ours(&file.file_name().to_string_lossy(), &place.name)) {
        let modified = file.metadata().and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|modified| modified < oldest) {
            remove(&file.path());
        }
    }
}

fn remove(file: &Path) {
    match std::fs::remove_file(file) {
        Ok(()) => tracing::info!(file = %file.display(), "recording removed, since it is too old"),
        Err(error) => {
            tracing::error!(file = %file.display(), %error, "recording cannot be removed")
        }
    }
}

/// Whether a file has the name of a recording: its prefix, and at the end a session's id.
fn is_ours(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".cast"));
    let session = rest.and_then(|rest| rest.split_at_checked(rest.len().checked_sub(36)?));
    session.is_some_and(|(_, session)| session.parse::<SessionId>().is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const KEEP: Duration = Duration::from_secs(24 * 3600);

    fn place(directory: &Path) -> RecordPlace {
        RecordPlace { directory: directory.to_owned(), name: "a.".into() }
    }

    /// A recorder whose thread does not run yet.
    fn stalled(directory: &Path) -> (Recorder, Receiver<Job>) {
        let (jobs, queue) = sync_channel(EVENTS);
        let (waiting, place) = (Arc::default(), place(directory));
        (Recorder { jobs, waiting, place, limit: u64::MAX }, queue)
    }

    fn tape(directory: &Path) -> Tape {
        Tape {
            path: directory.join("x.cast"),
            session: SessionId::new(),
            title: "x".into(),
            since: Timestamp::UNIX_EPOCH,
            limit: u64::MAX,
            progress: Progress::default(),
        }
    }

    /// Writes what waits in the queue; the rows that are in the file then.
    fn written(recorder: Recorder, queue: &Receiver<Job>, directory: &Path) -> Vec<Value> {
        let waiting = Arc::clone(&recorder.waiting);
        drop(recorder);
        write(queue, &waiting, &(place(directory), None));
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
        let text = std::fs::read_to_string(directory.join("x.cast")).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    #[test]
    fn where_the_disk_is_too_slow_the_session_goes_on_and_the_recording_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let (recorder, queue) = stalled(directory.path());
        let recording = recorder.record(tape(directory.path()));
        for _ in 0..EVENTS {
            recording.typed(b"k");
        }
        recording.typed(b"lost");
        recording.shown(vec![b'o'; 10]);
        // Room for what comes later.
        let Job::Add { event, tape, at, missing } = queue.recv().unwrap() else { panic!() };
        lock(&tape).add(at, &event, missing);
        recorder.waiting.fetch_sub(1, Ordering::Relaxed);
        drop(tape);
        recording.typed(b"later");
        drop(recording);
        let rows = written(recorder, &queue, directory.path());
        let [.., marker, last] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(marker[2], "14 bytes are missing here: the disk was full or too slow");
        assert_eq!((&last[1], &last[2]), (&"i".into(), &"later".into()));
    }

    #[test]
    fn what_waits_for_the_disk_is_bounded_in_bytes_and_what_is_missing_at_the_end_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let (recorder, queue) = stalled(directory.path());
        let recording = recorder.record(tape(directory.path()));
        for _ in 0..40 {
            recording.shown(vec![b'o'; 1024 * 1024]);
            assert!(recorder.waiting.load(Ordering::Relaxed) <= QUEUE);
        }
        drop(recording);
        let rows = written(recorder, &queue, directory.path());
        assert_eq!(rows.len(), 1 + 16 + 1);
        let missing = format!("{} bytes are missing here: the disk was full or too slow", 24 << 20);
        assert_eq!(rows[17][2], missing);
    }

    #[test]
    fn recordings_that_are_too_old_are_removed_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let session = SessionId::new();
        let [old, fresh, foreign, other] = [
            format!("a.20260101T000000Z-x-0-{session}.cast"),
            format!("a.20260102T000000Z-x-0-{session}.cast"),
            format!("b.20260101T000000Z-x-0-{session}.cast"),
            "a.notes.cast".to_owned(),
        ]
        .map(|name| directory.path().join(name));
        for file in [&old, &fresh, &foreign, &other] {
            let made = std::fs::File::create(file).unwrap();
            let age = if *file == fresh { KEEP / 2 } else { KEEP * 2 };
            made.set_modified(SystemTime::now() - age).unwrap();
        }
        remove_old(&(place(directory.path()), None));
        assert!(old.exists());
        remove_old(&(place(directory.path()), Some(KEEP)));
        assert!(!old.exists());
        assert!(fresh.exists() && foreign.exists() && other.exists());
    }
}
