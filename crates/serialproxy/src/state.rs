//! The state directory of a role.

use std::fs::DirBuilder;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use serialproxy_cluster::Role;

/// Makes the state directory, which only its owner can list.
pub(crate) fn make(directory: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(directory)
        .with_context(|| format!("cannot create the state directory {}", directory.display()))
}

/// Locks the state directory for every role.
pub(crate) fn lock_all(directory: &Path) -> anyhow::Result<Vec<File>> {
    Role::ALL.into_iter().map(|role| lock(directory, role)).collect()
}

/// Locks the state directory for a role: of two processes with the same state, each would take the
/// other's guests for its own.
pub(crate) fn lock(directory: &Path, role: Role) -> anyhow::Result<File> {
    let path = directory.join(format!("{role}.lock"));
    // Any user who could open the file could lock it, and so keep the program from starting.
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = lock.with_context(|| format!("cannot write {}", path.display()))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).with_context(
        || {
            format!(
                "another serialproxy uses {}: stop it, or choose another --state-dir",
                directory.display()
            )
        },
    )?;
    Ok(lock)
}
