//! `serialproxy serve` as a separate process, and calls to its API.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serialproxy_proto::id::ServerId;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::within;

/// The program under test.
pub fn program() -> PathBuf {
    let path = std::env::var_os("SERIALPROXY_TEST_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/serialproxy"),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is missing: run `make build` first", path.display());
    path
}

/// An HTTP client that accepts any certificate: the tests of TLS verify certificates.
pub fn http() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true)
}

/// A running `serialproxy serve` on ports of its own; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    /// `http://127.0.0.1:P` of the API.
    pub api: String,
    /// `127.0.0.1:P` of the proxy.
    pub proxy: String,
    state: Arc<TempDir>,
    flags: Vec<String>,
    by: Vec<String>,
    running: Running,
    http: reqwest::Client,
}

/// How long the log of a process that has ended is read on.
const LAST_LOGGED: Duration = Duration::from_secs(5);

/// No limits for an address or a user, since all clients of a test share one.
const LIMITS: &str =
    "[limits]\nconnections_per_address = 0\nsessions_per_user = 0\nsessions_per_address = 0\n";

/// The server name of a line that [`Server::with_lines`] makes.
fn line_name(line: usize) -> String {
    format!("line{line}")
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body as JSON; null when it is empty or not JSON.
    pub json: Value,
    /// The headers.
    pub headers: http::HeaderMap,
}

impl Answer {
    /// The message of a fault.
    pub fn message(&self) -> &str {
        let fault = self.json.as_object().and_then(|object| object.values().next());
        fault.and_then(|fault| fault["message"].as_str()).unwrap_or_default()
    }
}

impl Server {
    /// Starts the program with these flags and a new state directory. It serves only simulated
    /// ports unless the flags include `--compute-drivers`.
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_by(&[], flags).await
    }

    /// Starts it through a command that executes it, such as `setpriv`.
    pub async fn start_by(by: &[&str], flags: &[&str]) -> Self {
        let state = tempfile::Builder::new().prefix("serialproxy-").tempdir().unwrap();
        let mut flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        for (flag, value) in [
            ("--compute-drivers", "static"),
            ("--api-listen", "127.0.0.1:0"),
            ("--serial_console-serialproxy_host", "127.0.0.1"),
            ("--serial_console-serialproxy_port", "0"),
        ] {
            if !flags.iter().any(|given| given == flag) {
                flags.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        let by: Vec<String> = by.iter().map(|&word| word.to_owned()).collect();
        if !by.is_empty() {
            // It may run as another user.
            let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(state.path(), all).unwrap();
        }
        Self::run(Arc::new(state), by, flags).await
    }

    /// Starts the program with this many lines, all to guests at one address, each with its own
    /// server; `more` are further lines of `[static]`.
    pub async fn with_lines(lines: usize, guests: SocketAddr, more: &str) -> Self {
        let own = (0..lines).map(|line| format!("line = {} tcp://{guests}\n", line_name(line)));
        let own: String = own.collect();
        let config = format!("[serial_console]\nenabled = true\n{LIMITS}[static]\n{own}{more}\n");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("serialproxy.conf");
        std::fs::write(&file, config).unwrap();
        Self::start(&["--config-file", file.to_str().unwrap()]).await
    }

    /// Waits until a line that [`Self::with_lines`] made is connected; its server's UUID.
    pub async fn connected(&self, line: usize) -> String {
        let id = ServerId::of_static(&line_name(line)).to_string();
        within(async { while self.line(&id, 0).await["state"] != "connected" {} }).await;
        id
    }

    /// Starts the program again on the same state, after this process has ended.
    pub async fn restart(&mut self) -> Self {
        self.ended().await;
        Self::run(Arc::clone(&self.state), self.by.clone(), self.flags.clone()).await
    }

    async fn run(state: Arc<TempDir>, by: Vec<String>, flags: Vec<String>) -> Self {
        let running = Running::start_by(&by, "serve", state.path(), &flags).await;
        let (api, proxy) = (running.url("api="), running.address("proxy="));
        let http = http().build().unwrap();
        Self { api, proxy, state, flags, by, running, http }
    }

    /// `127.0.0.1:P` of the API.
    pub fn api_address(&self) -> &str {
        self.api.split_once("://").unwrap().1
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The admin token.
    pub fn admin_token(&self) -> String {
        std::fs::read_to_string(self.state().join("admin-token")).unwrap().trim().to_owned()
    }

    /// Everything that has been logged so far.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.process.id().unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        self.running.ended().await
    }

    /// A call of the API as administrator; the body may be empty.
    pub async fn call(&self, method: Method, path: &str, body: &str) -> Answer {
        let url = format!("{}{path}", self.api);
        let request = self
            .http
            .request(method, url)
            .header("X-Auth-Token", self.admin_token())
            .header("Content-Type", "application/json")
            .body(body.to_owned());
        let response = within(request.send()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = within(response.bytes()).await.unwrap();
        Answer { status, json: serde_json::from_slice(&bytes).unwrap_or_default(), headers }
    }

    /// `GET` of the API as administrator.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    /// `POST` to the API as administrator.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.call(Method::POST, path, body).await
    }

    /// A fresh console token; `query` for example `?port=1&mode=watch`.
    pub async fn token(&self, server: &str, query: &str) -> String {
        let path = format!("/v3/servers/{server}/get-serial-console{query}");
        let answer = self.post(&path, "").await;
        assert_eq!(answer.status, 202, "{:?}", answer.json);
        let url = answer.json["serial_console"]["url"].as_str().unwrap();
        url.split_once("token=").unwrap().1.to_owned()
    }

    /// One line, as `/v1/lines` returns it.
    pub async fn line(&self, server: &str, port: u8) -> Value {
        self.get(&format!("/v1/lines/{server}/{port}")).await.json
    }

    /// The client, ready to run against this server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("SERIALPROXY_API_URL", &self.api)
            .env("SERIALPROXY_TOKEN", self.admin_token())
            // Without the settings of the person who runs the tests.
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .kill_on_drop(true);
        command
    }

    /// Runs the client against this server; returns its output.
    pub async fn client(&self, arguments: &[&str]) -> std::process::Output {
        within(self.command(arguments).stdin(Stdio::null()).output()).await.unwrap()
    }

    /// A value of `/proc/PID/status` that is in kB, such as `VmRSS`; in bytes.
    pub fn memory(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }
}

