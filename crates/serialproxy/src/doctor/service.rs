//! Whether the service itself runs here: then what it holds is not taken.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serialproxy_cluster::Role;

/// The processes that have this state directory: they hold the locks of their roles there. Files on other file systems
/// may have the same number, and `/proc/locks` does not name the device of each as `stat` does (btrfs, overlayfs).
pub(super) fn pids(state_dir: &Path) -> BTreeSet<u32> {
    let locks = Role::ALL
        .into_iter()
        .filter_map(|role| Some(state_dir.join(format!("{role}.lock")).metadata().ok()?.ino()));
    let locks: Vec<u64> = locks.collect();
    let held = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let holders = held.lines().filter_map(holder);
    let holders = holders.filter(|(inode, _)| locks.contains(inode)).map(|(_, pid)| pid);
    holders.filter(|pid| is_serialproxy(*pid)).collect()
}

/// Inode of the file and process of a line of `/proc/locks` (`1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE
/// 0 EOF`) that says who holds one; none for those who wait, or are in another PID namespace.
fn holder(line: &str) -> Option<(u64, u32)> {
    let mut words = line.split_whitespace().skip(1);
    let (kind, pid, file) = (words.next()?, words.nth(2)?, words.next()?);
    let inode = file.rsplit(':').next()?.parse().ok()?;
    (kind == "FLOCK").then_some((inode, pid.parse().ok()?))
}

/// Whether a process runs this program, under whatever name it was started.
pub(super) fn is_serialproxy(pid: u32) -> bool {
    let own = program(std::process::id());
    program(pid).is_some_and(|name| name == "serialproxy" || Some(name) == own)
}

/// The name of the file that a process runs; of a process with more rights, the one that everybody is shown.
fn program(pid: u32) -> Option<String> {
    let Ok(path) = std::fs::read_link(format!("/proc/{pid}/exe")) else {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        return Some(name.trim_end().trim_start_matches("nova-").to_owned());
    };
    let name = path.file_name()?.to_string_lossy().into_owned();
    // As the kernel shows a file that was replaced by an upgrade.
    Some(name.trim_end_matches(" (deleted)").to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::process::Command;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn who_holds_a_lock_is_known_and_who_waits_is_not_taken_for_a_holder() {
        let held = "7: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF";
        assert_eq!(holder(held), Some((1234, 4711)));
        for line in [
            "7: -> FLOCK  ADVISORY  WRITE 4712 fe:00:1234 0 EOF",
            "8: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF",
            "9: FLOCK  ADVISORY  WRITE -1 fe:00:1234 0 EOF",
            "",
        ] {
            assert_eq!(holder(line), None, "{line}");
        }
    }

    #[test]
    fn another_program_that_locks_a_file_of_that_number_is_not_the_service() {
        let state = tempfile::tempdir().unwrap();
        let lock = state.path().join("api.lock");
        let mut other = Command::new("flock");
        other.arg(&lock).args(["sh", "-c", "echo; exec cat"]);
        let mut other = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        other.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        assert!(pids(state.path()).is_empty());
        drop(other.stdin.take());
        other.wait().unwrap();

        let held = File::open(&lock).unwrap();
        held.lock().unwrap();
        assert_eq!(pids(state.path()), BTreeSet::from([std::process::id()]));
    }

    #[test]
    fn nobody_has_a_directory_without_locks() {
        let state = tempfile::tempdir().unwrap();
        assert!(pids(state.path()).is_empty());
        assert!(is_serialproxy(std::process::id()) && !is_serialproxy(u32::MAX));
    }
}
