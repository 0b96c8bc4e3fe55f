//! How many files this process may have open, and so how many connections.

use std::io;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

/// Connections of users at once, at most.
const CONNECTIONS: usize = 10_000;

/// Raises the limit as far as we may, and says in the log what it is. Returns how many connections
/// users may have: half of it, so that they never take the files that lines need.
///
/// # Errors
///
/// When the kernel refuses a limit that it allowed.
pub(crate) fn raise() -> io::Result<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    let limit = maximum.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let connections = CONNECTIONS.min(limit / 2);
    tracing::info!(
        was = current,
        limit = maximum,
        connections,
        "limit of open files; a session and a line take one each"
    );
    if connections < CONNECTIONS {
        tracing::warn!(
            "more than {connections} connections have to wait: raise the limit of open files \
             (LimitNOFILE= of systemd, ulimit -Hn of a shell) to {}",
            2 * CONNECTIONS
        );
    }
    Ok(connections)
}
