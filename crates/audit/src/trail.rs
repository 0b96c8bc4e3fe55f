//! Writing to a trail: lines are appended, files are closed by size and age, and the chain goes on over
//! both, and over processes.
//!
//! Several processes of a host may write to one trail, so each locks it for a write, and looks whether it
//! still ends where this process left it.

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use jiff::SignedDuration;
use jiff::Timestamp;
use rustix::fs::OFlags;
use serialproxy_proto::audit::Event;
use serialproxy_proto::audit::EventName;

use crate::files::APPEND;
use crate::files::CURRENT;
use crate::files::Directory;
use crate::files::Head;
use crate::files::Part;
use crate::files::closed_name;
use crate::files::last_line;
use crate::lines::Lines;
use crate::seal;
use crate::seal::GENESIS;

/// If the last event lies further ahead, the clock was set back.
const CLOCK_SET: SignedDuration = SignedDuration::from_secs(5);

/// A trail, as one process writes to it.
#[derive(Debug)]
pub(crate) struct Trail {
    path: PathBuf,
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
    pub(crate) fn new(path: PathBuf, max_size: u64, max_age: Duration) -> Self {
        Self { path, max_size, max_age, end: None }
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
        let directory = Directory::make(&self.path)?;
        let _lock = directory.lock()?;
        let known = self.end.take().filter(|end| end.is_in(&directory));
        let (mut end, gap) = match known {
            Some(end) => (end, None),
            None => find_end(&directory, now)?,
        };
        let is_old = |first| now.duration_since(first).unsigned_abs() >= self.max_age;
        if end.first.is_some_and(is_old) {
            end = end.close(&directory)?;
        }
        let gaps = usize::from(gap.is_some());
        for event in gap.iter().chain(events) {
            let event = end.following(event)?;
            let line = event.text()?;
            let is_full = end.size + line.len() as u64 >= self.max_size;
            // The events of a file are in order, so that who reads it finds a time in it.
            let is_earlier = end.last.is_some_and(|last| event.time < last);
            if end.size > 0 && (is_full || is_earlier) {
                end = end.close(&directory)?;
            }
            directory.change(|| end.write(&line, event))?;
            written.lines.push(line);
            written.events = written.lines.len().saturating_sub(gaps);
        }
        end.file.sync_data()?;
        self.prune(&directory, &end.hash)?;
        write_head(&directory, &end.hash)?;
        self.end = Some(end);
        Ok(())
    }

    /// Removes closed files that are too old. Head says first what the oldest line follows then.
    fn prune(&self, directory: &Directory, last: &str) -> io::Result<()> {
        for name in directory.closed()?.into_iter().map(closed_name) {
            let file = directory.file(&name, OFlags::RDONLY)?;
            let own = file.metadata()?;
            if own.modified()?.elapsed().unwrap_or_default() < self.max_age {
                return Ok(());
            }
            let line = last_line(&file, own.len())?.1;
            if let Some(first) = line.as_deref().and_then(seal::own_hash) {
                directory.set_head(&Head { last: last.to_owned(), first: first.to_owned() })?;
            }
            directory.remove(&name)?;
        }
        Ok(())
    }
}

/// Where the trail ends, and what of it is missing: after a crash, or somebody changed it.
fn find_end(directory: &Directory, now: Timestamp) -> io::Result<(End, Option<Event>)> {
    let file = directory.file(CURRENT, APPEND)?;
    let size = file.metadata()?.len();
    let (complete, mut line) = last_line(&file, size)?;
    let torn = size > complete;
    if torn {
        directory.change(|| file.set_len(complete))?;
    }
    let closed = directory.closed()?.pop().map(|number| part(directory, &closed_name(number)));
    let closed = closed.transpose()?;
    if line.is_none()
        && let Some(Part { file, size, .. }) = &closed
    {
        line = last_line(file, *size)?.1;
    }
    let last = line.as_deref().and_then(|line| seal::open(line).ok());
    let current = part(directory, CURRENT)?;
    let end = |hash: &str| End {
        first: first_time(&current),
        last: last.as_ref().map(|event| event.time),
        size: complete,
        hash: hash.to_owned(),
        file,
    };
    let gap = |cause| Event::new(EventName::AuditGap, now).cause(cause);
    let head = directory.head()?;
    let reached = match (&head, &last) {
        (None, None) => line.is_none(),
        (None, Some(_)) => false,
        // All that was written was removed, because it was old.
        (Some(head), None) => head.last == head.first && line.is_none(),
        (Some(head), Some(last)) => {
            head.last == last.hash || contains(closed.as_ref(), &current, &head.last)?
        }
    };
    // What follows something missing names it, so the chain stays broken there.
    let of_head = head.as_ref().map_or(GENESIS, |head| &head.last);
    let hash = last.as_ref().filter(|_| reached).map_or(of_head, |last| &last.hash);
    Ok(match reached {
        true => (end(hash), torn.then(|| gap("torn").count(1))),
        false => (end(hash), Some(gap("cut"))),
    })
}

fn part(directory: &Directory, name: &str) -> io::Result<Part> {
    let file = directory.file(name, OFlags::RDONLY)?;
    Ok(Part { name: name.to_owned(), size: file.metadata()?.len(), file })
}

/// Whether one of the newest lines has this hash: a crash may keep the head from being written.
fn contains(closed: Option<&Part>, current: &Part, hash: &str) -> io::Result<bool> {
    if hash == GENESIS && closed.is_none() {
        return Ok(true);
    }
    for part in closed.into_iter().chain([current]) {
        let mut lines = Lines::of(part)?;
        while let Some(line) = lines.next()? {
            if line.complete().and_then(seal::own_hash) == Some(hash) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn first_time(part: &Part) -> Option<Timestamp> {
    let mut lines = Lines::of(part).ok()?;
    let line = lines.next().ok()??;
    Some(seal::open(line.complete()?).ok()?.time)
}

fn write_head(directory: &Directory, last: &str) -> io::Result<()> {
    let first = directory.head()?.map_or_else(|| GENESIS.into(), |head| head.first);
    directory.set_head(&Head { last: last.to_owned(), first })
}

impl End {
    /// Whether the trail still ends here.
    fn is_in(&self, directory: &Directory) -> bool {
        let current = directory.file(CURRENT, OFlags::RDONLY).and_then(|file| file.metadata());
        let (Ok(current), Ok(own)) = (current, self.file.metadata()) else { return false };
        (current.dev(), current.ino()) == (own.dev(), own.ino()) && own.len() == self.size
    }

    /// Closes the current file, and begins the next one.
    fn close(self, directory: &Directory) -> io::Result<Self> {
        self.file.sync_data()?;
        // Its age counts from now.
        self.file.set_modified(SystemTime::now())?;
        let newest = directory.closed()?.pop().unwrap_or_default();
        directory.rename(CURRENT, &closed_name(newest + 1))?;
        let file = directory.file(CURRENT, APPEND)?;
        directory.sync()?;
        Ok(Self { file, size: 0, first: None, ..self })
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
