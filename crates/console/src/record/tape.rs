//! The file of one recording: it contains only whole rows, even after failures of the disk.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serialproxy_proto::console::Size;
use serialproxy_proto::id::SessionId;
use tokio::sync::watch;

use super::Recorded;
use super::cast::Decoder;
use super::cast::Kind;
use super::cast::grid;
use super::cast::header;
use super::cast::row;
use super::event::Event;
use super::mask::Mask;
use super::mask::Typed;
use super::queue::Entry;
use super::shelf::BLOCK;
use super::shelf::Shelf;

/// Output leaves one part in this many of the largest recording for input.
const RESERVE: u64 = 8;

/// A recording in the writing thread.
#[derive(Debug)]
pub(super) struct Tape {
    pub(super) path: PathBuf,
    pub(super) session: SessionId,
    pub(super) title: String,
    pub(super) since: Timestamp,
    /// Largest size of the file in bytes.
    pub(super) limit: u64,
    /// Holds input back until it is echoed; none where all input is recorded.
    pub(super) mask: Option<Mask>,
    /// Tells the session the state of the recording.
    pub(super) recorded: watch::Sender<Recorded>,
    pub(super) progress: Progress,
}

/// The progress of a recording.
#[derive(Debug, Default)]
pub(super) struct Progress {
    file: Option<File>,
    /// Bytes of whole rows in the file. Bytes after them belong to an incomplete row, and are
    /// overwritten.
    length: u64,
    sized: bool,
    output: Decoder,
    input: Decoder,
    /// Time of the last event.
    at: Duration,
    /// Bytes of events that could not be written.
    missing: u64,
    /// Whether it has reached its limit, so that only input is written.
    full: bool,
}

impl Tape {
    /// Writes an event. A failure is logged once until writing works again, and the recording notes
    /// what is missing.
    pub(super) fn add(&mut self, Entry { at, event, missing }: Entry, shelf: &mut Shelf) {
        self.progress.missing += missing;
        self.progress.at = at;
        let typed = self.typed(&event, missing > 0);
        let written = self.write(&event, &typed, shelf);
        if let Err(error) = &written {
            let shown = if let Event::Input(_) = event { 0 } else { event.length() as u64 };
            self.progress.missing += shown + typed.iter().map(Typed::length).sum::<u64>();
            if *self.recorded.borrow() != Recorded::Failing {
                tracing::error!(session = %self.session, file = %self.path.display(), %error,
                    "the session cannot be recorded, and continues");
            }
        }
        let recorded = match written {
            Err(_) => Recorded::Failing,
            Ok(()) if self.progress.full => Recorded::Full,
            Ok(()) => Recorded::Yes,
        };
        self.recorded.send_if_modified(|before| std::mem::replace(before, recorded) != recorded);
    }

    /// The input that can be recorded after this event.
    fn typed(&mut self, event: &Event, missed: bool) -> Vec<Typed> {
        let at = self.progress.at;
        let Some(mask) = &mut self.mask else {
            return match event {
                Event::Input(bytes) => vec![Typed::Echoed(bytes.clone())],
                _ => Vec::new(),
            };
        };
        if missed {
            mask.missed();
        }
        match event {
            Event::Input(bytes) => mask.typed(at, bytes),
            Event::Output { bytes, live: true } => mask.shown(at, bytes),
            Event::Output { .. } | Event::Size(_) => {}
            Event::Note(_) => mask.finish(),
        }
        mask.settled()
    }

    fn write(&mut self, event: &Event, typed: &[Typed], shelf: &mut Shelf) -> io::Result<()> {
        self.open(shelf)?;
        let progress = &mut self.progress;
        let typed = progress.rows_of(typed);
        if progress.full {
            return self.append_typed(&typed, shelf);
        }
        let mut rows = progress.of_what_is_missing() + &typed;
        match event {
            Event::Output { bytes, .. } => {
                let text = progress.output.decode(bytes);
                rows += &shown(progress.at, Kind::Output, &text);
            }
            Event::Input(_) => {}
            Event::Size(size) if progress.sized => {
                rows += &row(progress.at, Kind::Resize, &grid(*size));
            }
            Event::Size(size) => self.write_header(*size)?,
            Event::Note(text) => rows += &row(progress.at, Kind::Marker, text),
        }
        self.append(&rows, &typed, shelf)?;
        self.progress.missing = 0;
        Ok(())
    }

    fn open(&mut self, shelf: &mut Shelf) -> io::Result<()> {
        if self.progress.file.is_none() {
            let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
            let file = options.open(&self.path)?;
            // Where files cannot be locked, no recordings are removed either.
            let _ = file.try_lock();
            self.progress.file = Some(file);
        }
        if self.progress.length == 0 {
            self.put(&header(None, self.since, &self.title), shelf)?;
        }
        Ok(())
    }

