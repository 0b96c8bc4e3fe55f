//! The machine: its cores, the priority of processes, and its description.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use rustix::process::Pid;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::Signal;
use rustix::thread::CpuSet;

/// The two cores that are used, and whether processes there get real-time priority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// The core of the proxy.
    pub(crate) proxy: usize,
    /// The core of guest and clients; the same when there is no other.
    pub(crate) load: usize,
    /// Whether `chrt -f 2` is permitted.
    pub(crate) realtime: bool,
}

impl Machine {
    /// Takes the first two cores that this process may use.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let allowed = rustix::thread::sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let proxy = cores.next().context("no core may be used")?;
        let mut probe = Command::new("chrt");
        probe.args(["-f", "2", "true"]).stderr(Stdio::null());
        let realtime = probe.status().context("cannot run chrt")?.success();
        Ok(Self { proxy, load: cores.next().unwrap_or(proxy), realtime })
    }

    /// Its description, in words.
    pub(crate) fn describe(&self) -> String {
        let cores = if self.proxy == self.load {
            format!("everything on core {}, the only one", self.proxy)
        } else {
            format!("proxy on core {}, guest and clients on core {}", self.proxy, self.load)
        };
        let priority = if self.realtime { "all at chrt -f 2" } else { "chrt -f is not permitted" };
        format!("{cores}, {priority}")
    }

    /// A command that runs on a core, and ends with this process.
    pub(crate) fn command(&self, core: usize, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &core.to_string()]);
        if self.realtime {
            command.args(["chrt", "--fifo", "2"]);
        }
        command.arg(program);
        command
    }
}

/// How long to wait for killed processes.
const LAST_BREATH: Duration = Duration::from_secs(30);

/// A process and its children, which are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it, as the leader of a process group.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        child.map(Self).with_context(|| format!("cannot run {}", command.get_program().display()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// The first line that it prints on its stdout, which is a pipe.
    pub(crate) fn first_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().context("its stdout is not a pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "it ended before it was ready");
        Ok(line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group
            && let Err(error) = rustix::process::kill_process_group(group, Signal::KILL)
        {
            eprintln!("cannot end process group {}: {error}", self.0.id());
        }
        if let Err(error) = self.0.wait() {
            eprintln!("cannot wait for process {}: {error}", self.0.id());
        }
        // Hundreds of ending processes would otherwise keep the core busy for the next measurement.
        let given_up = Instant::now() + LAST_BREATH;
        while a_member_runs(self.0.id()) && Instant::now() < given_up {
            #[allow(
                clippy::disallowed_methods,
                reason = "no event tells when another's child ends"
            )]
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether a process of the group still runs; a zombie does not.
fn a_member_runs(group: u32) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok()).any(|stat| {
        // State, parent and group follow the name, which may contain any character (proc(5)).
        let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
        let mut fields = behind.split_whitespace();
        let state = fields.next().unwrap_or_default();
        fields.nth(1) == Some(&group.to_string()) && !["Z", "X"].contains(&state)
    })
}

/// Raises the limit of open files of this process, and of those that it starts, to the maximum.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, most).context("cannot raise the limit of files")
}

/// The kernel's release and the processor's name.
pub(crate) fn kernel_and_processor() -> (String, String) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or("unknown processor", |(_, name)| name.trim());
    (release.trim().to_owned(), name.to_owned())
}