/// A role of the program that is ready.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Child,
    log: Arc<Mutex<String>>,
    logging: JoinHandle<()>,
    ready: String,
}

impl Running {
    /// Starts it, at debug level and on this state.
    pub(crate) async fn start(role: &str, state: &Path, flags: &[String]) -> Self {
        Self::start_by(&[], role, state, flags).await
    }

    /// Starts it through another command.
    pub(crate) async fn start_by(
        by: &[String],
        role: &str,
        state: &Path,
        flags: &[String],
    ) -> Self {
        let program = program();
        let words: Vec<&OsStr> =
            by.iter().map(OsStr::new).chain([program.as_os_str(), OsStr::new(role)]).collect();
        let (first, rest) = words.split_first().unwrap();
        let mut process = Command::new(first)
            .args(rest)
            .arg("--debug")
            .arg("--state-dir")
            .arg(state)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::default();
        let logging = tokio::spawn(keep_log(process.stderr.take().unwrap(), Arc::clone(&log)));
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut ready = String::new();
        within(stdout.read_line(&mut ready)).await.unwrap();
        Self { process, log, logging, ready }
    }

    /// Everything that has been logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the process has ended, and its log is complete.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = within(self.process.wait()).await.unwrap();
        if !self.logging.is_finished() {
            // A process that it started may still have its log.
            let _ = tokio::time::timeout(LAST_LOGGED, &mut self.logging).await;
        }
        status
    }

    /// The address after this name in the role's ready line.
    pub(crate) fn url(&self, name: &str) -> String {
        let word = self.ready.split_whitespace().find_map(|word| word.strip_prefix(name));
        word.unwrap_or_else(|| panic!("not ready: {:?}\n{}", self.ready, self.log())).to_owned()
    }

    /// The same, without its scheme.
    pub(crate) fn address(&self, name: &str) -> String {
        self.url(name).split_once("://").map_or("", |(_, address)| address).to_owned()
    }
}

async fn keep_log(stderr: tokio::process::ChildStderr, log: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap();
        log.push_str(&line);
        log.push('\n');
    }
}
