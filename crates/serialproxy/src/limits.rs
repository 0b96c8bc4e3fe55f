//! The limit on this process's open files, and the number of connections that follows from it.

use std::io;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

/// Most simultaneous connections of users.
const CONNECTIONS: usize = 10_000;

/// Files of the process itself: listeners, stores, connections to libvirt, threads' event queues.
const OWN: usize = 512;

/// Raises the limit as far as permitted, and logs it. Returns how many connections users may have,
/// so that they never use the files that lines need.
///
/// # Errors
///
/// When the kernel refuses a limit that it reported as permitted.
pub(crate) fn raise(recorded: bool) -> io::Result<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    let limit = maximum.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let connections = connections(limit, recorded);
    tracing::info!(
        was = current,
        limit = maximum,
        connections,
        "limit of open files; a session takes one, its recording one, and a line two (its port \
         and its lock file)"
    );
    if connections < CONNECTIONS {
        tracing::warn!(
            "only {connections} connections are accepted at a time: to accept more, raise the \
             limit of open files (LimitNOFILE= of systemd, ulimit -Hn of a shell) to {}",
            files_for_all(recorded)
        );
    }
    Ok(connections)
}

/// How many connections users may have within a limit of open files.
pub(crate) fn connections(limit: usize, recorded: bool) -> usize {
    CONNECTIONS.min(limit.saturating_sub(OWN) / share(recorded))
}

/// The limit that is enough for as many connections as are ever accepted.
pub(crate) fn files_for_all(recorded: bool) -> usize {
    share(recorded) * CONNECTIONS + OWN
}

/// One file in this many is for a user's connection; as many are for its recording, and for lines.
fn share(recorded: bool) -> usize {
    if recorded { 3 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_files_that_may_be_open_each_line_has_its_share_also_beside_recordings() {
        assert_eq!(connections(3512, false), 1500);
        assert_eq!(connections(3512, true), 1000);
        assert_eq!(connections(usize::MAX, true), CONNECTIONS);
    }
}
