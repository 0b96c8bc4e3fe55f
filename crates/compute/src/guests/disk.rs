//! A guest's own files, in `STATE/guests/UUID`: its disk, which is a qcow2 overlay over the image's,
//! and its serial ports' sockets.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::ServerId;
use tokio::process::Command;

use crate::hypervisor::without_paths;

/// A file in the directory of a guest that is not defined yet, or is being deleted. A directory
/// without it is removed only together with its server: a libvirt that lost its domains may find
/// them again.
const UNFINISHED: &str = "unfinished";

/// How long making an overlay may take: it has only a few hundred KiB of metadata.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest path of a unix socket on Linux (unix(7)).
const MAX_SOCKET: usize = 107;

/// Makes a guest's disk, and returns its path.
pub(super) async fn make(state: &Path, id: ServerId, base: &Path) -> Result<PathBuf, ComputeError> {
    let directory = make_directory(state, id).map_err(|error| failed(&error))?;
    let format = format(base).map_err(|error| failed(&error))?;
    let disk = directory.join("disk.qcow2");
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", format, "-b"]).arg(base).arg(&disk);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(output) => output.map_err(|error| failed(&error))?,
        Err(_) => return Err(failed(&"qemu-img did not finish in time")),
    };
    if output.status.success() {
        return Ok(disk);
    }
    Err(failed(&String::from_utf8_lossy(&output.stderr).trim()))
}

/// The paths for the sockets of this many serial ports. libvirt creates them and makes QEMU's user
/// their owner.
pub(super) fn sockets(state: &Path, id: ServerId, count: u8) -> Result<Vec<PathBuf>, ComputeError> {
    let directory = make_directory(state, id).map_err(|error| {
        let text = without_paths(&error.to_string());
        ComputeError::Failed(format!("the guest's directory cannot be created: {text}"))
    })?;
    let sockets: Vec<_> = (0..count).map(|port| directory.join(format!("serial{port}"))).collect();
    if sockets.iter().any(|socket| socket.as_os_str().len() > MAX_SOCKET) {
        return Err(ComputeError::Invalid(format!(
            "the paths of the guest's sockets would be longer than {MAX_SOCKET} bytes: choose a \
             shorter --state-dir, or [compute] transport = tcp"
        )));
    }
    Ok(sockets)
}

/// Records that a domain is defined with a guest's files, if it has any.
pub(super) async fn keep(state: &Path, id: ServerId) {
    let directory = directory(state, id);
    let kept = tokio::task::spawn_blocking(move || unmark(&directory)).await;
    if let Err(error) = kept.unwrap_or_else(|error| Err(error.into())) {
        tracing::error!(server = %id, %error,
            "a guest's files are still marked as unfinished: remove the file `unfinished` among \
             them");
    }
}

/// Records that a guest's files are about to be removed with it, if it has any.
pub(super) async fn give_up(state: &Path, id: ServerId) {
    let directory = directory(state, id);
    let given_up = tokio::task::spawn_blocking(move || mark(&directory)).await;
    match given_up.unwrap_or_else(|error| Err(error.into())) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::error!(server = %id, %error, "if the deletion of a guest is interrupted, \
                     its files will remain");
        }
        _ => {}
    }
}

fn mark(directory: &Path) -> std::io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(directory.join(UNFINISHED)).map(drop)
}

fn unmark(directory: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(directory.join(UNFINISHED)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what interrupted boots and deletions left behind. `known` must be all domains, and no
/// boot may be in progress.
pub(super) fn clean(state: &Path, known: &BTreeSet<ServerId>) -> std::io::Result<()> {
    let all = match std::fs::read_dir(state.join("guests")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        all => all?,
    };
    for entry in all {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<ServerId>().ok());
        let Some(id) = id else { continue };
        let directory = entry.path();
        if known.contains(&id) {
            unmark(&directory)?;
        } else if directory.join(UNFINISHED).try_exists()? {
            std::fs::remove_dir_all(&directory)?;
            tracing::info!(server = %id, "removed the files of a guest whose boot was interrupted");
        } else {
            tracing::warn!(server = %id, directory = %directory.display(),
                "libvirt no longer knows a guest that serialproxy made: remove its files if you \
                 do not need them");
        }
    }
    Ok(())
}

/// Removes a guest's files, if it has any.
pub(super) async fn remove(state: &Path, id: ServerId) {
    match tokio::fs::remove_dir_all(directory(state, id)).await {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::error!(server = %id, %error, "a deleted guest's files could not be removed");
        }
        _ => {}
    }
}

