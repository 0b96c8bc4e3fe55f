//! The directory of recordings: their total size, and which of them are removed.
//!
//! A recording that is being written is locked, by this process or by another that records to the
//! same directory, and stays.

use std::fs::DirEntry;
use std::fs::File;
use std::fs::Metadata;
use std::fs::TryLockError;
use std::io;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use serialproxy_config::values::RecordPlace;
use serialproxy_proto::id::SessionId;

/// How often to look for expired recordings.
const SWEEP: Duration = Duration::from_secs(3600);

/// How often to look for room while there is none.
const RETRY: Duration = Duration::from_secs(1);

/// This part of the total size is left free after a removal: otherwise each written row could
/// remove another recording.
const LEFT: u64 = 16;

/// A file uses disk space in multiples of this size: otherwise many short files would count as
/// almost nothing.
pub(super) const BLOCK: u64 = 4096;

/// The directory of recordings, and its limits.
#[derive(Debug)]
pub(super) struct Shelf {
    place: RecordPlace,
    keep: Option<Duration>,
    total: u64,
    /// Bytes of all files at the last check, plus those written since.
    used: u64,
    /// When to look for expired recordings.
    sweep_at: Instant,
    /// When to look for room again, while there is none.
    retry_at: Instant,
}

/// A recording in the directory.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    modified: SystemTime,
    length: u64,
}

impl Shelf {
    pub(super) fn new(place: RecordPlace, keep: Option<Duration>, total: u64) -> Self {
        let now = Instant::now();
        Self { place, keep, total, used: 0, sweep_at: now, retry_at: now }
    }

    /// Removes expired recordings if that is due; returns the time until the next call.
    pub(super) fn remove_expired(&mut self) -> Duration {
        let now = Instant::now();
        if self.sweep_at <= now {
            self.make_room(0);
            self.sweep_at = now + SWEEP;
        }
        self.sweep_at.saturating_duration_since(now)
    }

    /// Reserves room for bytes to write.
    ///
    /// # Errors
    ///
    /// When the running recordings leave no room for them.
    pub(super) fn take(&mut self, bytes: u64) -> io::Result<()> {
        if self.used + bytes > self.total && self.retry_at <= Instant::now() {
            self.make_room(bytes);
            if self.used + bytes > self.total {
                self.retry_at = Instant::now() + RETRY;
            }
        }
        if self.used + bytes > self.total {
            let why = "the running recordings have reached [serial_console] record_total";
            return Err(io::Error::new(ErrorKind::QuotaExceeded, why));
        }
        self.used += bytes;
        Ok(())
    }

    /// Removes expired recordings, and the oldest others until there is room.
    fn make_room(&mut self, bytes: u64) {
        let mut kept = match self.kept() {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "old recordings cannot be listed or removed");
                return;
            }
        };
        kept.sort_by_key(|recording| recording.modified);
        self.used = kept.iter().map(|recording| recording.length).sum();
        let oldest = self.keep.and_then(|keep| SystemTime::now().checked_sub(keep));
        let most = match self.used + bytes > self.total {
            true => self.total.saturating_sub(self.total / LEFT + bytes),
            false => u64::MAX,
        };
        for recording in kept {
            let why = match oldest {
                Some(oldest) if recording.modified < oldest => "it is older than record_days",
                _ if self.used > most => "all recordings together exceed record_total",
                _ => continue,
            };
            if remove(&recording.path, why) {
                self.used -= recording.length;
            }
        }
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        let is_ours =
            |file: &DirEntry| is_ours(&file.file_name().to_string_lossy(), &self.place.name);
        let files = self.place.directory.read_dir()?.flatten().filter(is_ours);
        let kept = files.filter_map(|file| {
            let metadata = file.metadata().ok().filter(Metadata::is_file)?;
            let modified = metadata.modified().ok()?;
            let length = metadata.len().max(1).next_multiple_of(BLOCK);
            Some(Kept { path: file.path(), modified, length })
        });
        Ok(kept.collect())
    }
}

