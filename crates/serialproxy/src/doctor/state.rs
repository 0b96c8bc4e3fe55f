//! The directories that the service writes to. Nothing is written here: the kernel says what may be.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Access;
use rustix::fs::StatVfs;
use rustix::fs::StatVfsMountFlags;
use serialproxy_config::Config;
use serialproxy_config::values::Transport;
use serialproxy_ledger::Ledger;
use serialproxy_ledger::LedgerError;

use super::Subject;
use super::finding::Check;
use super::finding::Finding;

/// Room in bytes that is a warning, or a problem.
const LITTLE: u64 = 1 << 30;
const TOO_LITTLE: u64 = 64 << 20;

/// Most files of the audit trail whose owner is looked at.
const MOST_FILES: usize = 10_000;

/// Files that only the service may read.
const SECRETS: [&str; 4] =
    ["admin-token", "serialproxy.sqlite", "cluster/key.pem", "cluster/ca-key.pem"];

/// Owner, mode, secrets and room.
pub(super) fn check(subject: &Subject) -> Vec<Finding> {
    let config = subject.config();
    let directory = &config.state_dir;
    let mut findings = match directory.metadata() {
        Ok(metadata) => existing(subject, &metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![missing(directory)],
        Err(error) => vec![Finding::problem(
            Check::StateDirectory,
            format!("{} cannot be looked at: {error}", directory.display()),
            "choose another --state-dir, or let this user enter the directories above it",
        )],
    };
    findings.extend(secrets(directory));
    let place = directory.ancestors().find(|place| place.exists());
    if let Some(Ok(space)) = place.map(rustix::fs::statvfs) {
        findings.push(room(directory, &space));
    }
    findings
}

fn missing(directory: &Path) -> Finding {
    let shown = directory.display();
    match may_make(directory) {
        Ok(()) => Finding::ok(
            Check::StateDirectory,
            format!("{shown} does not exist yet: the service creates it at its first start"),
        ),
        Err(error) => Finding::problem(
            Check::StateDirectory,
            format!("{shown} does not exist and cannot be created: {error}"),
            "create it for the service's user, or choose another --state-dir",
        ),
    }
}

fn existing(subject: &Subject, metadata: &Metadata) -> Vec<Finding> {
    let config = subject.config();
    let directory = &config.state_dir;
    let shown = directory.display();
    let problem = |text: String, fix: String| Finding::problem(Check::StateDirectory, text, fix);
    if !metadata.is_dir() {
        let fix = "choose another --state-dir, or remove the file".to_owned();
        return vec![problem(format!("{shown} is not a directory"), fix)];
    }
    let (owner, mode) = (metadata.uid(), metadata.mode());
    let mut findings = Vec::new();
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        let text = format!("every user of this host can replace files in {shown}");
        findings.push(problem(text, format!("run `chmod 711 {shown}`")));
    }
    if let Err(error) = may_use(directory) {
        let text = format!("{} cannot write to {shown}: {error}", subject.who());
        let fix = "run the service and the doctor as the owner of the directory, or choose another \
                   --state-dir";
        findings.push(problem(text, fix.to_owned()));
    }
    findings.extend(foreign(directory, owner));
    let qemu_enters = config.compute.transport == Transport::Unix
        || (config.compute.images_path.starts_with(directory)
            && config.compute.images_path.exists());
    if subject.has_guests() && config.compute.libvirt && qemu_enters && mode & 0o001 == 0 {
        findings.push(Finding::warning(
            Check::StateDirectory,
            format!("QEMU's user cannot enter {shown}, where guests' images or sockets are"),
            format!("run `chmod 711 {shown}`, unless QEMU runs as root"),
        ));
    }
    if findings.is_empty() {
        let text = format!("{shown} belongs to the service, and nobody else can write to it");
        findings.push(Finding::ok(Check::StateDirectory, text));
    }
    findings
}

/// The first file there that the service cannot use: what root wrote while the service runs as another user.
fn foreign(directory: &Path, owner: u32) -> Option<Finding> {
    let shown = directory.display();
    let names = SECRETS.into_iter().chain(["api.lock", "compute.lock", "proxy.lock", "audit"]);
    let trail = serialproxy_audit::directory(directory).read_dir().into_iter().flatten().flatten();
    let is_ours = |name: &str| name.ends_with(".jsonl") || ["head", "lock"].contains(&name);
    let trail = trail.filter(|file| file.file_name().to_str().is_some_and(is_ours));
    let trail = trail.take(MOST_FILES).map(|file| file.path());
    let mut files = names.map(|name| directory.join(name)).chain(trail);
    let text = files.find_map(|file| match file.metadata() {
        Ok(found) if owner != 0 && found.uid() != owner => {
            Some(format!("{} belongs to another user than {shown}", file.display()))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Some(format!("{} cannot be looked at: {error}", file.display()))
        }
        _ => None,
    })?;
    let fix = format!("run `chown -R --reference={shown} {shown}`");
    Some(Finding::problem(Check::StateDirectory, text, fix))
}

