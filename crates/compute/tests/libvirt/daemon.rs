//! A libvirtd of the test's own: nothing of the host's libvirt is touched, and nothing is left.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

/// Keeps the daemons within a mount and a process namespace, and does what it reads.
const SCRIPT: &str = r#"
set -e
mount --make-rprivate /
for place in run:/run lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt etc:/etc/libvirt; do
    mkdir -p "$1/${place%%:*}"
    mount --bind "$1/${place%%:*}" "${place#*:}"
done
mkdir -p /run/lock /run/libvirt /var/lib/libvirt/qemu
printf '%s\n' 'user = "root"' 'group = "root"' 'security_driver = "none"' 'cgroup_controllers = []' \
    'remember_owner = 0' >/etc/libvirt/qemu.conf
virtlogd -d
while read -r word; do
    case $word in
        start) libvirtd >>/var/log/libvirt/libvirtd.log 2>&1 & daemon=$! ;;
        kill) { kill -9 $daemon; wait $daemon; } 2>/dev/null || : ;;
    esac
    echo done
done
"#;

/// The daemon and all guests under it, which end with this value.
pub(crate) struct Daemon {
    directory: tempfile::TempDir,
    process: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) images: PathBuf,
}

impl Daemon {
    /// One without a running daemon; `None` where this machine cannot have one. With
    /// `SERIALPROXY_TEST_GUEST_IMAGE` set, the directory of the image `demo`, it must have one.
    pub(crate) fn prepare() -> Option<Self> {
        let required = std::env::var_os("SERIALPROXY_TEST_GUEST_IMAGE");
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/guest-image/demo");
        let image = PathBuf::from(required.clone().unwrap_or_else(|| built.into()));
        let able = image.join("image.toml").exists()
            && is_root()
            && ["unshare", "libvirtd", "virtlogd", "qemu-system-x86_64"].iter().all(exists);
        assert!(able || required.is_none(), "needs root, libvirt, QEMU and the guest image");
        if !able {
            eprintln!("left out: needs root, libvirt, QEMU and the guest image");
            return None;
        }
        Some(Self::new(image.parent().unwrap().canonicalize().unwrap()))
    }

    fn new(images: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["bash", "-c", SCRIPT, "bash"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { directory, process, words, answers, images }
    }

    /// Starts the daemon.
    pub(crate) fn start(&mut self) {
        self.say("start");
    }

    /// Kills the daemon, not its guests.
    pub(crate) fn kill(&mut self) {
        self.say("kill");
    }

    pub(crate) fn uri(&self) -> String {
        let socket = self.directory.path().join("run/libvirt/libvirt-sock");
        format!("qemu+unix:///system?socket={}", socket.display())
    }

    /// Runs virsh, and returns what it prints.
    pub(crate) fn virsh(&self, arguments: &[&str]) -> String {
        let mut virsh = Command::new("virsh");
        let output = virsh.args(["-c", &self.uri()]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Stops the hypervisor process of a guest, which then answers nobody.
    pub(crate) fn freeze(&self, guest: &str) {
        let process = format!("guest={guest},");
        let found = Command::new("pgrep").args(["-f", &process]).output().unwrap();
        let id = String::from_utf8(found.stdout).unwrap();
        let stopped = Command::new("kill").args(["-STOP", id.trim()]).status().unwrap();
        assert!(stopped.success(), "process {id:?} of {guest}");
    }

    fn say(&mut self, word: &str) {
        writeln!(self.words, "{word}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "the private libvirt does not work here");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn exists(program: &&str) -> bool {
    let which = Command::new("which").arg(program).output();
    which.is_ok_and(|output| output.status.success())
}