/// Removes a recording unless it is still running; returns whether it did.
fn remove(path: &Path, why: &str) -> bool {
    let removed = File::open(path).and_then(|file| match file.try_lock() {
        Ok(()) => {
            std::fs::remove_file(path)?;
            tracing::info!(file = %path.display(), why, "recording removed");
            Ok(true)
        }
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    });
    removed.unwrap_or_else(|error| {
        tracing::error!(file = %path.display(), %error, "recording cannot be removed");
        false
    })
}

/// Whether this is the name of a recording: the prefix, and a session's id at the end.
fn is_ours(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".cast"));
    let session = rest.and_then(|rest| rest.split_at_checked(rest.len().checked_sub(36)?));
    session.is_some_and(|(_, session)| session.parse::<SessionId>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn block() -> Vec<u8> {
        vec![b'x'; usize::try_from(BLOCK).unwrap()]
    }

    /// A file of one block that was written this long ago.
    fn file(directory: &Path, name: &str, age: Duration) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, block()).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(SystemTime::now() - age)
            .unwrap();
        path
    }

    fn recording(directory: &Path, age: Duration) -> PathBuf {
        file(directory, &format!("a.20260101T000000Z-x-0-{}.cast", SessionId::new()), age)
    }

    fn shelf(directory: &Path, keep: Option<Duration>, total: u64) -> Shelf {
        let place = RecordPlace { directory: directory.to_owned(), name: "a.".into() };
        Shelf::new(place, keep, total)
    }

    #[test]
    fn recordings_that_are_too_old_are_removed_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let [old, fresh] = [DAY * 2, DAY / 2].map(|age| recording(directory, age));
        let foreign = file(directory, &format!("b.x-{}.cast", SessionId::new()), DAY * 2);
        let other = file(directory, "a.notes.cast", DAY * 2);
        shelf(directory, None, u64::MAX).remove_expired();
        assert!(old.exists());
        let next = shelf(directory, Some(DAY), u64::MAX).remove_expired();
        assert!(!old.exists() && !next.is_zero());
        assert!(fresh.exists() && foreign.exists() && other.exists());
    }

    #[test]
    fn a_recording_counts_by_what_it_takes_of_the_disk_however_short_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let all: Vec<_> = (1..10).map(|days| recording(directory, DAY * days)).collect();
        all.iter().for_each(|file| std::fs::write(file, "x").unwrap());
        shelf(directory, None, 5 * BLOCK).remove_expired();
        assert_eq!(all.iter().filter(|file| file.exists()).count(), 4);
    }

    #[test]
    fn the_oldest_go_first_when_all_take_too_much_and_one_that_goes_on_stays() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let [a, b, c, d] = [4, 3, 2, 1].map(|days| recording(directory, DAY * days));
        let foreign = file(directory, "b.cast", DAY * 9);
        let mut goes_on = File::options().append(true).open(&a).unwrap();
        goes_on.lock().unwrap();
        let mut shelf = shelf(directory, None, 4 * BLOCK);
        shelf.remove_expired();
        let mut write =
            |shelf: &mut Shelf| shelf.take(BLOCK).map(|()| goes_on.write_all(&block()).unwrap());
        let there = || [&a, &b, &c, &d, &foreign].map(|file| file.exists());
        assert_eq!(there(), [true; 5], "there is room");
        write(&mut shelf).unwrap();
        assert_eq!(there(), [true, false, false, true, true]);
        write(&mut shelf).unwrap();
        write(&mut shelf).unwrap();
        assert_eq!(there(), [true, false, false, false, true]);
        assert_eq!(write(&mut shelf).unwrap_err().kind(), ErrorKind::QuotaExceeded);
        drop(goes_on);
        shelf.retry_at = Instant::now();
        shelf.take(BLOCK).unwrap();
        assert_eq!(there(), [false, false, false, false, true]);
    }
}
