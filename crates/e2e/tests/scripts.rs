//! The clean-up of the demo (`scripts/demo`) never depends on a reader of its output.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "that is how a test fails")]

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serialproxy_e2e::within;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::process::Command;

/// The traps and the clean-up of `scripts/demo` itself, with replacements for what it starts and removes.
const SCRIPT: &str = r#"
. scripts/lib.sh
stop_service() { kill "$service"; }
remove_guests() { for number in 1 2 3; do say "removing guest $number"; done; }
libvirt() { touch "$libvirt_started"; }
home=$1/home
libvirt_started=$1/libvirt-stopped
mkdir "$home"
sleep 600 &
service=$!
eval "$(sed -n 's#scripts/libvirt#libvirt#; /^clean_up() {/,/^}/p; /^main() {/,/^}/s/^    trap /trap /p' scripts/demo)"
say started
wait || true
"#;

/// A running script whose output goes through a pipe.
struct Script {
    child: Child,
    directory: TempDir,
    /// Both ends of the pipe.
    reader: File,
    writer: File,
}

impl Script {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
        let (mut reader, writer) = (File::from(reader), File::from(writer));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        // With nohup it would ignore the signal, and could not trap it.
        let child = Command::new("env")
            .args(["--default-signal=HUP", "bash", "-c", SCRIPT, "script"])
            .arg(directory.path())
            .current_dir(root)
            .stdout(OwnedFd::from(writer.try_clone().unwrap()))
            .stderr(OwnedFd::from(writer.try_clone().unwrap()))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut started = [0; "==> started\n".len()];
        reader.read_exact(&mut started).unwrap();
        Self { child, directory, reader, writer }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for the end, and returns whether everything was cleaned up.
    async fn is_clean_at_its_end(&mut self) -> bool {
        within(self.child.wait()).await.unwrap();
        let home = self.directory.path().join("home");
        self.directory.path().join("libvirt-stopped").exists() && !home.exists()
    }
}

#[tokio::test]
async fn who_reads_on_is_told_to_the_last_word() {
    let mut script = Script::start();
    script.signal(Signal::HUP);
    assert!(script.is_clean_at_its_end().await);
    drop(script.writer);
    let mut said = String::new();
    script.reader.read_to_string(&mut said).unwrap();
    let removed = "==> removing guest 1\n==> removing guest 2\n==> removing guest 3\n";
    assert_eq!(said, format!("==> stopping the demo\n{removed}"));
}

#[tokio::test]
async fn a_script_whose_reader_has_gone_cleans_up() {
    let mut script = Script::start();
    script.reader = File::open("/dev/null").unwrap();
    script.signal(Signal::HUP);
    assert!(script.is_clean_at_its_end().await);
}

#[tokio::test]
async fn a_script_whose_reader_reads_no_more_cleans_up() {
    let mut script = Script::start();
    let flags = rustix::fs::fcntl_getfl(&script.writer).unwrap();
    rustix::fs::fcntl_setfl(&script.writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while script.writer.write(&[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&script.writer, flags).unwrap();
    script.signal(Signal::HUP);
    assert!(script.is_clean_at_its_end().await);
}
