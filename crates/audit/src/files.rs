//! The files of a trail in `STATE/audit`: `audit.jsonl`, which grows, the closed ones before it
//! (`audit-00000001.jsonl`, …), `head`, and `lock`.
//!
//! Root's commands write here too, while the directory belongs to the service's user. So it is opened once,
//! and no name in it leads anywhere else.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Dir;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::seal::GENESIS;
use crate::seal::LINE;
use crate::seal::is_hash;

/// The file that grows.
pub(crate) const CURRENT: &str = "audit.jsonl";

const HEAD: &str = "head";
const LOCK: &str = "lock";

/// How long another process may hold the lock, and how often it is tried meanwhile.
const HELD: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(2);

/// How a file is opened to append to it.
pub(crate) const APPEND: OFlags = OFlags::RDWR.union(OFlags::APPEND).union(OFlags::CREATE);

/// The directory of a trail.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    uid: u32,
    gid: u32,
}

/// A trail as it is between two changes. Later ones change nothing of it.
pub(crate) struct Snapshot {
    pub(crate) head: Option<Head>,
    /// The oldest first.
    pub(crate) parts: Vec<Part>,
}

/// A file of a trail.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) file: File,
    /// What is behind was written later.
    pub(crate) size: u64,
}

impl Directory {
    /// Opens it. The path may lead over links, but is not one itself.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::at(CWD, path, OFlags::NOFOLLOW)
    }

    /// The same, and makes it where it is missing. Its owner alone enters it.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let above = Self::at(CWD, &Path::new(".").join(above), OFlags::empty())?;
        rustix::fs::mkdirat(&above.fd, name, Mode::RWXU)?;
        let made = Self::at(&above.fd, Path::new(name), OFlags::NOFOLLOW)?;
        if geteuid().is_root() && made.uid == 0 && above.uid != 0 {
            fchown(&made.fd, Some(above.uid), Some(above.gid))?;
        }
        Self::open(path)
    }

    fn at(above: impl AsFd, path: &Path, flags: OFlags) -> io::Result<Self> {
        let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = File::from(rustix::fs::openat(above, path, flags, Mode::empty())?);
        let own = fd.metadata()?;
        Ok(Self { fd: fd.into(), uid: own.uid(), gid: own.gid() })
    }

    /// Opens a file, which its owner alone reads.
    pub(crate) fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // A pipe in its place would wait for its other end.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(format!("{name} is not a regular file")));
        }
        if flags.contains(OFlags::CREATE) {
            self.adopt(&file, name)?;
        }
        Ok(file)
    }

    /// What root writes into a directory of the service's user is that user's; a file of somebody else that
    /// has a second name here is not.
    fn adopt(&self, file: &File, name: &str) -> io::Result<()> {
        let own = file.metadata()?;
        if !geteuid().is_root() || self.uid == 0 || own.uid() == self.uid {
            return Ok(());
        }
        if own.uid() != 0 || own.nlink() != 1 {
            let text = format!("{name} does not belong to the owner of its directory");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        fchown(file, Some(self.uid), Some(self.gid))
    }

    /// Waits until no other process writes; not for long, since that one may be stopped.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let lock = self.file(LOCK, OFlags::RDWR | OFlags::CREATE)?;
        wait_for(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(lock)
    }

    /// Makes a change that is whole for readers. It does not wait for the disk, as who has the lock does.
    pub(crate) fn change<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        wait_for(&self.fd, FlockOperation::NonBlockingLockExclusive)?;
        let changed = change();
        rustix::fs::flock(&self.fd, FlockOperation::Unlock)?;
        changed
    }

    /// The trail as it is between two changes.
    pub(crate) fn snapshot(&self) -> io::Result<Snapshot> {
        wait_for(&self.fd, FlockOperation::NonBlockingLockShared)?;
        let snapshot = self.as_it_is();
        rustix::fs::flock(&self.fd, FlockOperation::Unlock)?;
        snapshot
    }

    fn as_it_is(&self) -> io::Result<Snapshot> {
        let head = self.head()?;
        let mut parts = Vec::new();
        let closed = self.closed()?.into_iter().map(closed_name);
        for name in closed.chain([CURRENT.to_owned()]) {
            if let Some(file) = self.existing(&name)? {
                let size = file.metadata()?.len();
                parts.push(Part { name, file, size });
            }
        }
        Ok(Snapshot { head, parts })
    }

    /// Opens a file to read it. None where there is none.
    fn existing(&self, name: &str) -> io::Result<Option<File>> {
        match self.file(name, OFlags::RDONLY) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The numbers of the closed files, the oldest first.
    pub(crate) fn closed(&self) -> io::Result<Vec<u64>> {
        let mut closed = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_str().unwrap_or_default();
            let number = name.strip_prefix("audit-").and_then(|name| name.strip_suffix(".jsonl"));
            // Of two names of one number, the one that we give.
            let number = number.and_then(|number| number.parse().ok());
            closed.extend(number.filter(|number| closed_name(*number) == name));
        }
        closed.sort_unstable();
        Ok(closed)
    }

    /// Where the trail ends and begins; none where that is not known yet.
    pub(crate) fn head(&self) -> io::Result<Option<Head>> {
        let Some(file) = self.existing(HEAD)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(256).read_to_end(&mut bytes)?;
        Ok(std::str::from_utf8(&bytes).ok().and_then(Head::parse))
    }

    /// Replaces the one before: who reads it finds the old one or the new one, also after a crash.
    pub(crate) fn set_head(&self, head: &Head) -> io::Result<()> {
        let new = "head.new";
        match rustix::fs::unlinkat(&self.fd, new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let mut file = self.file(new, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        file.write_all(head.text().as_bytes())?;
        file.sync_data()?;
        self.rename(new, HEAD)
    }

    /// Gives a file another name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|| Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?))
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|| Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?))
    }

    /// Makes the names last.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a lock of a file is free")]
