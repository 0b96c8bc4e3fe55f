//! The simulation of a large cluster: the servers of many hosts in a real etcd, and the cost for
//! the programs of the cluster. `docs/cluster.md` has the figures.

use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::ensure;
use comfy_table::Table;
use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::presets::ASCII_MARKDOWN;
use serialproxy_etcd::Etcd;
use tokio::task::JoinSet;

use crate::load::Load;
use crate::load::Plan;
use crate::load::Target;
use crate::machine;
use crate::machine::Machine;
use crate::machine::Process;
use crate::peer::Peer;
use crate::peers;
use crate::peers::Programs;
use crate::peers::api::Api;
use crate::peers::cluster::API;
use crate::peers::cluster::Cluster;
use crate::peers::hosts;
use crate::peers::word;
use crate::rows::Bound;
use crate::rows::Bound::AtMost;
use crate::run::put;
use crate::simulate::cold::Cold;
use crate::table::number;
use crate::usage;
use crate::usage::Cpu;

mod cold;
pub(crate) mod simulated;

/// How long the hosts may take to write their servers.
const WRITE: Duration = Duration::from_secs(120);

/// How long etcd is measured while nothing changes.
const QUIET: Duration = Duration::from_secs(10);

/// Calls for tokens, and how many run at a time.
const TOKENS: usize = 3000;
const CALLERS: usize = 16;

/// What to simulate.
#[derive(clap::Args, Debug)]
pub(crate) struct SimulateOptions {
    /// Hosts
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    hosts: u16,

    /// Servers of each host, with a line each
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=5000))]
    servers: u16,

    /// Print the table as Markdown
    #[arg(long)]
    markdown: bool,

    /// The program to measure
    #[arg(
        long,
        value_name = "FILE",
        env = "SERIALPROXY_BENCH_BIN",
        default_value = "target/release/serialproxy"
    )]
    program: PathBuf,
}

/// Simulates, and prints the table. Fails on an error, not when a goal is missed.
pub(crate) async fn run(options: &SimulateOptions) -> anyhow::Result<ExitCode> {
    machine::raise_file_limit()?;
    let machine = Machine::find()?;
    let programs = Programs::before_run(options.program.clone(), PathBuf::new())?;
    let (hosts, servers) = (usize::from(options.hosts), usize::from(options.servers));
    let total = hosts * servers;
    eprintln!("{hosts} hosts with {servers} servers each; {}", machine.describe());
    let cluster = Cluster::start(&programs, &machine).await?;
    let etcd = simulated::etcd(&cluster.etcd)?;
    let mut found = Found::default();

    eprintln!("an api role of an empty cluster");
    let (empty, process) = Cold::start(&cluster, &machine, 0).await?;
    drop(process);
    eprintln!("the hosts come up");
    let (bytes, start) = (size(&etcd).await?, Instant::now());
    let _hosts = start_hosts(&machine, &cluster.etcd, (hosts, servers))?;
    wait_for(&etcd, total).await?;
    found.add("all hosts have written their servers", "s", start.elapsed().as_secs_f64(), None);
    let bytes = size(&etcd).await?.saturating_sub(bytes) as f64;
    found.add("etcd's database", "MiB", bytes / MIB, None);
    found.add("the same, for each server", "bytes", bytes / total as f64, None);
    let cpu = quiet(cluster.etcd_process()).await?;
    found.add("etcd, while nothing changes", "% of a core", cpu, None);

    eprintln!("an api role starts");
    let (cold, process) = Cold::start(&cluster, &machine, total).await?;
    cold.report(&empty, total, &mut found);
    let memory = usage::memory(cluster.etcd_process())? as f64;
    found.add("etcd's memory", "MiB", memory / MIB, None);

    eprintln!("sessions through a proxy and a compute host");
    sessions(&cluster, &machine, &cold.ready, &mut found).await?;
    drop(process);
    println!("{}", found.table(options.markdown));
    Ok(ExitCode::SUCCESS)
}

const MIB: f64 = 1024.0 * 1024.0;

/// The results.
#[derive(Debug, Default)]
struct Found(Vec<[String; 5]>);

