//! The files of a trail in `STATE/audit`: `audit.jsonl`, which grows, the closed ones before it
//! (`audit-00000001.jsonl`, …), `head`, and `lock`.

use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::OFlags;

use crate::seal::GENESIS;
use crate::seal::LINE;
use crate::seal::is_hash;

/// The file that grows.
pub(crate) const CURRENT: &str = "audit.jsonl";

const HEAD: &str = "head";

/// Says where the trail ends, and where it begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    /// The hash of the last line.
    pub(crate) last: String,
    /// What the oldest line follows that is kept.
    pub(crate) first: String,
}

impl Head {
    /// None where there is none yet.
    pub(crate) fn read(directory: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match File::open(directory.join(HEAD)) {
            Ok(file) => file.take(256).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut lines = text.lines();
        let last = lines.next().unwrap_or_default().to_owned();
        let first = lines.next().unwrap_or(GENESIS).to_owned();
        let sound = is_hash(&last) && is_hash(&first) && lines.next().is_none();
        Ok(sound.then_some(Self { last, first }))
    }

    /// Replaces the one before: who reads it finds the old one or the new one, also after a crash.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let new = directory.join("head.new");
        let text = match self.first == GENESIS {
            true => format!("{}\n", self.last),
            false => format!("{}\n{}\n", self.last, self.first),
        };
        let mut file = open(&new, OpenOptions::new().write(true).create(true).truncate(true))?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(new, directory.join(HEAD))
    }
}

/// Makes the directory, which its owner alone enters.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().mode(0o700).create(directory)?;
    adopt(&File::open(directory)?, directory)
}

/// Opens a file of the directory, which its owner alone reads.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let no_link = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let file = options.mode(0o600).custom_flags(no_link).open(path)?;
    adopt(&file, path)?;
    Ok(file)
}

/// What root writes into a directory of the service's user is that user's.
fn adopt(file: &File, path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let (parent, own) = (parent.metadata()?, file.metadata()?);
    if own.uid() != 0 || parent.uid() == 0 {
        return Ok(());
    }
    fchown(file, Some(parent.uid()), Some(parent.gid()))
}

/// Waits until no other process writes.
pub(crate) fn lock(directory: &Path) -> io::Result<File> {
    let path = directory.join("lock");
    let lock = open(&path, OpenOptions::new().write(true).create(true).truncate(false))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(lock)
}

/// The closed files, the oldest first.
pub(crate) fn closed(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut closed = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("audit-"));
        let number = number.and_then(|name| name.strip_suffix(".jsonl"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            closed.push((number, entry.path()));
        }
    }
    closed.sort_unstable();
    Ok(closed)
}

/// The path of a closed file.
pub(crate) fn closed_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("audit-{number:08}.jsonl"))
}

/// All files that exist, the oldest first, opened: so a file that is closed meanwhile is there once.
pub(crate) fn all(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let current = directory.join(CURRENT);
    // The newest name may be given to the current file meanwhile.
    let had_current = identity(&current);
    let mut paths: Vec<_> = closed(directory)?.into_iter().map(|(_, path)| path).collect();
    let closed_meanwhile =
        had_current.is_some() && paths.last().and_then(|path| identity(path)) == had_current;
    if had_current.is_some() && !closed_meanwhile {
        paths.push(current);
    }
    Ok(paths)
}

/// Which file is at a path.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

/// Where the complete lines of a file end, and the last of them, without its newline.
pub(crate) fn last_line(file: &File) -> io::Result<(u64, Option<Vec<u8>>)> {
    let size = file.metadata()?.len();
    // A torn line may stand behind the last complete one.
    let from = size.saturating_sub(2 * LINE as u64);
    let mut tail = vec![0; usize::try_from(size - from).unwrap_or_default()];
    file.read_exact_at(&mut tail, from)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok((0, None)) };
    let lines = tail.get(..end).unwrap_or_default();
    let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    Ok((from + end as u64 + 1, lines.get(begin..).map(<[u8]>::to_vec)))
}
