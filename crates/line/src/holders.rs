//! Finds the program that holds a guest's port in `/proc` of this host. A process of root sees the
//! files of all processes, another only those of its own user.

use std::collections::HashMap;
use std::fmt;
use std::fs::Metadata;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serialproxy_proto::endpoint::Endpoint;
use tokio::sync::Mutex;

use crate::diag;
use crate::stream::Stream;

/// How long a found holder of a file is taken from an earlier search.
const FRESH: Duration = Duration::from_secs(5);

/// How long an earlier search counts that found no holder of a file.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Most open files that a search records.
const FILES: usize = 1_000_000;

/// Characters of a program's name (`TASK_COMM_LEN`).
const NAME: usize = 16;

/// The last search. Callers that need one while another is running wait for it.
static LAST: Mutex<Option<Look>> = Mutex::const_new(None);

/// A file that a program may hold open.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum File {
    /// A socket, by its inode.
    Socket(u64),
    /// A terminal, by its file system and its number there.
    Terminal(u64, u64),
}

/// Which process holds which file.
#[derive(Clone, Debug)]
struct Look {
    started: Instant,
    holders: Arc<HashMap<File, u32>>,
}

/// A process and the name of its program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// Its process id.
    pub pid: u32,
    /// The name of its program, in printable characters.
    pub name: String,
}

impl Program {
    /// Whether it has this socket open now.
    pub(crate) async fn holds(&self, inode: u64) -> bool {
        let pid = self.pid;
        let held = blocking(move || files(pid).any(|(file, _)| file == File::Socket(inode))).await;
        held == Some(true)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// The program that has this socket open, if it can be seen.
pub(crate) async fn of_socket(inode: u64) -> Option<Program> {
    program(File::Socket(inode), Duration::ZERO).await
}

/// The programs that have these sockets open, by inode, as far as they can be seen.
pub async fn programs_of(sockets: &[u64]) -> HashMap<u64, Program> {
    let Some(look) = blocking(look).await else { return HashMap::new() };
    let holders = sockets.iter().filter_map(|inode| {
        let pid = *look.holders.get(&File::Socket(*inode))?;
        Some((*inode, Program { pid, name: name(pid) }))
    });
    holders.collect()
}

/// The program that listens at an address of this host, in words; none if it cannot be seen.
pub(crate) async fn of_listener(address: SocketAddr) -> Option<String> {
    let inode = blocking(move || diag::listens(address)).await??;
    Some(program(File::Socket(inode), UNKNOWN).await?.to_string())
}

/// The program that holds a guest's port, other than our connection to it, in words; none if it
/// cannot be seen.
pub(crate) async fn of_port(endpoint: &Endpoint, ours: Option<&Stream>) -> Option<String> {
    if let Endpoint::Unix(path) = endpoint {
        // As the hypervisor names it, which may be another path to the same socket.
        let bound = ours.and_then(Stream::unix_path);
        let path = bound.unwrap_or_else(|| path.as_os_str().as_bytes().to_owned());
        let inode = blocking(move || diag::unix_client(&path)).await??;
        return Some(program(File::Socket(inode), UNKNOWN).await?.to_string());
    }
    let (ours, port) = match ours.and_then(Stream::tcp_ends) {
        Some((ours, port)) => (Some(ours), port),
        None => (None, endpoint.socket_address()?),
    };
    let client = blocking(move || diag::tcp_client(port, ours)).await??;
    let program = match client.inode {
        Some(inode) => program(File::Socket(inode), UNKNOWN).await,
        None => None,
    };
    let words = program.map(|program| program.to_string());
    words.or_else(|| Some(format!("a client at {}", client.address)))
}

/// Another program that has our side of a guest's pseudo-terminal open, so that both would get only
/// a part of the guest's output. None if there is no such program, or it cannot be seen.
pub(crate) async fn of_terminal(endpoint: &Endpoint) -> Option<String> {
    let Endpoint::Pty(path) = endpoint else { return None };
    let path = path.clone();
    let terminal = blocking(move || path.metadata().ok().map(|file| terminal(&file))).await??;
    Some(program(terminal, Duration::ZERO).await?.to_string())
}

/// The program that holds a file. A search of the age `unknown` is recent enough to say that there
/// is none.
async fn program(file: File, unknown: Duration) -> Option<Program> {
    let asked = Instant::now();
    let mut last = LAST.lock().await;
    let recent = last.clone().filter(|look| {
        let age = look.started.elapsed();
        let most = if look.holders.contains_key(&file) { FRESH } else { unknown };
        look.started >= asked || age < most
    });
    let look = match recent {
        Some(look) => look,
        None => last.insert(blocking(look).await?).clone(),
    };
    drop(last);
    let pid = *look.holders.get(&file)?;
    Some(Program { pid, name: name(pid) })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Finds the sockets that processes have open, and the terminals that other processes have open.
fn look() -> Look {
    let started = Instant::now();
    let ours = std::process::id();
    let processes = entries(Path::new("/proc"));
    let pids = processes.filter_map(|name| name.parse::<u32>().ok());
    let all = pids.flat_map(files);
    let is_anothers = |(file, pid): &(File, u32)| matches!(file, File::Socket(_)) || *pid != ours;
    Look { started, holders: Arc::new(all.filter(is_anothers).take(FILES).collect()) }
}

/// The sockets and terminals that a process has open, each with the process's id.
fn files(pid: u32) -> impl Iterator<Item = (File, u32)> {
    let directory = Path::new("/proc").join(pid.to_string()).join("fd");
    entries(&directory).filter_map(move |fd| Some((file(&directory.join(fd))?, pid)))
}

fn entries(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The socket or terminal that a link of `/proc/PID/fd` leads to.
fn file(link: &Path) -> Option<File> {
    let target = link.read_link().ok()?;
    let target = target.to_str()?;
    if let Some(inode) = target.strip_prefix("socket:[") {
        return inode.strip_suffix(']')?.parse().ok().map(File::Socket);
    }
    // Its device number identifies it, since its path differs in another mount namespace.
    target.contains("/pts/").then(|| link.metadata().ok().map(|file| terminal(&file)))?
}

fn terminal(file: &Metadata) -> File {
    File::Terminal(file.dev(), file.rdev())
}

/// A process's name, which its user can choose.
fn name(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(NAME).collect();
    if shown.is_empty() { "a program".into() } else { shown }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn sockets_are_known_by_their_inodes() {
        let (one, _other) = UnixStream::pair().unwrap();
        let link = format!("/proc/self/fd/{}", one.as_raw_fd());
        let inode = rustix::fs::fstat(&one).unwrap().st_ino;
        assert_eq!(file(Path::new(&link)), Some(File::Socket(inode)));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(file(Path::new(&format!("/proc/self/fd/{}", null.as_raw_fd()))), None);
    }

    #[test]
    fn a_process_is_named_by_what_can_be_shown() {
        assert!(name(std::process::id()).chars().all(|c| c.is_ascii_graphic()));
        assert_eq!(name(u32::MAX), "a program");
    }
}
