//! A libvirtd for the tests, in its own namespaces, isolated from the machine's libvirt and its
//! guests.
//!
//! It needs root, libvirt and QEMU. Everything in it ends, and its files are removed, when the
//! process that started it ends for any reason.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

/// Keeps the daemons in a mount and a process namespace, which end with the standard input.
const OUTER: &str = r#"
unshare --mount --pid --fork --kill-child --mount-proc bash -c "$1" bash "$2" "$3"
rm -rf "$2"
"#;

const INNER: &str = r#"
set -e
mount --make-rprivate /
for place in run:/run lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt etc:/etc/libvirt; do
    mkdir -p "$1/${place%%:*}"
    mount --bind "$1/${place%%:*}" "${place#*:}"
done
mkdir -p /run/lock /run/libvirt /var/lib/libvirt/qemu
printf '%s\n' 'user = "root"' 'group = "root"' 'security_driver = "none"' 'cgroup_controllers = []' \
    'remember_owner = 0' "$2" >/etc/libvirt/qemu.conf
virtlogd -d
while read -r word guest; do
    case $word in
        start) libvirtd >>/var/log/libvirt/libvirtd.log 2>&1 & daemon=$! ;;
        # It sees only processes of this namespace.
        freeze) pkill -STOP -f "guest=$guest," ;;
        kill) { kill -9 $daemon; wait $daemon; } 2>/dev/null || : ;;
    esac
    echo done
done
"#;

/// The daemon, and all guests under it.
#[derive(Debug)]
pub struct Libvirtd {
    directory: PathBuf,
    qemu_conf: String,
    process: Child,
    /// Commands to the process that keeps the daemons; none once it must end.
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Libvirtd {
    /// Prepares one; [`start`](Self::start) starts it.
    pub fn prepare() -> Self {
        Self::prepare_with("")
    }

    /// Prepares one with these lines in its `qemu.conf`.
    pub fn prepare_with(qemu_conf: &str) -> Self {
        Self::prepare_by(&[], qemu_conf)
    }

    /// The same through a command that executes another one.
    pub fn prepare_by(by: &[String], qemu_conf: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("libvirtd-").tempdir().unwrap().keep();
        let words = by.iter().map(String::as_str).chain(["bash", "-c", OUTER, "bash", INNER]);
        let words: Vec<&str> = words.collect();
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .arg(&directory)
            .arg(qemu_conf)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { directory, qemu_conf: qemu_conf.into(), process, words, answers }
    }

    /// Starts the daemon, and waits until it responds.
    pub fn start(&mut self) {
        self.say("start");
        let started = std::time::Instant::now();
        while !self.run_virsh(&["version"]).status.success() {
            assert!(started.elapsed() < crate::PATIENCE, "libvirtd does not answer");
        }
    }

    /// Kills the daemon, not its guests.
    pub fn kill(&mut self) {
        self.say("kill");
    }

    /// The additional lines in its `qemu.conf`.
    pub fn qemu_conf(&self) -> &str {
        &self.qemu_conf
    }

    /// Its URI.
    pub fn uri(&self) -> String {
        let socket = self.directory.join("run/libvirt/libvirt-sock");
        format!("qemu+unix:///system?socket={}", socket.display())
    }

    /// Runs virsh; returns its output.
    pub fn virsh(&self, arguments: &[&str]) -> String {
        let output = self.run_virsh(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Defines a domain with these devices, without a disk and a kernel.
    pub fn define(&self, name: &str, id: &str, devices: &str) {
        self.define_xml(&format!(
            "<domain type='qemu'><name>{name}</name><uuid>{id}</uuid>
             <memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>
             <devices>{devices}</devices></domain>"
        ));
    }

    /// Defines a domain.
    pub fn define_xml(&self, xml: &str) {
        let file = self.directory.join("domain.xml");
        std::fs::write(&file, xml).unwrap();
        self.virsh(&["define", file.to_str().unwrap()]);
    }

    fn run_virsh(&self, arguments: &[&str]) -> std::process::Output {
        let mut virsh = Command::new("virsh");
        virsh.args(["-q", "-c", &self.uri()]).args(arguments).output().unwrap()
    }

    /// Stops the hypervisor process of a guest, which then does not respond.
    pub fn freeze(&mut self, guest: &str) {
        self.say(&format!("freeze {guest}"));
    }

    fn say(&mut self, word: &str) {
        let mut answer = String::new();
        if let Some(words) = &mut self.words {
            writeln!(words, "{word}").unwrap();
            self.answers.read_line(&mut answer).unwrap();
        }
        assert_eq!(answer, "done\n", "no private libvirtd: needs root, libvirt and QEMU");
    }
}

impl Drop for Libvirtd {
    fn drop(&mut self) {
        self.words = None;
        let _ = self.process.wait();
    }
}

/// The directory of the image `demo`, which `make guest-image` makes.
pub fn images() -> PathBuf {
    let images = std::env::var_os("SERIALPROXY_TEST_GUEST_IMAGE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest-image"),
        PathBuf::from,
    );
    assert!(images.join("demo/kernel").exists(), "no guest image: run `make guest-image` first");
    images.canonicalize().unwrap()
}
