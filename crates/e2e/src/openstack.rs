//! A real OpenStack: Keystone, Nova's API and the clients, as `scripts/openstack` installs them.
//!
//! Each is a Python process of the test, with its own port and directory, and ends when the test
//! drops it. Their databases are made once, and copied for each process.

pub mod clients;
pub mod keystone;
pub mod login;
pub mod nova;

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::io::Lines;
use tokio::process::Child;
use tokio::process::ChildStdin;
use tokio::process::ChildStdout;
use tokio::process::Command;

use crate::within;

/// How much of each log is shown when a test fails.
const LOG_END: usize = 4000;

/// A Python program of `crates/e2e/openstack` that serves a test.
#[derive(Debug)]
pub(crate) struct Process {
    directory: TempDir,
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it in this directory, and waits until it is ready.
    async fn start(program: &str, arguments: &[&str], directory: TempDir) -> Self {
        let mut child = Command::new(python())
            .arg(source(program))
            .args(arguments)
            .current_dir(directory.path())
            .env_remove("PYTHONWARNINGS")
            .env("no_proxy", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(directory.path().join("errors.log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { directory, child, stdin, stdout };
        let word = within(process.stdout.next_line()).await.unwrap();
        assert_eq!(word.as_deref(), Some("ready"), "{program}");
        process
    }

    /// Sends it a command; returns its answer.
    async fn ask(&mut self, command: &Value) -> Value {
        within(self.stdin.write_all(format!("{command}\n").as_bytes())).await.unwrap();
        let answer = within(self.stdout.next_line()).await.unwrap().expect("it has ended");
        serde_json::from_str(&answer).unwrap()
    }

    /// Kills it, and waits until its port is closed.
    async fn kill(&mut self) {
        within(self.child.kill()).await.unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(self.directory.path());
        }
    }
}

fn show_logs(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = fs::read(&path).unwrap_or_default();
            let end = &log[log.len().saturating_sub(LOG_END)..];
            eprintln!("--- {}\n{}", path.display(), String::from_utf8_lossy(end));
        }
    }
}

/// A copy of the databases that `program prepare` makes.
fn prepared(program: &str) -> TempDir {
    let copy = directory();
    for entry in fs::read_dir(databases(program)).unwrap() {
        let entry = entry.unwrap();
        let status =
            std::process::Command::new("cp").arg("-a").arg(entry.path()).arg(copy.path()).status();
        assert!(status.unwrap().success());
    }
    copy
}

/// The directory of the databases that the present version of `program` makes; makes them if they
/// are missing.
fn databases(program: &str) -> PathBuf {
    let sum = Sha256::digest(fs::read(source(program)).unwrap());
    let sum: String = sum.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let place = environment().join("databases").join(format!("{program}-{sum}"));
    let alone = File::create(environment().join("databases.lock")).unwrap();
    alone.lock().unwrap();
    if !place.exists() {
        let directory = directory();
        let made = std::process::Command::new(python())
            .arg(source(program))
            .arg("prepare")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{program}: {made:?}");
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let moved = std::process::Command::new("mv").arg(directory.keep()).arg(&place).status();
        assert!(moved.unwrap().success());
    }
    place
}

fn directory() -> TempDir {
    tempfile::Builder::new().prefix("openstack-").tempdir().unwrap()
}

fn source(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openstack").join(program)
}

fn environment() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/openstack")
}

/// The Python interpreter that `scripts/openstack` installs.
pub fn python() -> PathBuf {
    let python = environment().join("bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/openstack` first", python.display());
    python
}
