//! Claims on lines: at any time, one process of a host owns a line.
//!
//! A claim is a file that is locked (`flock`), so the kernel releases it with its process. All
//! users share the directory and its files. Only the kernel's lock decides who owns a line; the
//! content of the file comes from the owner and is only displayed.

use std::fs::DirBuilder;
use std::fs::Permissions;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::id::LineKey;
use uuid::Uuid;

/// A process id in decimal, at most.
const PID: usize = 10;

/// How often the file of a claim may be replaced while a process tries to lock it.
const TRIES: usize = 8;

/// Files that a sweep checks at most.
const SWEPT: usize = 100_000;

/// Length of a UUID with its hyphens.
const UUID: usize = 36;

/// The directory of the claims.
#[derive(Debug, Default)]
pub struct Claims(Option<PathBuf>);

/// A claimed line. The claim ends when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Claim {
    directory: PathBuf,
    name: String,
    file: OwnedFd,
}

/// Why a line is not claimed.
#[derive(Debug)]
pub(crate) enum Unclaimed {
    /// Another process has claimed it: its id, in that process's PID namespace.
    Held(Option<u32>),
    /// The claim failed.
    Failed(io::Error),
}

/// The name of a claim that includes the endpoint.
pub fn claim_at(line: LineKey, endpoint: &Endpoint) -> String {
    let mut text = format!("{:?} {}", endpoint.kind(), endpoint.address());
    // Each network namespace has its own ports.
    if is_loopback(endpoint)
        && let Ok(namespace) = std::fs::read_link("/proc/self/ns/net")
    {
        text = format!("{text} {}", namespace.display());
    }
    let endpoint = Uuid::new_v5(&line.server.0, text.as_bytes());
    format!("{}-{}-{endpoint}", line.server, line.port)
}

fn is_loopback(endpoint: &Endpoint) -> bool {
    let (Endpoint::Tcp { host, .. }
    | Endpoint::Tls { host, .. }
    | Endpoint::Telnet { host, .. }
    | Endpoint::Incoming { host, .. }
    | Endpoint::Tunnel { host, .. }) = endpoint
    else {
        return false;
    };
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl Claims {
    /// Claims in this directory, which is created where it is missing. Where that fails, a warning
    /// is logged and lines are used without claims.
    pub fn new(directory: &Path) -> Self {
        match open(directory) {
            Ok(_) => {
                sweep(directory);
                Self(Some(directory.to_owned()))
            }
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error,
                    "lines cannot be claimed, so another serialproxy on this host is not \
                     noticed, and other programs are not disconnected from guests' ports: set \
                     [line] claims to a writable directory");
                Self(None)
            }
        }
    }

    /// Whether lines need a claim.
    pub(crate) fn are_made(&self) -> bool {
        self.0.is_some()
    }

    /// Claims a line by name; none where lines need no claim.
    pub(crate) fn take(&self, name: &str) -> Result<Option<Claim>, Unclaimed> {
        let Some(directory) = &self.0 else { return Ok(None) };
        for _ in 0..TRIES {
            if let Some(claim) = Claim::take(directory, name)? {
                return Ok(Some(claim));
            }
        }
        Err(Unclaimed::Failed(io::Error::other("its lock file was replaced repeatedly")))
    }
}

impl Claim {
    /// None where the file was removed before the lock was taken.
    fn take(directory: &Path, name: &str) -> Result<Option<Self>, Unclaimed> {
        let claims = open(directory)?;
        let Some(file) = open_or_make(&claims, name)? else { return Ok(None) };
        let ours = rustix::fs::fstat(&file)?;
        let is_claim =
            FileType::from_raw_mode(ours.st_mode) == FileType::RegularFile && ours.st_nlink <= 1;
        // Any user who may write to the directory can have put any file there.
        if !is_claim {
            return Err(Unclaimed::Failed(io::Error::other(
                "its file in [line] claims is not a lock file: remove it",
            )));
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Unclaimed::Held(holder(&file))),
            Err(error) => return Err(error.into()),
        }
        match rustix::fs::statat(&claims, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        rustix::fs::ftruncate(&file, 0)?;
        rustix::io::pwrite(&file, std::process::id().to_string().as_bytes(), 0)?;
        Ok(Some(Self { directory: directory.to_owned(), name: name.to_owned(), file }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Where the file cannot be removed, the next owner uses it.
        let _ = remove(&self.directory, &self.name, &self.file);
    }
}

impl Unclaimed {
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Held(Some(pid)) if Path::new("/proc").join(pid.to_string()).exists() => {
                format!("served by another serialproxy (pid {pid})")
            }
            Self::Held(Some(pid)) => {
                format!("served by another serialproxy (pid {pid} in another PID namespace)")
            }
            Self::Held(None) => "served by another serialproxy".into(),
            Self::Failed(error) => format!("the line cannot be claimed: {error}"),
        }
    }
}

