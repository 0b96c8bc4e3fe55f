//! Starting the peers.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;

use crate::load::Load;
use crate::load::Target;
use crate::load::Way;
use crate::machine::Machine;
use crate::machine::Process;
use crate::peer::Peer;
use crate::usage;

pub(crate) mod api;
pub(crate) mod cluster;
mod haproxy;
pub(crate) mod hosts;
mod serialproxy;
mod websockify;

/// The programs, and a directory for their files.
#[derive(Debug)]
pub(crate) struct Programs {
    /// `serialproxy`.
    pub(crate) serialproxy: PathBuf,
    /// `haproxy`.
    pub(crate) haproxy: PathBuf,
    /// `websockify`, in an environment of its own.
    pub(crate) websockify: PathBuf,
    /// A directory for configurations, state and logs.
    pub(crate) work: PathBuf,
}

/// A running peer with a guest behind it; dropping this ends both.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) target: Target,
    /// Its processes; clients connect to the first.
    _processes: Vec<Process>,
    _guest: Process,
}

/// A certificate for this machine, which its clients trust.
#[derive(Debug)]
struct Certificate {
    /// The certificate and its key.
    cert: PathBuf,
    key: PathBuf,
    /// Both in one file.
    both: PathBuf,
}

/// Starts a guest, and a peer in front of it, for this load.
pub(crate) async fn start(
    peer: Peer,
    load: Load,
    quick: bool,
    programs: &Programs,
    machine: &Machine,
) -> anyhow::Result<Running> {
    let core = if load.on_one_core() { machine.proxy } else { machine.load };
    let (guest, address) = start_guest(machine, core).context("the guest")?;
    let direct = Target::guest(address);
    let alone = |(process, target)| (vec![process], target);
    let started = match (peer, load.way()) {
        (Peer::Direct, _) => Ok((Vec::new(), direct)),
        (Peer::Haproxy, way) => haproxy::start(programs, machine, direct, way),
        (Peer::Websockify, _) => websockify::start(programs, machine, direct).map(alone),
        (Peer::Serialproxy, Way::TwoHosts) => {
            hosts::start(programs, machine, direct, load, quick).await
        }
        (Peer::Serialproxy, _) => {
            serialproxy::start(programs, machine, direct, load, quick).await.map(alone)
        }
    };
    let (processes, target) = started.with_context(|| {
        format!("{} does not start; its log is in {}", peer.name(), programs.work.display())
    })?;
    Ok(Running { target, _processes: processes, _guest: guest })
}

impl Certificate {
    /// Makes it.
    fn make(programs: &Programs) -> anyhow::Result<Self> {
        let out = programs.fresh("tls")?;
        let mut command = Command::new(&programs.serialproxy);
        command.args(["tls", "self-signed", "--out"]).arg(&out);
        said(&mut command)?;
        let (cert, key) = (out.join("serialproxy.pem"), out.join("serialproxy-key.pem"));
        let both = out.join("both.pem");
        std::fs::write(&both, [std::fs::read(&cert)?, std::fs::read(&key)?].concat())?;
        Ok(Self { cert, key, both })
    }
}

impl Programs {
    /// The programs, and an empty directory.
    pub(crate) fn before_run(serialproxy: PathBuf, websockify: PathBuf) -> anyhow::Result<Self> {
        let work = PathBuf::from("target/bench/work");
        if work.exists() {
            std::fs::remove_dir_all(&work).context("cannot clear target/bench/work")?;
        }
        std::fs::create_dir_all(&work)?;
        Ok(Self { serialproxy, haproxy: PathBuf::from("haproxy"), websockify, work })
    }

    /// An empty directory of that name.
    pub(crate) fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = std::path::absolute(self.work.join(name))?;
        if directory.exists() {
            std::fs::remove_dir_all(&directory).context("cannot clear its directory")?;
        }
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

/// Runs a command to its end; returns its output.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("no {name}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}", error.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// The word after `prefix` in a program's ready line.
pub(crate) fn word<'a>(ready: &'a str, prefix: &str) -> anyhow::Result<&'a str> {
    let word = ready.split_whitespace().find_map(|word| word.strip_prefix(prefix));
    word.with_context(|| format!("it did not print {prefix}: {ready:?}"))
}

pub(crate) fn start_guest(machine: &Machine, core: usize) -> anyhow::Result<(Process, SocketAddr)> {
    let mut command = machine.command(core, &std::env::current_exe()?);
    command.arg("guest").stdout(Stdio::piped());
    let mut process = Process::start(&mut command)?;
    let address = process.first_line()?.trim().parse()?;
    Ok((process, address))
}

/// A loopback address that is free now, outside the range from which the system chooses ports.
fn free_address() -> anyhow::Result<SocketAddr> {
    use std::sync::atomic::AtomicU16;
    use std::sync::atomic::Ordering;
    static NEXT: AtomicU16 = AtomicU16::new(23_000);
    let ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).take(5000);
    let mut addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let free = addresses.find(|address| TcpListener::bind(address).is_ok());
    free.context("no port is free")
}

/// Waits until the process listens there, and returns its memory at that time.
fn wait_for_listener(process: &mut Process, address: SocketAddr) -> anyhow::Result<u64> {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(process.runs()?, "it ended at once");
        ensure!(start.elapsed() < Duration::from_secs(10), "nobody listens on {address}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    usage::memory(process.id())
}