/// QEMU's user must be able to enter the directory; libvirt makes the files accessible to it alone.
/// The content is unfinished until [`keep`].
fn make_directory(state: &Path, id: ServerId) -> std::io::Result<PathBuf> {
    let directory = std::path::absolute(directory(state, id))?;
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&directory)?;
    mark(&directory)?;
    Ok(directory)
}

fn directory(state: &Path, id: ServerId) -> PathBuf {
    state.join("guests").join(id.to_string())
}

/// The image's format, from its first bytes: everything but qcow2 is raw.
fn format(base: &Path) -> std::io::Result<&'static str> {
    let mut magic = [0; 4];
    let read = std::fs::File::open(base)?.read(&mut magic)?;
    Ok(if read == 4 && magic == *b"QFI\xfb" { "qcow2" } else { "raw" })
}

fn failed(error: &dyn std::fmt::Display) -> ComputeError {
    let text = without_paths(&error.to_string());
    ComputeError::Failed(format!("the guest's disk cannot be created (qemu-img): {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guest_gets_an_overlay_and_leaves_nothing() {
        let state = tempfile::tempdir().unwrap();
        let base = state.path().join("base.img");
        std::fs::write(&base, vec![0; 1024 * 1024]).unwrap();
        let id = ServerId::of_static("guest");
        let disk = match make(state.path(), id, &base).await {
            Ok(disk) => disk,
            Err(error) if error.to_string().contains("No such file") => return,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(format(&disk).unwrap(), "qcow2");
        assert_eq!(format(&base).unwrap(), "raw");
        remove(state.path(), id).await;
        assert!(!disk.exists() && !directory(state.path(), id).exists());
        remove(state.path(), id).await;
    }

    #[tokio::test]
    async fn what_was_never_finished_is_removed_and_what_may_be_a_guest_s_stays() {
        let state = tempfile::tempdir().unwrap();
        let at = |name: &str| directory(state.path(), ServerId::of_static(name));
        let make = |name: &str| {
            let directory = make_directory(state.path(), ServerId::of_static(name)).unwrap();
            std::fs::write(directory.join("disk.qcow2"), "disk").unwrap();
        };
        for name in ["unfinished", "known", "lost", "given up"] {
            make(name);
        }
        // The last is a guest of a version that wrote no marks.
        let others = [state.path().join("guests/notes"), at("older")];
        others.iter().for_each(|other| std::fs::create_dir(other).unwrap());
        for name in ["lost", "given up"] {
            keep(state.path(), ServerId::of_static(name)).await;
        }
        give_up(state.path(), ServerId::of_static("given up")).await;
        let known = ServerId::of_static("known");
        clean(state.path(), &BTreeSet::from([known])).unwrap();
        assert!(!at("unfinished").exists() && !at("given up").exists());
        assert!(at("known").exists() && at("lost").exists());
        assert!(others.iter().all(|other| other.exists()));
        // Now it counts as finished.
        clean(state.path(), &BTreeSet::new()).unwrap();
        assert!(at("known").join("disk.qcow2").exists());
        remove(state.path(), known).await;
        assert!(!at("known").exists());
    }

    #[test]
    fn a_state_directory_that_is_too_deep_for_sockets_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let id = ServerId::of_static("guest");
        let deep = state.path().join("d".repeat(MAX_SOCKET));
        assert!(matches!(sockets(&deep, id, 1), Err(ComputeError::Invalid(_))));
        assert_eq!(sockets(&deep, id, 0), Ok(Vec::new()));
        let sockets = sockets(state.path(), id, 2).unwrap();
        assert!(sockets.len() == 2 && sockets[0].parent().unwrap().is_dir());
    }
}
