//! A cluster on this machine, made as operators do: a real etcd, an api host from `cluster init`,
//! and hosts that joined.

use std::fs;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;

use crate::machine::Machine;
use crate::machine::Process;
use crate::peers::Programs;
use crate::peers::free_address;
use crate::peers::said;

/// How long etcd may take to start.
const START: Duration = Duration::from_secs(30);

/// The api host's name.
pub(crate) const API: &str = "api-1";

/// The common part of every host's configuration.
const COMMON: &str = "[api]\nlisten = 127.0.0.1:0\n\
    [consoleauth]\ntoken_ttl = 86400\n\
    [limits]\nconnections_per_address = 0\nsessions_per_user = 0\nsessions_per_address = 0\n\
    [serial_console]\nenabled = true\nserialproxy_host = 127.0.0.1\nserialproxy_port = 0\n\
    [cluster]\nlisten = 127.0.0.1:0\n";

/// The cluster's etcd, and the files of its hosts.
#[derive(Debug)]
pub(crate) struct Cluster {
    program: PathBuf,
    machine: Machine,
    work: PathBuf,
    /// The URL of its etcd.
    pub(crate) etcd: String,
    process: Process,
}

impl Cluster {
    /// Starts etcd on the core of guests and clients, and makes the api host.
    pub(crate) async fn start(programs: &Programs, machine: &Machine) -> anyhow::Result<Self> {
        let work = programs.fresh("cluster")?;
        let (client, peer) = (free_address()?, free_address()?);
        let (etcd, peer) = (format!("http://{client}"), format!("http://{peer}"));
        let log = File::create(work.join("etcd.log"))?;
        let mut command = machine.command(machine.load, "etcd".as_ref());
        command.args(["--name", "node", "--data-dir"]).arg(work.join("etcd"));
        command.args(["--listen-client-urls", &etcd, "--advertise-client-urls", &etcd]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("node={peer}"), "--logger", "zap"]);
        command.args(["--log-level", "error"]);
        let process = Process::start(command.stdout(log.try_clone()?).stderr(log))?;
        let program = programs.serialproxy.clone();
        let mut cluster = Self { program, machine: *machine, work, etcd, process };
        cluster.wait_for_etcd(client).await?;
        let options = format!("etcd_endpoints = {}\nname = {API}\n", cluster.etcd);
        cluster.configure(API, &options)?;
        said(Command::new(&cluster.program).args(["cluster", "init"]).args(cluster.files(API)))?;
        Ok(cluster)
    }

    /// Lets a host join. `options` are the end of its configuration, which begins in the group
    /// `[cluster]`; `api` is the address of the api host.
    pub(crate) fn join(
        &self,
        api: &str,
        (host, role): (&str, &str),
        options: &str,
    ) -> anyhow::Result<()> {
        let mut enroll = Command::new(&self.program);
        enroll.args(["enroll", "--role", role, &format!("--cluster-advertise={api}")]);
        let line = said(enroll.args(self.files(API)))?;
        let mut join = Command::new(&self.program);
        join.args(line.split_whitespace().skip(1)).args(["--name", host]);
        said(join.args(self.files(host)))?;
        self.configure(host, options)
    }

    /// Starts a role of a host on a core; returns its ready line, too.
    pub(crate) fn run(
        &self,
        (host, role): (&str, &str),
        core: usize,
    ) -> anyhow::Result<(Process, String)> {
        let log = File::create(self.work.join(format!("{host}.log")))?;
        let mut command = self.machine.command(core, &self.program);
        command.arg(role).args(self.files(host)).stdout(Stdio::piped()).stderr(log);
        let mut process = Process::start(&mut command)?;
        let ready = process.first_line()?;
        Ok((process, ready))
    }

    /// The process of its etcd.
    pub(crate) fn etcd_process(&self) -> u32 {
        self.process.id()
    }

    /// Keeps only the process of etcd, once the hosts run.
    pub(crate) fn into_etcd(self) -> Process {
        self.process
    }

    /// The state directory of a host.
    pub(crate) fn state(&self, host: &str) -> PathBuf {
        self.work.join(host)
    }

    fn configuration(&self, host: &str) -> PathBuf {
        self.work.join(format!("{host}.conf.d"))
    }

    fn configure(&self, host: &str, options: &str) -> anyhow::Result<()> {
        let directory = self.configuration(host);
        fs::create_dir_all(&directory)?;
        Ok(fs::write(directory.join("own.conf"), format!("{COMMON}{options}"))?)
    }

    fn files(&self, host: &str) -> [String; 2] {
        let (state, configuration) = (self.state(host), self.configuration(host));
        [
            format!("--state-dir={}", state.display()),
            format!("--config-dir={}", configuration.display()),
        ]
    }

    async fn wait_for_etcd(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let (start, url) = (Instant::now(), format!("http://{address}/health"));
        let http = reqwest::Client::builder().no_proxy().build()?;
        loop {
            let answer = http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            ensure!(self.process.runs()?, "etcd ended: its log is in {}", self.work.display());
            ensure!(start.elapsed() < START, "etcd does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