    /// The recording has the first size that the terminal reports.
    fn write_header(&mut self, size: Size) -> io::Result<()> {
        self.progress.sized = true;
        let header = header(Some(size), self.since, &self.title);
        match &self.progress.file {
            Some(file) => file.write_all_at(header.as_bytes(), 0),
            None => Ok(()),
        }
    }

    /// Writes rows; where there is no room, only those of input.
    fn append(&mut self, rows: &str, typed: &str, shelf: &mut Shelf) -> io::Result<()> {
        let last = row(self.progress.at, Kind::Marker, "the recording has reached record_limit");
        let length = self.progress.length + (rows.len() + last.len()) as u64;
        if length <= self.limit - self.limit / RESERVE {
            return self.put(rows, shelf);
        }
        self.put(&last, shelf)?;
        self.progress.full = true;
        tracing::warn!(session = %self.session, file = %self.path.display(),
            "the recording has reached [serial_console] record_limit; the session continues");
        self.append_typed(typed, shelf)
    }

    /// Writes the rows of input that fit.
    fn append_typed(&mut self, rows: &str, shelf: &mut Shelf) -> io::Result<()> {
        let fits = self.progress.length + rows.len() as u64 <= self.limit;
        if fits { self.put(rows, shelf) } else { Ok(()) }
    }

    fn put(&mut self, rows: &str, shelf: &mut Shelf) -> io::Result<()> {
        let Some(file) = &self.progress.file else { return Ok(()) };
        if rows.is_empty() {
            return Ok(());
        }
        let of_file = if self.progress.length == 0 { BLOCK } else { 0 };
        shelf.take(rows.len() as u64 + of_file)?;
        file.write_all_at(rows.as_bytes(), self.progress.length)?;
        self.progress.length += rows.len() as u64;
        Ok(())
    }

    /// There is no more data, and `missing` bytes before the end were not queued.
    pub(super) fn end(&mut self, missing: u64, shelf: &mut Shelf) {
        self.progress.missing += missing;
        if let Err(error) = self.finish(shelf) {
            tracing::error!(session = %self.session, file = %self.path.display(), %error,
                "the end of a recording cannot be written");
        }
        self.progress.file = None;
    }

    fn finish(&mut self, shelf: &mut Shelf) -> io::Result<()> {
        let progress = &mut self.progress;
        let typed = match &mut self.mask {
            Some(mask) => {
                mask.finish();
                progress.rows_of(&mask.settled())
            }
            None => String::new(),
        };
        let typed = typed + &shown(progress.at, Kind::Input, &progress.input.finish());
        if progress.full {
            self.append_typed(&typed, shelf)?;
        } else {
            let rows = progress.of_what_is_missing()
                + &shown(progress.at, Kind::Output, &progress.output.finish())
                + &typed;
            self.append(&rows, &typed, shelf)?;
        }
        match &self.progress.file {
            Some(file) => file.set_len(self.progress.length),
            None => Ok(()),
        }
    }
}

impl Progress {
    /// A row that notes how much is missing, if anything.
    fn of_what_is_missing(&self) -> String {
        match self.missing {
            0 => String::new(),
            bytes => {
                let text = format!(
                    "{bytes} bytes are missing here: the disk was full or too slow, or record_total \
                     was reached"
                );
                row(self.at, Kind::Marker, &text)
            }
        }
    }

    /// Rows of input; hidden input is a number.
    fn rows_of(&mut self, typed: &[Typed]) -> String {
        let row_of = |typed: &Typed| match typed {
            Typed::Echoed(bytes) => shown(self.at, Kind::Input, &self.input.decode(bytes)),
            Typed::Hidden(bytes) => {
                row(self.at, Kind::Marker, &format!("input hidden: {bytes} bytes, not echoed"))
            }
        };
        typed.iter().map(row_of).collect()
    }
}

