//! Replacing whole files.

use std::fs::DirBuilder;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::fchown;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::openat;
use rustix::fs::renameat;
use rustix::fs::unlinkat;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The users who may read a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Readers {
    /// All users who can reach it.
    All,
    /// Only its owner.
    Owner,
}

/// Writes a file. A reader finds either the old or the new content, also after a crash.
pub(crate) fn replace(path: &Path, text: &str, readers: Readers) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = open_directory(directory)?;
    let mut new = name.to_owned();
    new.push(".new");
    // A file that a crash left behind may have another mode.
    let _ = unlinkat(&directory, &new, AtFlags::empty());
    let mode = if readers == Readers::Owner { 0o600 } else { 0o644 };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(openat(&directory, &new, flags, Mode::from_raw_mode(mode))?);
    let written = adopt(&file, &directory).and_then(|()| file.write_all(text.as_bytes()));
    let written = written.and_then(|()| file.sync_all());
    let written = written.and_then(|()| Ok(renameat(&directory, &new, &directory, name)?));
    if written.is_err() {
        let _ = unlinkat(&directory, &new, AtFlags::empty());
    }
    written?;
    directory.sync_all()
}

/// Makes a directory and its parents.
pub(crate) fn make_directory(path: &Path, readers: Readers) -> io::Result<()> {
    match open_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map(drop),
    }
    let mode = if readers == Readers::Owner { 0o700 } else { 0o755 };
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    let Some(above) = path.parent() else { return Ok(()) };
    adopt(&open_directory(path)?, &File::open(above)?)
}

/// Opens a directory. It is not a link: root's commands write into directories of the service's user, who could
/// let one lead anywhere.
fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, path, flags, Mode::empty())?))
}

/// If root writes into a directory of the service's user, the file becomes that user's.
fn adopt(file: &File, directory: &File) -> io::Result<()> {
    let (directory, own) = (directory.metadata()?, file.metadata()?);
    if own.uid() != 0 || directory.uid() == 0 {
        return Ok(());
    }
    fchown(file, Some(directory.uid()), Some(directory.gid()))
}

/// The text of a file of limited size.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other("the file is larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_with_the_mode_that_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        fs::write(directory.path().join("key.pem.new"), "left by a crash").unwrap();
        fs::write(&path, "old").unwrap();
        replace(&path, "new", Readers::Owner).unwrap();
        assert_eq!(read(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
    #[test]
    fn nothing_is_written_where_a_link_in_the_place_of_the_directory_leads() {
        let (state, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let place = state.path().join("cluster");
        symlink(other.path(), &place).unwrap();
        assert!(make_directory(&place, Readers::Owner).is_err());
        assert!(replace(&place.join("key.pem"), "key", Readers::Owner).is_err());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
    }
}
