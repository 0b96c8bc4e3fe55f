//! Replacing whole files.

use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::fchown;
use std::path::Path;

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
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let mode = if readers == Readers::Owner { 0o600 } else { 0o644 };
    // A file that a crash left behind may have another mode.
    let _ = fs::remove_file(new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
    let written = adopt(&file, path).and_then(|()| file.write_all(text.as_bytes()));
    let written = written.and_then(|()| file.sync_all());
    let written = written.and_then(|()| fs::rename(new, path));
    if written.is_err() {
        let _ = fs::remove_file(new);
    }
    written?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Makes a directory and its parents.
pub(crate) fn make_directory(path: &Path, readers: Readers) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mode = if readers == Readers::Owner { 0o700 } else { 0o755 };
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    adopt(&File::open(path)?, path)
}

/// If root writes into a directory of the service's user, the file becomes that user's.
fn adopt(file: &File, path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
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
    use std::os::unix::fs::PermissionsExt;

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
}