fn wait_for(lock: impl AsFd, operation: FlockOperation) -> io::Result<()> {
    let until = Instant::now() + HELD;
    loop {
        match rustix::fs::flock(&lock, operation) {
            Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(AGAIN),
            Err(Errno::WOULDBLOCK) => {
                let text = "another process holds its lock: `fuser -v` on the file `lock` of the trail names it; \
                            continue it with `kill -CONT`, or end it";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            done => return Ok(done?),
        }
    }
}

/// Says where the trail ends, and where it begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    /// The hash of the last line.
    pub(crate) last: String,
    /// What the oldest line follows that is kept.
    pub(crate) first: String,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let last = lines.next().unwrap_or_default().to_owned();
        let first = lines.next().unwrap_or(GENESIS).to_owned();
        let sound = is_hash(&last) && is_hash(&first) && lines.next().is_none();
        sound.then_some(Self { last, first })
    }

    fn text(&self) -> String {
        match self.first == GENESIS {
            true => format!("{}\n", self.last),
            false => format!("{}\n{}\n", self.last, self.first),
        }
    }
}

/// The name of a closed file.
pub(crate) fn closed_name(number: u64) -> String {
    format!("audit-{number:08}.jsonl")
}

/// Where the complete lines of a file end, and the last of them, without its newline.
pub(crate) fn last_line(file: &File, size: u64) -> io::Result<(u64, Option<Vec<u8>>)> {
    // A torn line may stand behind the last complete one.
    let from = size.saturating_sub(2 * LINE as u64);
    let mut tail = vec![0; usize::try_from(size - from).unwrap_or_default()];
    file.read_exact_at(&mut tail, from)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok((0, None)) };
    let lines = tail.get(..end).unwrap_or_default();
    let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Ok((from + end as u64 + 1, lines.get(begin..).map(<[u8]>::to_vec)))
}
