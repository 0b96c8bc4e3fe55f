//! The file of one recording: whole rows, whatever becomes of the disk.

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

use super::cast::Decoder;
use super::cast::Kind;
use super::cast::grid;
use super::cast::header;
use super::cast::row;

/// What happened in a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// The session was shown this.
    Output(Vec<u8>),
    /// It typed this.
    Input(Vec<u8>),
    /// Its terminal has this grid.
    Size(Size),
    /// In words.
    Note(String),
}

impl Event {
    /// Bytes of it.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Output(bytes) | Self::Input(bytes) => bytes.len(),
            Self::Note(text) => text.len(),
            Self::Size(_) => 0,
        }
    }
}

/// A recording, as the thread that writes it keeps it.
#[derive(Debug)]
pub(super) struct Tape {
    pub(super) path: PathBuf,
    pub(super) session: SessionId,
    pub(super) title: String,
    pub(super) since: Timestamp,
    /// Bytes of the file at most.
    pub(super) limit: u64,
    pub(super) progress: Progress,
}

/// How far a recording has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    file: Option<File>,
    /// Bytes of whole rows in the file. What is behind them was not written as a whole, and is written over.
    length: u64,
    sized: bool,
    output: Decoder,
    input: Decoder,
    /// Time of the last event.
    at: Duration,
    /// Bytes that happened, and could not be written.
    missing: u64,
    /// Whether the last event could not be written.
    failed: bool,
    /// Whether it has reached its limit.
    full: bool,
}

impl Tape {
    /// Writes what happened so long after the beginning; `missing` bytes before it were not handed on.
    /// What cannot be written is logged, once until it can, and the recording says that it is missing.
    pub(super) fn add(&mut self, at: Duration, event: &Event, missing: u64) {
        self.progress.missing += missing;
        self.progress.at = at;
        if self.progress.full {
            return;
        }
        let written = self.write(event);
        let failed_before = std::mem::replace(&mut self.progress.failed, written.is_err());
        if let Err(error) = written {
            self.progress.missing += event.length() as u64;
            if !failed_before {
                tracing::error!(session = %self.session, file = %self.path.display(), %error,
                    "the session cannot be recorded, and goes on");
            }
        }
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        self.open()?;
        let progress = &mut self.progress;
        let mut rows = progress.of_what_is_missing();
        match event {
            Event::Output(bytes) => {
                let text = progress.output.decode(bytes);
                rows += &shown(progress.at, Kind::Output, &text);
            }
            Event::Input(bytes) => {
                let text = progress.input.decode(bytes);
                rows += &shown(progress.at, Kind::Input, &text);
            }
            Event::Size(size) if progress.sized => {
                rows += &row(progress.at, Kind::Resize, &grid(*size));
            }
            Event::Size(size) => self.write_header(*size)?,
            Event::Note(text) => rows += &row(progress.at, Kind::Marker, text),
        }
        self.append(&rows)?;
        self.progress.missing = 0;
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if self.progress.file.is_some() {
            return Ok(());
        }
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        self.progress.file = Some(options.open(&self.path)?);
        self.append(&header(None, self.since, &self.title))
    }

    /// The first size that a terminal says is that of the recording.
    fn write_header(&mut self, size: Size) -> io::Result<()> {
        self.progress.sized = true;
        let header = header(Some(size), self.since, &self.title);
        match &self.progress.file {
            Some(file) => file.write_all_at(header.as_bytes(), 0),
            None => Ok(()),
        }
    }

    fn append(&mut self, rows: &str) -> io::Result<()> {
        let Some(file) = &self.progress.file else { return Ok(()) };
        let last = row(self.progress.at, Kind::Marker, "the recording has reached record_limit");
        let room = self.limit - self.progress.length;
        let full = (rows.len() + last.len()) as u64 > room;
        let rows = if full { last.as_bytes() } else { rows.as_bytes() };
        file.write_all_at(rows, self.progress.length)?;
        self.progress.length += rows.len() as u64;
        if full {
            self.progress.full = true;
            tracing::warn!(session = %self.session, file = %self.path.display(),
                "the recording has reached [serial_console] record_limit; the session goes on");
        }
        Ok(())
    }

