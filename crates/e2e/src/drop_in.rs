//! `serialproxy proxy` in place of nova-serialproxy.

use std::process::ExitStatus;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use crate::cloud::Cloud;
use crate::port::Guest;
use crate::port::Port;
use crate::server::Running;
use crate::server::program;
use crate::socket::Refused;
use crate::socket::Socket;
use crate::within;

/// A running proxy on a port of its own; killed when it is dropped.
#[derive(Debug)]
pub struct DropIn {
    /// `127.0.0.1:P`
    pub proxy: String,
    running: Running,
    _directory: TempDir,
}

impl DropIn {
    /// Starts it with this nova.conf, to which a port is added, and these flags.
    pub async fn start(nova_conf: &str, flags: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("serialproxy-").tempdir().unwrap();
        let file = directory.path().join("nova.conf");
        std::fs::write(&file, nova_conf).unwrap();
        let mut all = vec!["--config-file".to_owned(), file.to_str().unwrap().to_owned()];
        all.extend(["--host", "127.0.0.1", "--port", "0"].map(str::to_owned));
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let running = Running::start("proxy", directory.path(), &all).await;
        Self { proxy: running.address("proxy="), running, _directory: directory }
    }

    /// Runs it where it is expected to fail at once; returns its exit status and its error text.
    pub async fn give_up(flags: &[&str]) -> (ExitStatus, String) {
        let output = Command::new(program()).arg("proxy").args(flags).output();
        let output = within(output).await.unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    /// Everything that has been logged so far.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Asks it to end, and waits until it has ended.
    pub async fn terminated(mut self) -> ExitStatus {
        let pid = i32::try_from(self.running.process.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        self.running.ended().await
    }
}

/// A proxy in front of a small cloud with one server.
#[derive(Debug)]
pub struct Rig {
    /// Keystone and Nova.
    pub cloud: Cloud,
    /// The server's port.
    pub port: Port,
    /// The server.
    pub server: Uuid,
    /// The proxy.
    pub drop_in: DropIn,
}

impl Rig {
    /// Starts all of it; `more` is added to the proxy's nova.conf, and the proxy gets these flags.
    pub async fn with(more: &str, flags: &[&str]) -> Self {
        let (cloud, port) = (Cloud::start().await, Port::new("vm").await);
        let nova_conf = format!("[DEFAULT]\ntransport_url = rabbit://x\n{}", cloud.login("nova"));
        let nova_conf = format!("{nova_conf}region_name = RegionOne\n{more}\n");
        let drop_in = DropIn::start(&nova_conf, flags).await;
        Self { cloud, port, server: Uuid::new_v4(), drop_in }
    }

    /// The same, without anything added.
    pub async fn new() -> Self {
        Self::with("", &[]).await
    }

    /// A new token for the server's console.
    pub fn token(&self) -> String {
        self.cloud.console_token(self.server, self.port.address())
    }

    /// A raw session with a new token, and the guest's end of the port.
    pub async fn attached(&self) -> (Socket, Guest) {
        let token = self.token();
        let proxy = &self.drop_in.proxy;
        tokio::join!(Socket::raw(proxy, &token), self.port.accept())
    }

    /// A handshake with this token and these headers that is expected to be refused.
    pub async fn refused(&self, token: &str, headers: &[(&str, &str)]) -> Refused {
        Socket::refused(&self.drop_in.proxy, &format!("/?token={token}"), headers).await
    }
}