/// A row of text; none without text.
fn shown(at: Duration, kind: Kind, text: &str) -> String {
    if text.is_empty() { String::new() } else { row(at, kind, text) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use serde_json::Value;
    use serde_json::json;
    use serialproxy_config::values::RecordPlace;

    use super::*;

    const AT: Duration = Duration::from_millis(1500);

    fn tape(directory: &Path, limit: u64) -> Tape {
        Tape {
            path: directory.join("x.cast"),
            session: SessionId::new(),
            title: "x".into(),
            since: Timestamp::UNIX_EPOCH,
            limit,
            mask: None,
            recorded: watch::Sender::new(Recorded::Yes),
            progress: Progress::default(),
        }
    }

    fn add(tape: &mut Tape, event: Event, missing: u64) {
        tape.add(Entry { at: AT, event, missing }, &mut shelf(u64::MAX));
    }

    fn end(tape: &mut Tape) {
        tape.end(0, &mut shelf(u64::MAX));
    }

    fn shelf(total: u64) -> Shelf {
        let place = RecordPlace { directory: "/nowhere".into(), name: String::new() };
        Shelf::new(place, None, total)
    }

    fn rows(tape: &Tape) -> Vec<Value> {
        let text = std::fs::read_to_string(&tape.path).unwrap();
        assert!(text.ends_with('\n') && text.len() as u64 <= tape.limit);
        text.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    fn output(text: &str) -> Event {
        Event::Output { bytes: text.as_bytes().to_vec(), live: true }
    }

    #[test]
    fn a_recording_is_its_owner_s_and_holds_what_was_shown_and_typed() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(directory.path(), u64::MAX);
        let euro = "a€".as_bytes();
        for event in [
            Event::Output { bytes: euro[..2].to_vec(), live: true },
            Event::Input(b"\r".to_vec()),
            Event::Size(Size { rows: 40, cols: 132 }),
            Event::Output { bytes: euro[2..].to_vec(), live: true },
            Event::Size(Size { rows: 41, cols: 133 }),
            Event::Input(b"\xe2".to_vec()),
            Event::Note("ended".into()),
        ] {
            add(&mut tape, event, 0);
        }
        end(&mut tape);
        let [header, events @ ..] = &rows(&tape)[..] else { panic!("empty") };
        assert_eq!((&header["width"], &header["height"]), (&json!(132), &json!(40)));
        let expected = [
            json!([1.5, "o", "a"]),
            json!([1.5, "i", "\r"]),
            json!([1.5, "o", "€"]),
            json!([1.5, "r", "133x41"]),
            json!([1.5, "m", "ended"]),
            json!([1.5, "i", "\u{fffd}"]),
        ];
        assert_eq!(events, expected);
        let mode = std::fs::metadata(&tape.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_recording_ends_at_its_limit_with_a_word_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(directory.path(), 10_000);
        for _ in 0..100 {
            add(&mut tape, output(&"x".repeat(500)), 0);
        }
        end(&mut tape);
        let rows = rows(&tape);
        assert_eq!(rows.last().unwrap()[2], "the recording has reached record_limit");
        assert!((15..25).contains(&rows.len()), "{}", rows.len());
    }

    #[test]
    fn what_is_typed_is_written_when_output_has_filled_its_part() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(directory.path(), 10_000);
        for _ in 0..100 {
            add(&mut tape, output(&"x".repeat(500)), 0);
        }
        assert_eq!(*tape.recorded.borrow(), Recorded::Full);
        add(&mut tape, Event::Input(b"rm -rf /\r".to_vec()), 0);
        for _ in 0..1000 {
            add(&mut tape, Event::Input(b"more".to_vec()), 0);
        }
        end(&mut tape);
        let rows = rows(&tape);
        assert!(rows.contains(&json!([1.5, "i", "rm -rf /\r"])), "{rows:?}");
    }

    #[test]
    fn its_user_hears_once_that_a_session_is_not_recorded_and_that_it_is_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(directory.path(), u64::MAX);
        let mut told = tape.recorded.subscribe();
        let (mut full, at) = (shelf(10), AT);
        for _ in 0..3 {
            tape.add(Entry { at, event: output("lost"), missing: 0 }, &mut full);
        }
        assert!(told.has_changed().unwrap());
        assert_eq!(*told.borrow_and_update(), Recorded::Failing);
        for _ in 0..3 {
            add(&mut tape, output("kept"), 0);
        }
        assert_eq!(*told.borrow_and_update(), Recorded::Yes);
        end(&mut tape);
        let rows = rows(&tape);
        assert!(rows[1][2].as_str().unwrap().starts_with("12 bytes are missing"), "{rows:?}");
    }

    #[test]
    fn a_file_that_exists_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(directory.path(), u64::MAX);
        std::fs::write(&tape.path, "mine").unwrap();
        add(&mut tape, output("x"), 0);
        end(&mut tape);
        assert_eq!(std::fs::read_to_string(&tape.path).unwrap(), "mine");
    }

    #[test]
    fn what_could_not_be_written_is_said_when_it_can_be_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(&directory.path().join("later"), u64::MAX);
        add(&mut tape, output("lost"), 3);
        std::fs::create_dir(directory.path().join("later")).unwrap();
        add(&mut tape, output("kept"), 0);
        // As after a full disk in the middle of a row.
        let file = tape.progress.file.as_ref().unwrap();
        file.write_all_at(b"[1.5, \"o\", \"half", tape.progress.length).unwrap();
        end(&mut tape);
        let missing = "7 bytes are missing here: the disk was full or too slow, or record_total was \
                       reached";
        assert_eq!(rows(&tape)[1..], [json!([1.5, "m", missing]), json!([1.5, "o", "kept"])]);
    }
}
