//! The user that the service runs as. Root may read and write everything, which says nothing about the service: its
//! files are looked at by a thread with the rights of its user.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Gid;
use rustix::process::Uid;
use rustix::process::geteuid;
use rustix::thread::set_thread_gid;
use rustix::thread::set_thread_groups;
use rustix::thread::set_thread_uid;
use tokio::process::Command;
use tokio::time::timeout;

use super::Role;
use super::service;

/// How long systemd may take to name the groups of a unit.
const PATIENCE: Duration = Duration::from_secs(3);

/// A user and all its groups.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct User {
    name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// The user of the service, if that is not the one of this process: of the running service, else the owner of its
/// state directory, with the groups of the unit.
pub(super) async fn of_service(state_dir: &Path, role: Role) -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let running = service::pids(state_dir).into_iter().next();
    let running = running.and_then(|pid| of_process(&read(&format!("/proc/{pid}/status"))));
    let mut user = match running {
        Some(user) => user,
        None => {
            let metadata = state_dir.metadata().ok()?;
            let (uid, gid) = (metadata.uid(), metadata.gid());
            let group = read("/etc/group");
            let mut user = of_files(uid, gid, &read("/etc/passwd"), &group);
            user.groups.extend(of_unit(role).await.iter().filter_map(|name| number(&group, name)));
            user
        }
    };
    if let Some(name) = name(&read("/etc/passwd"), user.uid) {
        user.name = name;
    }
    (user.uid != 0).then_some(user)
}

/// The user in `/proc/PID/status`.
fn of_process(status: &str) -> Option<User> {
    let numbers = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<u32>>())
    };
    // Of real, effective, saved and file system's, the second decides.
    let (uid, gid) = (*numbers("Uid:")?.get(1)?, *numbers("Gid:")?.get(1)?);
    Some(User { name: uid.to_string(), uid, gid, groups: numbers("Groups:")? })
}

/// A user as `/etc/passwd` and `/etc/group` have it; `gid` is that of one which they do not have.
fn of_files(uid: u32, gid: u32, passwd: &str, group: &str) -> User {
    let name = name(passwd, uid);
    let own = name.as_deref().and_then(|name| field(passwd, name, 3)?.parse().ok()).unwrap_or(gid);
    let is_in = |line: &&str| {
        let members = line.rsplit(':').next().unwrap_or_default();
        name.as_deref().is_some_and(|name| members.split(',').any(|member| member == name))
    };
    let groups =
        group.lines().filter(is_in).filter_map(|line| line.split(':').nth(2)?.parse().ok());
    let groups = groups.collect();
    User { name: name.unwrap_or_else(|| uid.to_string()), uid, gid: own, groups }
}

/// The names of the groups that systemd gives to the service of a role besides.
async fn of_unit(role: Role) -> Vec<String> {
    let unit = match role {
        Role::Serve => "serialproxy.service".to_owned(),
        role => format!("serialproxy-{}.service", role.name()),
    };
    let mut ask = Command::new("systemctl");
    ask.args(["show", "--property=SupplementaryGroups", "--value", &unit]);
    let output = ask.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output();
    let Ok(Ok(output)) = timeout(PATIENCE, output).await else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

fn number(group: &str, name: &str) -> Option<u32> {
    field(group, name, 2)?.parse().ok()
}

fn name(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

/// A field of the line that begins with a name.
fn field<'a>(table: &'a str, name: &str, field: usize) -> Option<&'a str> {
    table.lines().map(|line| line.split(':')).find_map(|mut fields| {
        (fields.next() == Some(name)).then(|| fields.nth(field - 1)).flatten()
    })
}

impl User {
    /// Its name, or its number.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Does this with the rights of the user alone.
    ///
    /// # Errors
    ///
    /// When they cannot be taken.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let work = || {
            self.take_rights()?;
            Ok(work())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, work)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the check failed")))
        })
    }

    /// The kernel keeps these for each thread: the other ones stay root's.
    fn take_rights(&self) -> io::Result<()> {
        let groups: Vec<_> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups)?;
        set_thread_gid(Gid::from_raw(self.gid))?;
        Ok(set_thread_uid(Uid::from_raw(self.uid))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nserialproxy:x:998:997::/:/sbin/nologin\n";
    const GROUP: &str =
        "serialproxy:x:997:\nkvm:x:101:other,serialproxy\nlibvirt:x:102:serialproxyx\n";

    fn user(name: &str, uid: u32, gid: u32, groups: &[u32]) -> User {
        User { name: name.into(), uid, gid, groups: groups.into() }
    }

    #[test]
    fn a_user_has_the_groups_that_name_it() {
        assert_eq!(of_files(998, 5, PASSWD, GROUP), user("serialproxy", 998, 997, &[101]));
        assert_eq!(of_files(1234, 5, PASSWD, GROUP), user("1234", 1234, 5, &[]));
        assert_eq!((number(GROUP, "libvirt"), number(GROUP, "none")), (Some(102), None));
    }

    #[test]
    fn the_user_of_a_process_is_the_effective_one() {
        let status = "Name:\tserialproxy\nUid:\t0\t998\t998\t998\nGid:\t0\t997\t997\t997\nGroups:\t101 102 \n";
        assert_eq!(of_process(status), Some(user("998", 998, 997, &[101, 102])));
        assert_eq!(of_process(""), None);
    }

    #[test]
    fn a_check_has_the_rights_of_the_user_and_the_others_stay_root_s() {
        if !geteuid().is_root() {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = || std::fs::read(file.path()).is_ok();
        assert!(read() && !user("nobody", 65534, 65534, &[]).run(read).unwrap() && read());
    }
}
