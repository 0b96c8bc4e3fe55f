//! The benchmark: compares this program with HAProxy, websockify and no proxy at all, on one
//! machine and in turns. `docs/performance.md` describes the measurements.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

use crate::peer::Peer;

mod client;
mod guest;
mod load;
mod machine;
mod pattern;
mod peer;
mod peers;
mod rows;
mod run;
mod samples;
mod simulate;
mod statistics;
mod table;
mod usage;

/// Measures serialproxy beside HAProxy, websockify and no proxy at all.
#[derive(Debug, Parser)]
#[command(name = "serialproxy-bench")]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    run: RunOptions,
}

/// The roles in which the benchmark starts itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// Serve simulated serial ports, at the address that is printed
    #[command(hide = true)]
    Guest,
    /// Run the load that stdin describes, and print the measured values
    #[command(hide = true)]
    Load,
    /// Be hosts of a cluster, with servers
    #[command(hide = true)]
    Hosts(simulate::simulated::HostsOptions),
    /// Simulate a large cluster, and measure what an api role, etcd and attaches take
    Simulate(simulate::SimulateOptions),
}

/// What to measure.
#[derive(clap::Args, Debug)]
struct RunOptions {
    /// How many times each load is measured; default: 5, or 1 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=130))]
    rounds: Option<u32>,

    /// Rows of the table to measure, for example 1,2,4; default: all
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=19))]
    rows: Vec<u8>,

    /// Programs to measure; default: all
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,

    /// Shorter measurements, which are less precise
    #[arg(long)]
    quick: bool,

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

    /// websockify's program
    #[arg(long, value_name = "FILE", default_value = "target/bench/websockify/bin/websockify")]
    websockify: PathBuf,
}

fn main() -> ExitCode {
    match begin(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("serialproxy-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread, so that no measurement includes the wake-up of a second core.
fn begin(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &options.role {
            Some(Role::Guest) => guest::run().await.map(|()| ExitCode::SUCCESS),
            Some(Role::Load) => load::run().await.map(|()| ExitCode::SUCCESS),
            Some(Role::Hosts(options)) => {
                simulate::simulated::run(options).await.map(|()| ExitCode::SUCCESS)
            }
            Some(Role::Simulate(options)) => simulate::run(options).await,
            None => run::run(&options.run).await,
        }
    })
}
