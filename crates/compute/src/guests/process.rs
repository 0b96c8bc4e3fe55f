//! Identifies a guest's hypervisor process: only that may connect where a line listens.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serialproxy_proto::id::ServerId;

use super::Guests;

/// Largest command line in bytes: QEMU's have some ten KiB.
const COMMAND_LINE: u64 = 1024 * 1024;

/// The pause after the domain could not be read. The caller limits the total time.
const AGAIN: Duration = Duration::from_millis(500);

impl Guests {
    /// Whether this process is the guest's hypervisor. libvirt does not report the process, so the
    /// process must run as the user that libvirt chose for the guest, with the guest's UUID:
    /// another process can have one of the two, but not both.
    pub(super) async fn is_process_of(&self, id: ServerId, pid: u32) -> bool {
        let domain = loop {
            match self.hypervisor.domain(id).await {
                Ok(domain) => break domain,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
        let Some(facts) = domain.map(|domain| domain.facts).filter(|facts| facts.run.is_some())
        else {
            return false;
        };
        let looked = tokio::task::spawn_blocking(move || is_hypervisor(pid, id, facts.uid));
        looked.await.is_ok_and(|is| is.unwrap_or(false))
    }
}

/// Whether a process runs as this user, or else as our own, with the guest's UUID.
fn is_hypervisor(pid: u32, id: ServerId, uid: Option<u32>) -> io::Result<bool> {
    let process = Path::new("/proc").join(pid.to_string());
    let owners = |status: &str| uids(status).filter(|uids| uids.len() == 4);
    let wanted = match uid {
        Some(uid) => Some(uid),
        None => owners(&std::fs::read_to_string("/proc/self/status")?)
            .and_then(|uids| uids.get(1).copied()),
    };
    let status = std::fs::read_to_string(process.join("status"))?;
    // All four user ids: any user can start a set-user-ID program, which runs as its owner.
    let is_owner = owners(&status).is_some_and(|uids| uids.iter().all(|uid| Some(*uid) == wanted));
    let mut arguments = Vec::new();
    File::open(process.join("cmdline"))?.take(COMMAND_LINE).read_to_end(&mut arguments)?;
    Ok(is_owner && names(&arguments, id))
}

/// The real, effective, saved and file system user of `/proc/PID/status`.
fn uids(status: &str) -> Option<Vec<u32>> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().map(|uid| uid.parse().ok()).collect()
}

/// Whether QEMU's arguments in `/proc/PID/cmdline` are those of this guest.
fn names(arguments: &[u8], id: ServerId) -> bool {
    let uuid = id.to_string();
    let mut arguments = arguments.split(|byte| *byte == 0);
    arguments.any(|argument| argument == b"-uuid")
        && arguments.next().is_some_and(|named| named.eq_ignore_ascii_case(uuid.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_guest_s_process_has_its_uuid_behind_the_option() {
        let id = ServerId::of_static("db");
        let arguments = |named: &str| format!("qemu\0-name\0guest=db\0-uuid\0{named}\0-S\0");
        assert!(names(arguments(&id.to_string()).as_bytes(), id));
        assert!(names(arguments(&id.to_string().to_uppercase()).as_bytes(), id));
        assert!(!names(arguments(&ServerId::of_static("web").to_string()).as_bytes(), id));
        assert!(!names(format!("qemu\0-name\0{id}\0").as_bytes(), id));
        assert!(!names(b"qemu\0-uuid", id));
        assert!(!names(b"", id));
    }

    #[test]
    fn a_process_counts_with_the_uuid_and_the_user_alone() {
        let id = ServerId::of_static("db");
        let uuid = id.to_string();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo; read -r line", "qemu", "-uuid", &uuid]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The command line may be empty before the program runs.
        shell.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ours = uids(&status).unwrap()[1];
        let other = ours.wrapping_add(1);
        let is = |uid| is_hypervisor(shell.id(), id, uid).unwrap();
        assert_eq!([None, Some(ours), Some(other)].map(is), [true, true, false]);
        let another = ServerId::of_static("web");
        assert!(!is_hypervisor(shell.id(), another, None).unwrap());
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
