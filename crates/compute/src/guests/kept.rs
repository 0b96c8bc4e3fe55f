//! The output of a guest that libvirt keeps, where the serial port has a `<log>`.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serialproxy_proto::id::LineKey;

use super::Guests;
use crate::domain::Log;

/// How long the file system may take, since a line waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Attempts to read a log while virtlogd rotates it.
const ATTEMPTS: usize = 3;

impl Guests {
    /// The newest bytes, at most `most`, that libvirt has kept of a running guest's port.
    pub(super) async fn kept(&self, line: LineKey, most: usize) -> Option<Vec<u8>> {
        let domain = self.hypervisor.domain(line.server).await;
        let domain = domain.inspect_err(|error| {
            let (line, server) = (self.line_name(line), line.server);
            tracing::warn!(line, %server, %error, "cannot find out whether libvirt keeps a \
                     guest's output");
        });
        let domain = domain.ok().flatten()?;
        domain.facts.run?;
        let log = domain.facts.ports.into_iter().find(|port| port.port == line.port)?.log?;
        let reading = tokio::task::spawn_blocking(move || newest(&log, most));
        let read = match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        read.inspect_err(|error| {
            let (line, server) = (self.line_name(line), line.server);
            tracing::warn!(line, %server, %error, "the output that libvirt keeps of a guest \
                     cannot be read");
        })
        .ok()
    }
}

/// The newest bytes of a log. The beginning of a run may be in a file that virtlogd rotated away;
/// it appends `.0` to the name of the newest.
fn newest(log: &Log, most: usize) -> io::Result<Vec<u8>> {
    for _ in 0..ATTEMPTS {
        let (mut file, inode) = open(&log.file)?;
        let newest = tail(&mut file, most)?;
        if log.append || newest.len() == most {
            return Ok(newest);
        }
        match open(&rotated(&log.file)) {
            Ok((_, other)) if other == inode => {}
            Ok((mut file, _)) => {
                let older = tail(&mut file, most - newest.len())?;
                return Ok([older, newest].concat());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(newest),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("it was rotated repeatedly while it was read"))
}

/// An open file, and the number that identifies it.
fn open(path: &Path) -> io::Result<(File, u64)> {
    // Opening a pipe would wait for its other end.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let file = File::open(path)?;
    let inode = file.metadata()?.ino();
    Ok((file, inode))
}

fn tail(file: &mut File, most: usize) -> io::Result<Vec<u8>> {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let start = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".0");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(directory: &Path, append: bool) -> Log {
        Log { file: directory.join("guest.log"), append }
    }

    #[test]
    fn the_newest_bytes_are_read_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("guest.log"), "0123456789").unwrap();
        for append in [true, false] {
            let log = log(directory.path(), append);
            for (most, expected) in [(0, ""), (3, "789"), (10, "0123456789"), (99, "0123456789")] {
                assert_eq!(newest(&log, most).unwrap(), expected.as_bytes());
            }
        }
    }

    #[test]
    fn what_was_rotated_away_comes_first_unless_it_may_be_of_another_run() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("guest.log"), "56789").unwrap();
        std::fs::write(directory.path().join("guest.log.0"), "01234").unwrap();
        for (append, most, expected) in
            [(false, 7, "3456789"), (false, 99, "0123456789"), (false, 2, "89"), (true, 7, "56789")]
        {
            assert_eq!(newest(&log(directory.path(), append), most).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn a_file_that_is_its_own_predecessor_is_not_read_twice() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("guest.log");
        std::fs::write(&file, "0").unwrap();
        std::fs::hard_link(&file, directory.path().join("guest.log.0")).unwrap();
        assert!(newest(&log(directory.path(), false), 9).is_err());
    }

    #[test]
    fn what_is_no_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(newest(&log(directory.path(), true), 9).is_err());
        std::fs::create_dir(directory.path().join("guest.log")).unwrap();
        assert!(newest(&log(directory.path(), true), 9).is_err());
    }
}