    /// Nothing more comes, and `missing` bytes before it were not handed on.
    pub(super) fn end(&mut self, missing: u64) {
        self.progress.missing += missing;
        if let Err(error) = self.finish() {
            tracing::error!(session = %self.session, file = %self.path.display(), %error,
                "the end of a recording cannot be written");
        }
        self.progress.file = None;
    }

    fn finish(&mut self) -> io::Result<()> {
        let progress = &mut self.progress;
        if !progress.full {
            let rows = progress.of_what_is_missing()
                + &shown(progress.at, Kind::Output, &progress.output.finish())
                + &shown(progress.at, Kind::Input, &progress.input.finish());
            self.append(&rows)?;
        }
        match &self.progress.file {
            Some(file) => file.set_len(self.progress.length),
            None => Ok(()),
        }
    }
}

impl Progress {
    /// A row that says how much is missing, where something is.
    fn of_what_is_missing(&self) -> String {
        match self.missing {
            0 => String::new(),
            bytes => {
                let text = format!("{bytes} bytes are missing here: the disk was full or too slow");
                row(self.at, Kind::Marker, &text)
            }
        }
    }
}

/// A row of text; none where there is none.
fn shown(at: Duration, kind: Kind, text: &str) -> String {
    if text.is_empty() { String::new() } else { row(at, kind, text) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use serde_json::Value;
    use serde_json::json;

    use super::*;

    const AT: Duration = Duration::from_millis(1500);

    fn tape(directory: &Path, limit: u64) -> Tape {
        Tape {
            path: directory.join("x.cast"),
            session: SessionId::new(),
            title: "x".into(),
            since: Timestamp::UNIX_EPOCH,
            limit,
            progress: Progress::default(),
        }
    }

    fn rows(tape: &Tape) -> Vec<Value> {
        let text = std::fs::read_to_string(&tape.path).unwrap();
        assert!(text.ends_with('\n') && text.len() as u64 <= tape.limit);
        text.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    fn output(text: &str) -> Event {
        Event::Output(text.as_bytes().to_vec())
    }

    #[test]
    fn a_recording_is_its_owner_s_and_holds_what_was_shown_and_typed() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(directory.path(), u64::MAX);
        let euro = "a€".as_bytes();
        for event in [
            Event::Output(euro[..2].to_vec()),
            Event::Input(b"\r".to_vec()),
            Event::Size(Size { rows: 40, cols: 132 }),
            Event::Output(euro[2..].to_vec()),
            Event::Size(Size { rows: 41, cols: 133 }),
            Event::Input(b"\xe2".to_vec()),
            Event::Note("ended".into()),
        ] {
            tape.add(AT, &event, 0);
        }
        tape.end(0);
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
            tape.add(AT, &output(&"x".repeat(500)), 0);
        }
        tape.end(0);
        let rows = rows(&tape);
        assert_eq!(rows.last().unwrap()[2], "the recording has reached record_limit");
        assert!((15..25).contains(&rows.len()), "{}", rows.len());
    }

    #[test]
    fn a_file_that_exists_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(directory.path(), u64::MAX);
        std::fs::write(&tape.path, "mine").unwrap();
        tape.add(AT, &output("x"), 0);
        tape.end(0);
        assert_eq!(std::fs::read_to_string(&tape.path).unwrap(), "mine");
    }

    #[test]
    fn what_could_not_be_written_is_said_when_it_can_be_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut tape = tape(&directory.path().join("later"), u64::MAX);
        tape.add(AT, &output("lost"), 3);
        std::fs::create_dir(directory.path().join("later")).unwrap();
        tape.add(AT, &output("kept"), 0);
        // As if a disk had been full in the middle of a row.
        let file = tape.progress.file.as_ref().unwrap();
        file.write_all_at(b"[1.5, \"o\", \"half", tape.progress.length).unwrap();
        tape.end(0);
        let missing = "7 bytes are missing here: the disk was full or too slow";
        assert_eq!(rows(&tape)[1..], [json!([1.5, "m", missing]), json!([1.5, "o", "kept"])]);
    }
}
