//! A run: in each round, each load on each peer.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use anyhow::Context;
use anyhow::ensure;

use crate::RunOptions;
use crate::load::Load;
use crate::load::Plan;
use crate::load::Values;
use crate::machine;
use crate::machine::Machine;
use crate::peer::Peer;
use crate::peers;
use crate::peers::Programs;
use crate::rows;
use crate::samples::Samples;
use crate::table;

/// Measures, and prints the table. Fails when a measurement failed, not when a goal is missed.
pub(crate) async fn run(options: &RunOptions) -> anyhow::Result<ExitCode> {
    machine::raise_file_limit()?;
    let run = Run::prepare(options)?;
    eprintln!("{}", run.machine.describe());
    let (samples, failures) = run.all_rounds().await;
    println!("{}\n", run.preamble(options));
    println!("{}", table::render(&samples, options.markdown));
    for failure in &failures {
        println!("failed: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Run {
    machine: Machine,
    programs: Programs,
    peers: Vec<Peer>,
    loads: Vec<Load>,
    rounds: u32,
    quick: bool,
}

impl Run {
    fn prepare(options: &RunOptions) -> anyhow::Result<Self> {
        let programs = Programs::before_run(options.program.clone(), options.websockify.clone())?;
        let mut peers = Peer::ALL.to_vec();
        peers.retain(|peer| options.peers.is_empty() || options.peers.contains(peer));
        for (peer, program) in
            [(Peer::Serialproxy, &programs.serialproxy), (Peer::Websockify, &programs.websockify)]
        {
            let missing = peers.contains(&peer) && !program.exists();
            ensure!(!missing, "{} is missing: `make bench` builds it", program.display());
        }
        Ok(Self {
            machine: Machine::find()?,
            programs,
            peers,
            loads: rows::loads(&options.rows),
            rounds: options.rounds.unwrap_or(if options.quick { 1 } else { 5 }),
            quick: options.quick,
        })
    }

    async fn all_rounds(&self) -> (Samples, Vec<String>) {
        let (mut samples, mut failures) = (Samples::default(), Vec::new());
        let mut peers = self.peers.clone();
        for round in 1..=self.rounds {
            for load in &self.loads {
                for peer in peers.iter().filter(|peer| load.applies_to(**peer)) {
                    let what =
                        format!("round {round} of {}, {load:?}, {}", self.rounds, peer.name());
                    eprintln!("{what}");
                    match self.measure(*load, *peer).await {
                        Ok(values) => samples.add(round, *load, *peer, values),
                        Err(error) => {
                            eprintln!("failed: {error:#}");
                            failures.push(format!("{what}: {error:#}"));
                        }
                    }
                }
            }
            // A peer may leave effects in the kernel, which should not always affect the same next
            // peer.
            peers.reverse();
        }
        (samples, failures)
    }

    /// Runs one load on one peer, which is started for it.
    async fn measure(&self, load: Load, peer: Peer) -> anyhow::Result<Values> {
        let (quick, machine) = (self.quick, &self.machine);
        let running = peers::start(peer, load, quick, &self.programs, machine).await?;
        let plan = Plan { load, peer, quick, target: running.target };
        put(&plan, machine)
    }

    /// The programs and the machine, so that readers can judge the numbers.
    fn preamble(&self, options: &RunOptions) -> String {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let (kernel, processor) = machine::kernel_and_processor();
        let commit = said(Path::new("git"), &["describe", "--always", "--dirty"]);
        let version = said(&self.programs.serialproxy, &["--version"]);
        let haproxy = said(&self.programs.haproxy, &["-v"]);
        let python = options.websockify.with_file_name("python");
        let websockify = "import importlib.metadata as m, platform; \
            print('websockify', m.version('websockify'), 'with numpy', m.version('numpy'), \
            'on Python', platform.python_version())";
        [
            format!("serialproxy-bench {}", arguments.join(" ")),
            format!("{version} (git {commit}); {haproxy}; {}", said(&python, &["-c", websockify])),
            format!("Linux {kernel}, {processor}; {}", self.machine.describe()),
            format!(
                "{} rounds; median [smallest–largest]; ÷: serialproxy's value divided by the other's in the same round",
                self.rounds
            ),
        ]
        .map(|line| if options.markdown { format!("- {line}") } else { line })
        .join("\n")
    }
}

/// Runs a load on a running peer, in a separate process.
pub(crate) fn put(plan: &Plan, machine: &Machine) -> anyhow::Result<Values> {
    let core = if plan.load.on_one_core() { machine.proxy } else { machine.load };
    let mut command = machine.command(core, &std::env::current_exe()?);
    command.arg("load").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start the load")?;
    child.stdin.take().context("no stdin")?.write_all(&serde_json::to_vec(plan)?)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim());
    serde_json::from_slice(&output.stdout).context("the load said something else")
}

/// The first line that a program prints.
fn said(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let line = text.ok().and_then(|text| text.lines().next().map(str::to_owned));
    line.unwrap_or_else(|| format!("{} (version unknown)", program.display()))
}