/// Whether the service can use the database; no finding where there is none.
pub(super) fn database(subject: &Subject) -> Vec<Finding> {
    let directory = &subject.config().state_dir;
    let path = directory.join("serialproxy.sqlite");
    let (Ok(file), Ok(above)) = (path.metadata(), directory.metadata()) else { return Vec::new() };
    // SQLite begins with an empty file. What belongs to another user is another finding.
    if file.len() == 0 || file.uid() != above.uid() {
        return Vec::new();
    }
    let shown = path.display();
    let (text, fix) = match Ledger::examine(&path) {
        Ok(()) => return vec![Finding::ok(Check::Database, format!("{shown} can be read"))],
        Err(LedgerError::TooNew { found, known }) => (
            format!(
                "{shown} has schema version {found}, and this program knows versions up to {known}"
            ),
            "run the newer serialproxy, or restore the backup from before the upgrade (docs/backup.md)",
        ),
        Err(error @ LedgerError::Failed(_)) => {
            (format!("{shown}: {error}"), "restore a backup (docs/backup.md)")
        }
        Err(error) => (
            format!("{shown}: {error}"),
            "run the doctor as root or as the user of the service, and look at the file's mode and its disk",
        ),
    };
    vec![Finding::problem(Check::Database, text, fix)]
}

fn secrets(directory: &Path) -> Vec<Finding> {
    let open = SECRETS
        .into_iter()
        .map(|name| directory.join(name))
        .filter(|path| path.metadata().is_ok_and(|file| file.mode() & 0o007 != 0));
    let mut findings: Vec<_> = open
        .map(|path| {
            let path = path.display();
            Finding::problem(
                Check::Secrets,
                format!("other users of this host can read {path}"),
                format!(
                    "run `chmod 600 {path}`, and replace what it holds if somebody may have read it"
                ),
            )
        })
        .collect();
    if findings.is_empty() && directory.exists() {
        let text = format!("other users cannot read the secrets in {}", directory.display());
        findings.push(Finding::ok(Check::Secrets, text));
    }
    findings
}

fn room(directory: &Path, space: &StatVfs) -> Finding {
    if space.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Finding::problem(
            Check::StateDirectory,
            format!("{} is on a file system that is mounted read-only", directory.display()),
            "mount it read-write, or choose another --state-dir",
        );
    }
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    // Some file systems count no inodes.
    let is_full = space.f_files > 0 && space.f_favail == 0;
    judge_room(directory, free, is_full)
}

fn judge_room(directory: &Path, free: u64, no_inodes: bool) -> Finding {
    let place = directory.display();
    let text = match no_inodes {
        true => format!("the file system of {place} has no free inode"),
        false => format!("the file system of {place} has {} MiB free", free >> 20),
    };
    let fix = "delete what is not needed there, or choose another --state-dir";
    match free {
        _ if no_inodes => Finding::problem(Check::DiskSpace, text, fix),
        0..TOO_LITTLE => Finding::problem(Check::DiskSpace, text, fix),
        TOO_LITTLE..LITTLE => Finding::warning(Check::DiskSpace, text, fix),
        _ => Finding::ok(Check::DiskSpace, text),
    }
}

/// `[line] claims`, by which two processes on one host never have the same line.
pub(super) fn claims(config: &Config) -> Vec<Finding> {
    let directory = &config.line.claims;
    let shown = directory.display();
    vec![match may_make(directory) {
        Ok(()) => Finding::ok(Check::Claims, format!("lines can be claimed in {shown}")),
        Err(error) => Finding::warning(
            Check::Claims,
            format!(
                "lines cannot be claimed in {shown}: {error}. Another serialproxy on this host would \
                 not be noticed"
            ),
            "set [line] claims to a directory that the service can write to",
        ),
    }]
}

/// The directory of recordings; no finding where there are none.
pub(super) fn recordings(config: &Config) -> Vec<Finding> {
    let Some(place) = &config.serial_console.record.place else { return Vec::new() };
    let shown = place.directory.display();
    vec![match may_make(&place.directory) {
        Ok(()) => Finding::ok(Check::Recordings, format!("sessions can be recorded in {shown}")),
        Err(error) => Finding::problem(
            Check::Recordings,
            format!("sessions cannot be recorded in {shown}: {error}"),
            "set [serial_console] record to a place that the service can write to, or remove it",
        ),
    }]
}

/// Whether this user may write to a directory, or make it where it is missing.
fn may_make(directory: &Path) -> io::Result<()> {
    let existing = directory.ancestors().find(|place| place.exists());
    may_use(existing.unwrap_or_else(|| Path::new("/")))
}

fn may_use(directory: &Path) -> io::Result<()> {
    if !directory.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn little_room_is_a_warning_and_no_room_a_problem() {
        for (free, no_inodes, level) in [
            (LITTLE, false, Level::Ok),
            (LITTLE - 1, false, Level::Warning),
            (TOO_LITTLE - 1, false, Level::Problem),
            (LITTLE, true, Level::Problem),
        ] {
            assert_eq!(judge_room(Path::new("/x"), free, no_inodes).level, level, "{free}");
        }
    }

    #[test]
    fn what_is_missing_can_be_made_where_a_directory_is_above_it() {
        let directory = tempfile::tempdir().unwrap();
        may_make(&directory.path().join("a/b")).unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert!(may_make(&directory.path().join("file/b")).is_err());
    }
}