impl Found {
    fn add(&mut self, what: &str, unit: &str, value: f64, goal: Option<Bound>) {
        let (goal, result) = match goal {
            None => ("–".to_owned(), "–"),
            Some(goal) => (goal.to_string(), if goal.holds(value) { "reached" } else { "missed" }),
        };
        self.0.push([what.to_owned(), unit.to_owned(), number(value), goal, result.to_owned()]);
    }

    fn table(self, markdown: bool) -> Table {
        let mut table = Table::new();
        table.load_style(if markdown { ASCII_MARKDOWN } else { ASCII_FULL_CONDENSED });
        table.set_header(["what", "unit", "value", "goal", "result"]);
        table.add_rows(self.0);
        table
    }
}

/// The simulated hosts, in a separate process with a lower priority, since real hosts have their
/// own cores.
fn start_hosts(
    machine: &Machine,
    etcd: &str,
    (hosts, servers): (usize, usize),
) -> anyhow::Result<Process> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if machine.realtime {
        command.args(["chrt", "--fifo", "1"]);
    }
    command.arg(std::env::current_exe()?);
    command.args(["hosts", etcd, &hosts.to_string(), &servers.to_string()]);
    Process::start(command.stdout(Stdio::null()))
}

/// Waits until etcd has all servers.
async fn wait_for(etcd: &Etcd, total: usize) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let count = etcd.count("servers/").await?;
        if count == total {
            return Ok(());
        }
        ensure!(start.elapsed() < WRITE, "etcd has {count} of {total} servers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Size of etcd's database in bytes.
async fn size(etcd: &Etcd) -> anyhow::Result<u64> {
    let node = etcd.nodes().await.pop().context("etcd has no node")?;
    Ok(node.health?.bytes)
}

/// Present CPU time of a process in percent of a core.
async fn quiet(process: u32) -> anyhow::Result<f64> {
    let before = Cpu::of(process)?;
    tokio::time::sleep(QUIET).await;
    Ok(Cpu::of(process)?.since(&before).as_secs_f64() / QUIET.as_secs_f64() * 100.0)
}

/// Measures tokens and attaches, while the directory has all servers.
async fn sessions(
    cluster: &Cluster,
    machine: &Machine,
    ready: &str,
    found: &mut Found,
) -> anyhow::Result<()> {
    let (_guest, address) = peers::start_guest(machine, machine.load)?;
    let (lines, _) = Load::Attach.lines(false);
    let (processes, target) = hosts::add(cluster, machine, ready, Target::guest(address), lines)?;
    let api = Api::new(word(ready, "api=")?, &cluster.state(API))?;
    api.wait_for_lines(lines).await?;
    let etcd = simulated::etcd(&cluster.etcd)?;
    let (before, start) = (size(&etcd).await?, Instant::now());
    tokens(&api, lines).await?;
    let rate = TOKENS as f64 / start.elapsed().as_secs_f64();
    found.add("tokens, from REST through api, compute and etcd", "tokens/s", rate, None);
    let each = size(&etcd).await?.saturating_sub(before) as f64 / TOKENS as f64;
    found.add("etcd's database, for each token", "bytes", each, None);
    let writers = api.consoles(lines, "").await?;
    let target = Target { writers, ..target };
    let plan = |load| Plan { load, peer: Peer::Serialproxy, quick: false, target: target.clone() };
    let values = put(&plan(Load::Attach), machine)?;
    let value = |name| values.get(name).copied().with_context(|| format!("no {name}"));
    found.add("attach, 200/s, p50", "ms", value("attach p50")?, None);
    found.add("attach, 200/s, p99", "ms", value("attach p99")?, Some(AtMost(20.0)));
    let values = put(&plan(Load::Churn), machine)?;
    let rate = *values.get("churn rate").context("no churn rate")?;
    found.add("attach, 1 key, leave; 16 at a time", "sessions/s", rate, None);
    drop(processes);
    Ok(())
}

/// Gets tokens as fast as possible.
async fn tokens(api: &Api, lines: usize) -> anyhow::Result<()> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let api = api.clone();
        callers.spawn(async move {
            for number in (caller..TOKENS).step_by(CALLERS) {
                api.console(number % lines, "").await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    Ok(())
}
