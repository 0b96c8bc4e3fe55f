//! Hosts of a cluster, as processes on this machine: each role separately, with its own
//! certificate, and a real etcd.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitStatus;

use reqwest::Method;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::eventually;
use crate::server::Answer;
use crate::server::Running;
use crate::server::http;
use crate::server::program;
use crate::within;

/// Makes the certificate of one host in a foreign PKI: `NAME` `URI,URI`.
const ISSUE: &str = r#"
set -e
if ! [ -e ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=cluster CA" \
        -addext "keyUsage=critical,keyCertSign" -keyout ca-key.pem -out ca.pem
fi
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1-key.pem" -out "$1.csr"
printf '%s\n' "basicConstraints=CA:FALSE" "keyUsage=critical,digitalSignature" \
    "extendedKeyUsage=serverAuth,clientAuth" "subjectAltName=$2" >"$1.ext"
openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 90 -extfile "$1.ext" \
    -out "$1.pem"
"#;

/// A cluster: its store, its certificates and its hosts' directories.
#[derive(Debug)]
pub struct Cluster {
    /// The store.
    pub etcd: Etcd,
    directory: TempDir,
}

/// A role of a host, as a process; killed when it is dropped.
#[derive(Debug)]
pub struct Role {
    running: Running,
    state: PathBuf,
}

impl Cluster {
    /// A cluster with an etcd of this many nodes, and nothing else yet.
    pub async fn new(nodes: usize) -> Self {
        let etcd = Etcd::start(nodes).await;
        let directory = tempfile::Builder::new().prefix("cluster-").tempdir().unwrap();
        Self { etcd, directory }
    }

    /// Makes the certificate of a host with these roles.
    pub fn certify(&self, host: &str, roles: &[&str]) {
        let uris = roles.iter().map(|role| format!("URI:serialproxy://{role}/{host}"));
        let uris = uris.collect::<Vec<_>>().join(",");
        let mut issue = Command::new("bash");
        issue.args(["-c", ISSUE, "issue", host, &uris]).current_dir(self.directory.path());
        let issued = issue.output().unwrap();
        assert!(issued.status.success(), "{issued:?}");
    }

    /// Removes the certificate of a host, as `cluster remove` does.
    pub fn remove_certificate(&self, host: &str) {
        let file = self.file(&format!("{host}.pem"));
        let mut read = Command::new("openssl");
        read.args(["x509", "-noout", "-serial", "-in"]).arg(file);
        let serial = String::from_utf8(read.output().unwrap().stdout).unwrap();
        let serial = serial.trim().strip_prefix("serial=").unwrap().to_lowercase();
        // In a certificate it is a signed number (X.690 section 8.3).
        let is_negative = serial.starts_with(|digit: char| digit > '7');
        let serial = if is_negative { format!("00{serial}") } else { serial };
        let value = format!("{{\"host\": \"{host}\"}}");
        self.etcd.ctl(&["put", &format!("/serialproxy/v1/removed/{serial}"), &value]);
    }

    /// A file of the PKI: `ca.pem`, `HOST.pem`, `HOST-key.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a command as on an api host; returns its output.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let etcd = format!("--cluster-etcd_endpoints={}", self.etcd.endpoints().join(","));
        let mut command = tokio::process::Command::new(program());
        let output = within(command.args(arguments).arg(etcd).output()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a role of a host.
    pub async fn start(&self, host: &str, role: &str, flags: &[&str]) -> Role {
        let file = |name: &str| self.file(name).display().to_string();
        let mut all = vec![
            ("--cluster-etcd_endpoints".to_owned(), self.etcd.endpoints().join(",")),
            ("--cluster-name".to_owned(), host.to_owned()),
            ("--cluster-listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("--cluster-ca_file".to_owned(), file("ca.pem")),
            ("--cluster-cert_file".to_owned(), file(&format!("{host}.pem"))),
            ("--cluster-key_file".to_owned(), file(&format!("{host}-key.pem"))),
            ("--compute-drivers".to_owned(), "static".to_owned()),
            ("--api-listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("--serial_console-serialproxy_host".to_owned(), "127.0.0.1".to_owned()),
            ("--serial_console-serialproxy_port".to_owned(), "0".to_owned()),
        ];
        all.retain(|(flag, _)| !flags.contains(&flag.as_str()));
        let all = all.into_iter().flat_map(|(flag, value)| [flag, value]);
        let all = all.chain(["--serial_console-enabled=true".to_owned()]);
        let all: Vec<String> = all.chain(flags.iter().map(|&flag| flag.to_owned())).collect();
        let state = self.directory.path().join(format!("state-{host}"));
        Role::start(role, &state, &all).await
    }
}

impl Role {
    /// Starts a role on the state of a host.
    pub async fn start(role: &str, state: &Path, flags: &[String]) -> Self {
        Self::start_by(&[], role, state, flags).await
    }

    /// The same through a command that executes another one.
    pub async fn start_by(by: &[String], role: &str, state: &Path, flags: &[String]) -> Self {
        let running = Running::start_by(by, role, state, flags).await;
        Self { running, state: state.to_owned() }
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        self.running.ended().await
    }

    /// `http://127.0.0.1:P` of an api role.
    pub fn api(&self) -> String {
        self.running.url("api=")
    }

    /// `127.0.0.1:P` of a proxy.
    pub fn proxy(&self) -> String {
        self.running.address("proxy=")
    }

    /// `127.0.0.1:P` of the listener for other hosts.
    pub fn cluster(&self) -> String {
        self.running.url("cluster=")
    }

    /// `http://127.0.0.1:P` of `[api] metrics_listen`.
    pub fn metrics(&self) -> String {
        self.running.url("metrics=")
    }

    /// Everything that has been logged so far.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Its state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.process.id().unwrap()
    }

    /// Kills it at once.
    pub async fn kill(mut self) {
        self.kill_now().await;
    }

    /// The same of one that is replaced later.
    pub async fn kill_now(&mut self) {
        self.running.process.kill().await.unwrap();
    }

    /// Stops its process without ending it: its connections stay open. Waits until the threads on
    /// other cores have stopped, too.
    pub async fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.pid());
        let stands = |task: std::io::Result<std::fs::DirEntry>| {
            // A thread that has ended meanwhile does not run either.
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
            stat.map_or(true, |stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'))
        };
        eventually(async || std::fs::read_dir(&tasks).unwrap().all(stands).then_some(())).await;
    }

    /// Resumes the process.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end, and waits until it has ended.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        self.ended().await;
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The admin token of an api role.
    pub fn admin_token(&self) -> String {
        std::fs::read_to_string(self.state.join("admin-token")).unwrap().trim().to_owned()
    }

    /// A call to an api role as administrator; the body may be empty.
    pub async fn call(&self, method: Method, path: &str, body: &str) -> Answer {
        self.call_with(&self.admin_token(), method, path, body).await
    }

    /// The same with this token.
    pub async fn call_with(&self, token: &str, method: Method, path: &str, body: &str) -> Answer {
        let url = format!("{}{path}", self.api());
        let request = http().build().unwrap().request(method, url);
        let request = request.header("X-Auth-Token", token);
        let request = request.header("Content-Type", "application/json").body(body.to_owned());
        let response = within(request.send()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = within(response.bytes()).await.unwrap();
        Answer { status, json: serde_json::from_slice(&bytes).unwrap_or_default(), headers }
    }

    /// A console token of an api role; `query` for example `?port=1&mode=watch`.
    pub async fn token(&self, server: &str, query: &str) -> String {
        let path = format!("/v3/servers/{server}/get-serial-console{query}");
        let answer = self.call(Method::POST, &path, "").await;
        assert_eq!(answer.status, 202, "{:?}", answer.json);
        let url = answer.json["serial_console"]["url"].as_str().unwrap();
        url.split_once("token=").unwrap().1.to_owned()
    }
}
