//! The program in the background.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

use std::path::Path;
use std::path::PathBuf;
use std::process::Output;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serialproxy_e2e::eventually;
use serialproxy_e2e::server::program;
use serialproxy_e2e::within;
use tempfile::TempDir;

/// A state directory, and its daemon, if it runs; stopped when it is dropped.
struct Daemon(TempDir);

impl Daemon {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn state(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts it from `/tmp`, like a shell; returns the outcome of the first process. Its output is
    /// read to the end, so the daemon must not keep it open.
    async fn start(&self, flags: &[&str]) -> Output {
        let run = tokio::process::Command::new(program())
            .args(["serve", "--state-dir", self.0.path().to_str().unwrap()])
            .args(["--compute-drivers", "static", "--api-listen", "127.0.0.1:0"])
            .args(["--serial_console-serialproxy_port", "0", "--serial_console-daemon"])
            .args(flags)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        within(run).await.unwrap()
    }

    fn pid(&self, file: &Path) -> Pid {
        let text = std::fs::read_to_string(file).unwrap();
        Pid::from_raw(text.strip_suffix('\n').unwrap().parse().unwrap()).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.state("serialproxy.pid").exists() {
            let _ = kill_process(self.pid(&self.state("serialproxy.pid")), Signal::KILL);
        }
    }
}

/// Waits until a log says this: its last lines may be written after the pid file is removed.
async fn says_at_the_end(log: &Path, text: &str) {
    eventually(async || std::fs::read_to_string(log).unwrap().contains(text).then_some(())).await;
}

#[tokio::test]
async fn a_daemon_is_ready_when_its_first_process_ends_and_has_left_the_terminal() {
    let daemon = Daemon::new();
    let output = daemon.start(&[]).await;
    assert!(output.status.success(), "{output:?}");
    let ready = String::from_utf8(output.stdout).unwrap();
    let api = ready.split_whitespace().find_map(|word| word.strip_prefix("api=")).unwrap();
    assert!(reqwest::get(format!("{api}/healthz")).await.unwrap().status().is_success());
    let says = String::from_utf8(output.stderr).unwrap();
    let log = daemon.state("serialproxy.log");
    assert_eq!(says, format!("serialproxy: the log is in {}\n", log.display()));

    let pid = daemon.pid(&daemon.state("serialproxy.pid"));
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    assert_eq!(rustix::process::getsid(Some(pid)).unwrap(), pid);
    assert_eq!(std::fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
    for descriptor in 0..3 {
        let file = std::fs::read_link(process.join(format!("fd/{descriptor}"))).unwrap();
        assert_eq!(file, Path::new("/dev/null"), "{descriptor}");
    }

    kill_process(pid, Signal::TERM).unwrap();
    eventually(async || (!daemon.state("serialproxy.pid").exists()).then_some(())).await;
    says_at_the_end(&log, "stopped").await;
}

#[tokio::test]
async fn log_and_pid_are_in_the_files_that_flags_name_from_where_it_was_started() {
    let daemon = Daemon::new();
    let name = daemon.0.path().file_name().unwrap().to_str().unwrap();
    let [log, pid] = ["log", "pid"].map(|file| format!("{name}/{file}"));
    let output = daemon.start(&["--log-file", &log, "--pid-file", &pid]).await;
    assert!(output.status.success(), "{output:?}");
    let pid = daemon.state("pid");
    kill_process(daemon.pid(&pid), Signal::TERM).unwrap();
    eventually(async || (!pid.exists()).then_some(())).await;
    says_at_the_end(&daemon.state("log"), "stopping").await;
}

#[tokio::test]
async fn a_daemon_that_cannot_start_says_why_and_its_first_process_fails() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let daemon = Daemon::new();
    let output = daemon.start(&["--api-listen", &address]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(says.contains(&format!("cannot listen on {address}")), "{says}");
    assert!(output.stdout.is_empty());
    assert!(!daemon.state("serialproxy.pid").exists());

    let output = daemon.start(&["--serial_console-port_range", "2:1"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test]
async fn a_second_daemon_on_one_state_leaves_the_first_alone() {
    let daemon = Daemon::new();
    assert!(daemon.start(&[]).await.status.success());
    let pid = daemon.pid(&daemon.state("serialproxy.pid"));
    let output = daemon.start(&[]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("another serialproxy uses"));
    assert_eq!(daemon.pid(&daemon.state("serialproxy.pid")), pid);
    rustix::process::test_kill_process(pid).unwrap();
}