impl From<io::Error> for Unclaimed {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for Unclaimed {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

/// Opens the directory, which all users share: everyone may create files, and remove only their
/// own.
fn open(directory: &Path) -> io::Result<OwnedFd> {
    if !directory.exists() {
        if let Some(parent) = directory.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        match DirBuilder::new().mode(0o777).create(directory) {
            // The umask removed some of these bits.
            Ok(()) => std::fs::set_permissions(directory, Permissions::from_mode(0o1777))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty())?;
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?;
    Ok(opened)
}

/// Opens a claim's file; none where it was removed at the same time. A file of another user is
/// opened without `O_CREAT`, which the kernel refuses then (`fs.protected_regular`).
fn open_or_make(claims: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let shared = Mode::from_raw_mode(0o666);
    match rustix::fs::openat(claims, name, flags | OFlags::CREATE | OFlags::EXCL, shared) {
        Ok(file) => {
            // The umask removed some of these bits.
            rustix::fs::fchmod(&file, shared)?;
            return Ok(Some(file));
        }
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    match rustix::fs::openat(claims, name, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes the files of processes that were killed. The next owner does not remove all of them:
/// some names contain an endpoint that is not used again.
fn sweep(directory: &Path) {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    for entry in entries.take(SWEPT) {
        let name = entry.file_name();
        // Dropping a claim removes its file; a file that another process has locked stays.
        if let Some(name) = name.to_str().filter(|name| is_name(name)) {
            drop(Claim::take(directory, name));
        }
    }
}

/// Whether this is the name of a claim's file, which begins with a server's UUID.
fn is_name(name: &str) -> bool {
    name.split_at_checked(UUID)
        .is_some_and(|(server, port)| Uuid::try_parse(server).is_ok() && port.starts_with('-'))
}

/// The process id that the file's owner wrote into it.
fn holder(file: impl AsFd) -> Option<u32> {
    let mut pid = [0; PID];
    let length = rustix::io::pread(file, &mut pid, 0).ok()?;
    std::str::from_utf8(pid.get(..length)?).ok()?.parse().ok()
}

fn remove(directory: &Path, name: &str, file: &OwnedFd) -> io::Result<()> {
    let claims = open(directory)?;
    let ours = rustix::fs::fstat(file)?;
    let there = rustix::fs::statat(&claims, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) {
        rustix::fs::unlinkat(&claims, name, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("claims-{}", Uuid::new_v4())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn refused(claims: &Claims, name: &str) -> String {
        claims.take(name).unwrap_err().in_words()
    }

    #[test]
    fn a_line_is_claimed_once_until_the_claim_is_dropped() {
        let place = Place::new();
        let [one, two] = [(); 2].map(|()| Claims::new(&place.0));
        let claim = one.take("a-0").unwrap().unwrap();
        let said = format!("served by another serialproxy (pid {})", std::process::id());
        assert_eq!(refused(&two, "a-0"), said);
        assert!(two.take("a-1").unwrap().is_some());
        drop(claim);
        assert!(two.take("a-0").unwrap().is_some());
        assert_eq!(std::fs::read_dir(&place.0).unwrap().count(), 0, "no claim leaves a file");
    }

    #[test]
    fn what_a_holder_left_that_was_killed_is_claimed_again() {
        let place = Place::new();
        let claims = Claims::new(&place.0);
        std::fs::write(place.0.join("a-0"), "4711").unwrap();
        let _claim = claims.take("a-0").unwrap().unwrap();
        let pid = std::fs::read_to_string(place.0.join("a-0")).unwrap();
        assert_eq!(pid, std::process::id().to_string());
    }

    #[test]
    fn what_killed_processes_left_is_removed_at_the_next_start_and_nothing_else_is() {
        let place = Place::new();
        let held = format!("{}-0", Uuid::new_v4());
        let claims = Claims::new(&place.0);
        let _claim = claims.take(&held).unwrap().unwrap();
        std::fs::write(place.0.join(format!("{}-1-endpoint", Uuid::new_v4())), "4711").unwrap();
        std::fs::write(place.0.join("another's"), "content").unwrap();
        Claims::new(&place.0);
        let left = std::fs::read_dir(&place.0).unwrap().map(|file| file.unwrap().file_name());
        let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
        left.sort();
        let mut expected = [held, "another's".to_owned()];
        expected.sort();
        assert_eq!(left, expected);
        assert_eq!(std::fs::read_to_string(place.0.join("another's")).unwrap(), "content");
    }

    #[test]
    fn a_pid_that_is_none_here_is_said_to_be_of_another_namespace() {
        let place = Place::new();
        let claims = Claims::new(&place.0);
        let _claim = claims.take("a-0").unwrap().unwrap();
        std::fs::write(place.0.join("a-0"), "4294967295").unwrap();
        assert!(refused(&claims, "a-0").ends_with("(pid 4294967295 in another PID namespace)"));
        std::fs::write(place.0.join("a-0"), "x\x1b[2J").unwrap();
        assert_eq!(refused(&claims, "a-0"), "served by another serialproxy");
    }

    #[test]
    fn nothing_is_written_where_a_user_put_something_else() {
        let place = Place::new();
        let claims = Claims::new(&place.0);
        let victim = place.0.join("victim");
        std::fs::write(&victim, "content").unwrap();
        std::os::unix::fs::symlink(&victim, place.0.join("a-0")).unwrap();
        std::fs::hard_link(&victim, place.0.join("a-1")).unwrap();
        std::fs::create_dir(place.0.join("a-2")).unwrap();
        for name in ["a-0", "a-1", "a-2"] {
            let why = refused(&claims, name);
            assert!(why.starts_with("the line cannot be claimed: "), "{name}: {why}");
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "content");
    }

    #[test]
    fn all_users_share_the_directory_and_remove_only_their_own() {
        let place = Place::new();
        let claims = Claims::new(&place.0);
        let _claim = claims.take("a-0").unwrap().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&place.0), 0o1777);
        assert_eq!(mode(&place.0.join("a-0")), 0o666);
    }

    #[test]
    fn where_there_can_be_no_directory_no_line_is_claimed() {
        let place = Place::new();
        std::fs::write(&place.0, "").unwrap();
        assert!(Claims::new(&place.0.join("lines")).take("a-0").unwrap().is_none());
        std::fs::remove_file(&place.0).unwrap();
    }
}
