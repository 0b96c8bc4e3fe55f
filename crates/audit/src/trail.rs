//! Writing to a trail: lines are appended, files are closed by size and age, and the chain goes on over
//! both, and over processes.
//!
//! Several processes of a host may write to one trail, so each locks it for a write, and looks whether it
//! still ends where this process left it.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use jiff::SignedDuration;
use jiff::Timestamp;
use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::EventName;

use crate::files;
use crate::files::CURRENT;
use crate::files::Head;
use crate::files::closed_path;
use crate::files::last_line;
use crate::seal;
use crate::seal::GENESIS;

/// If the last event lies further ahead, the clock was set back.
const CLOCK_SET: SignedDuration = SignedDuration::from_secs(5);

/// A trail, as one process writes to it.
#[derive(Debug)]
pub(crate) struct Trail {
    directory: PathBuf,
    max_size: u64,
    max_age: Duration,
    /// Where it ended at the last write.
    end: Option<End>,
}

/// The end of a trail.
#[derive(Debug)]
struct End {
    file: File,
    size: u64,
    /// When the first event of the file happened.
    first: Option<Timestamp>,
    /// When the last event happened.
    last: Option<Timestamp>,
    /// What the next line follows.
    hash: String,
}

/// What became of a write.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The lines that are in the trail now, without their newlines.
    pub(crate) lines: Vec<String>,
    /// How many of the events are.
    pub(crate) events: usize,
    /// Why the others are not, or the head is old.
    pub(crate) error: Option<io::Error>,
}

impl Trail {
    pub(crate) fn new(directory: PathBuf, max_size: u64, max_age: Duration) -> Self {
        Self { directory, max_size, max_age, end: None }
    }

    /// Appends events. Without any it only does what is due.
    pub(crate) fn append(&mut self, events: &[Event], now: Timestamp) -> Written {
        let mut written = Written::default();
        written.error = self.try_append(events, now, &mut written).err();
        written
    }

    fn try_append(
        &mut self,
        events: &[Event],
        now: Timestamp,
        written: &mut Written,
    ) -> io::Result<()> {
        files::make(&self.directory)?;
        let _lock = files::lock(&self.directory)?;
        let known = self.end.take().filter(|end| end.is_at(&self.directory.join(CURRENT)));
        let (mut end, gap) = match known {
            Some(end) => (end, None),
            None => self.find_end(now)?,
        };
        let is_old = |first| now.duration_since(first).unsigned_abs() >= self.max_age;
        if end.first.is_some_and(is_old) {
            end = self.close(end)?;
        }
        let gaps = usize::from(gap.is_some());
        for event in gap.iter().chain(events) {
            let event = end.following(event)?;
            let line = seal::json(&event)?;
            if end.size > 0 && end.size + line.len() as u64 >= self.max_size {
                end = self.close(end)?;
            }
            end.write(&line, event)?;
            written.lines.push(line);
            written.events = written.lines.len().saturating_sub(gaps);
        }
        end.file.sync_data()?;
        self.prune(&end.hash)?;
        self.write_head(&end.hash)?;
        self.end = Some(end);
        Ok(())
    }

    /// Where the trail ends, and what of it is missing: after a crash, or somebody changed it.
    fn find_end(&self, now: Timestamp) -> io::Result<(End, Option<Event>)> {
        let path = self.directory.join(CURRENT);
        let file = files::open(&path, OpenOptions::new().read(true).append(true).create(true))?;
        let (complete, mut line) = last_line(&file)?;
        let torn = file.metadata()?.len() > complete;
        if torn {
            file.set_len(complete)?;
        }
        let closed = files::closed(&self.directory)?.pop().map(|(_, path)| path);
        if line.is_none()
            && let Some(path) = &closed
        {
            line = last_line(&File::open(path)?)?.1;
        }
        let last = line.as_deref().and_then(|line| seal::open(line).ok());
        let end = |hash: &str| End {
            first: first_time(&path),
            last: last.as_ref().map(|event| event.time),
            size: complete,
            hash: hash.to_owned(),
            file,
        };
        let gap = |cause| Event::new(EventName::AuditGap, now).cause(cause);
        let head = Head::read(&self.directory)?;
        let reached = match (&head, &last) {
            (None, None) => line.is_none(),
            (None, Some(_)) => false,
            (Some(head), None) => head.last == GENESIS && line.is_none(),
            (Some(head), Some(last)) => {
                head.last == last.hash || self.contains(closed.as_deref(), &head.last)?
            }
        };
        let hash = last.as_ref().map_or(GENESIS, |last| &last.hash);
        Ok(match reached {
            true => (end(hash), torn.then(|| gap("torn").count(1))),
            // It follows what is missing, so the chain stays broken here.
            false => (end(head.as_ref().map_or(GENESIS, |head| &head.last)), Some(gap("cut"))),
        })
    }

