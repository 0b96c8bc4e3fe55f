//! `serialproxy doctor` on a host of the test's own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::address::free_port;
use crate::pki::Pki;
use crate::server::program;
use crate::within;

/// A user without rights.
const NOBODY: u32 = 65534;

/// A host on which nothing runs: a state directory, free ports, no libvirt.
#[derive(Debug)]
pub struct Patient {
    directory: TempDir,
    flags: Vec<(String, String)>,
    by: Vec<String>,
    env: Vec<(String, String)>,
}

/// What the doctor said.
#[derive(Debug)]
pub struct Said {
    /// The exit code.
    pub code: Option<i32>,
    findings: Vec<Value>,
}

impl Patient {
    /// One that is to run `serve`.
    pub fn new() -> Self {
        let patient = Self::bare();
        std::fs::create_dir(patient.state()).unwrap();
        std::fs::set_permissions(patient.state(), mode(0o711)).unwrap();
        let (state, claims) = (patient.state(), patient.file("claims"));
        patient
            .with("state-dir", state.to_str().unwrap())
            .with("compute-drivers", "static")
            .with("line-claims", claims.to_str().unwrap())
            .with("api-listen", &format!("127.0.0.1:{}", free_port()))
            .with("serial_console-serialproxy_host", "127.0.0.1")
            .with("serial_console-serialproxy_port", &free_port().to_string())
    }

    /// One without any flag, and without a state directory.
    pub fn bare() -> Self {
        let directory = tempfile::Builder::new().prefix("doctor-").tempdir().unwrap();
        Self { directory, flags: Vec::new(), by: Vec::new(), env: Vec::new() }
    }

    /// The same with this flag instead of an earlier one of that name.
    #[must_use]
    pub fn with(mut self, flag: &str, value: &str) -> Self {
        let flag = format!("--{flag}");
        self.flags.retain(|(given, _)| *given != flag);
        self.flags.push((flag, value.to_owned()));
        self
    }

    /// The same, run through a command that runs another in its place.
    #[must_use]
    pub fn run_by(mut self, by: &[&str]) -> Self {
        self.by = by.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The same, run by a user without any right; its directories are that user's.
    #[must_use]
    pub fn run_by_nobody(self) -> Self {
        for place in [self.directory.path().to_owned(), self.state()] {
            std::os::unix::fs::chown(place, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        self.run_by(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    }

    /// The same in this environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a certificate of this PKI, whose CA the host trusts.
    #[must_use]
    pub fn with_certificate(self, pki: &Pki, name: &str) -> Self {
        let file = |part: &str| pki.file(&format!("{name}-{part}.pem")).display().to_string();
        self.with("serial_console-cert", &file("cert"))
            .with("serial_console-key", &file("key"))
            .env("SSL_CERT_FILE", pki.file("ca-cert.pem").to_str().unwrap())
    }

    /// The same with this file in the state directory.
    #[must_use]
    pub fn keeping(self, name: &str, permissions: u32) -> Self {
        let path = self.state().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(path, mode(permissions)).unwrap();
        self
    }

    /// The same with this configuration file.
    #[must_use]
    pub fn configured(self, name: &str, text: &str) -> Self {
        let file = self.file(name);
        std::fs::write(&file, text).unwrap();
        self.with("config-file", file.to_str().unwrap())
    }

    /// A file that goes with it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.file("state")
    }

    /// Changes the mode of the state directory.
    pub fn set_mode(&self, permissions: u32) {
        std::fs::set_permissions(self.state(), mode(permissions)).unwrap();
    }

    /// The value of a flag.
    pub fn value(&self, flag: &str) -> &str {
        let flag = format!("--{flag}");
        &self.flags.iter().find(|(given, _)| *given == flag).unwrap().1
    }

    /// The flags of the service on this host; the state directory is the service's own.
    pub fn service(&self) -> Vec<&str> {
        let own = self.flags.iter().filter(|(flag, _)| flag != "--state-dir");
        own.flat_map(|(flag, value)| [flag.as_str(), value.as_str()]).collect()
    }

    /// Runs the doctor, with these flags besides.
    pub async fn examine(&self, more: &[&str]) -> Said {
        Said::read(&self.run(&[&["-f", "json"], more].concat()).await)
    }

    /// The same at the state of a service that runs.
    pub async fn examine_at(&self, state: &Path) -> Said {
        self.examine(&["--state-dir", state.to_str().unwrap()]).await
    }

    /// Asserts that this is found, and nothing else of another check is bad.
    pub async fn has(&self, level: &str, check: &str, text: &str) {
        let said = self.examine(&[]).await;
        said.has(level, check, text);
        let others = said.bad().into_iter().filter(|finding| finding["check"] != check);
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&Value>::new());
    }

    /// What the doctor prints.
    pub async fn run(&self, more: &[&str]) -> Output {
        let program = program();
        let mut words: Vec<&str> = self.by.iter().map(String::as_str).collect();
        words.extend([program.to_str().unwrap(), "doctor"]);
        // Of two values of an option the later counts.
        let flags = self.flags.iter().filter(|(flag, _)| !more.contains(&flag.as_str()));
        let mut command = Command::new(words[0]);
        let flags = flags.map(|(flag, value)| format!("{flag}={value}"));
        command.args(&words[1..]).args(flags).args(more);
        command.envs(self.env.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        within(command.output()).await.unwrap()
    }
}

impl Default for Patient {
    fn default() -> Self {
        Self::new()
    }
}

impl Said {
    fn read(output: &Output) -> Self {
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let findings = said["findings"].as_array().unwrap().clone();
        Self { code: output.status.code(), findings }
    }

    /// All findings that are not ok.
    pub fn bad(&self) -> Vec<&Value> {
        self.findings.iter().filter(|finding| finding["level"] != "ok").collect()
    }

    /// Asserts that there is no warning and no problem.
    pub fn is_healthy(&self) {
        assert_eq!((self.bad(), self.code), (vec![], Some(0)));
    }

    /// Asserts that this was found.
    pub fn has(&self, level: &str, check: &str, text: &str) {
        let found = self.find(level, check, text);
        let found = found.unwrap_or_else(|| panic!("{level} {check} {text}: {:#?}", self.findings));
        assert_eq!(found["fix"].is_null(), level == "ok", "{found}");
        if level == "problem" {
            assert_eq!(self.code, Some(1));
        }
    }

    /// Whether this was found.
    pub fn finds(&self, level: &str, check: &str, text: &str) -> bool {
        self.find(level, check, text).is_some()
    }

    fn find(&self, level: &str, check: &str, text: &str) -> Option<&Value> {
        self.findings.iter().find(|finding| {
            finding["level"] == level
                && finding["check"] == check
                && finding["text"].as_str().unwrap().contains(text)
        })
    }

    /// Whether a check said anything.
    pub fn mentions(&self, check: &str) -> bool {
        self.findings.iter().any(|finding| finding["check"] == check)
    }
}

fn mode(mode: u32) -> Permissions {
    PermissionsExt::from_mode(mode)
}