    /// Whether one of the newest lines has this hash: a crash may keep the head from being written.
    fn contains(&self, closed: Option<&Path>, hash: &str) -> io::Result<bool> {
        if hash == GENESIS && closed.is_none() {
            return Ok(true);
        }
        let current = self.directory.join(CURRENT);
        for path in closed.into_iter().chain([&*current]) {
            for line in BufReader::new(File::open(path)?).split(b'\n') {
                if seal::own_hash(&line?) == Some(hash) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Closes the current file, and begins the next one.
    fn close(&self, end: End) -> io::Result<End> {
        end.file.sync_data()?;
        // Its age counts from now.
        end.file.set_modified(SystemTime::now())?;
        let newest = files::closed(&self.directory)?.last().map_or(0, |(number, _)| *number);
        let current = self.directory.join(CURRENT);
        fs::rename(&current, closed_path(&self.directory, newest + 1))?;
        let file = files::open(&current, OpenOptions::new().read(true).append(true).create(true))?;
        File::open(&self.directory)?.sync_all()?;
        Ok(End { file, size: 0, first: None, ..end })
    }

    /// Removes closed files that are too old. Head says first what the oldest line follows then.
    fn prune(&self, last: &str) -> io::Result<()> {
        for (_, path) in files::closed(&self.directory)? {
            let file = File::open(&path)?;
            if file.metadata()?.modified()?.elapsed().unwrap_or_default() < self.max_age {
                return Ok(());
            }
            if let Some(first) = last_line(&file)?.1.as_deref().and_then(seal::own_hash) {
                let head = Head { last: last.to_owned(), first: first.to_owned() };
                head.write(&self.directory)?;
            }
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn write_head(&self, last: &str) -> io::Result<()> {
        let first = Head::read(&self.directory)?.map_or_else(|| GENESIS.into(), |head| head.first);
        Head { last: last.to_owned(), first }.write(&self.directory)
    }
}

impl End {
    /// Whether the trail still ends here.
    fn is_at(&self, path: &Path) -> bool {
        let same = || {
            let own = self.file.metadata().ok()?;
            let (id, size) = (files::identity(path)?, own.len());
            use std::os::unix::fs::MetadataExt;
            Some(id == (own.dev(), own.ino()) && size == self.size)
        };
        same().unwrap_or_default()
    }

    /// The event as it is written next: no two events of a host have the same time.
    fn following(&self, event: &Event) -> io::Result<Event> {
        let next = self.last.and_then(|last| last.checked_add(SignedDuration::from_millis(1)).ok());
        let time = match next {
            Some(next) if next.duration_since(event.time) <= CLOCK_SET => next.max(event.time),
            _ => event.time,
        };
        Ok(seal::seal(&Event { time, ..event.clone() }, &self.hash)?)
    }

    /// Writes a line: all of it, or nothing.
    fn write(&mut self, line: &str, event: Event) -> io::Result<()> {
        let text = [line, "\n"].concat();
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += text.len() as u64;
        self.first.get_or_insert(event.time);
        self.last = Some(event.time);
        self.hash = event.hash;
        Ok(())
    }
}

fn first_time(path: &Path) -> Option<Timestamp> {
    let line = BufReader::new(File::open(path).ok()?).split(b'\n').next()?.ok()?;
    Some(seal::open(&line).ok()?.time)
}
