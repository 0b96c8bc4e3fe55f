//! `serialproxy`: interactive serial consoles of virtual machines. One program holds every role
//! and the client; this file says which of them a command line means.

mod audit;
mod checks;
mod cluster;
mod completions;
mod config;
mod connections;
mod cores;
mod daemon;
mod doctor;
mod help;
mod hypervisors;
mod limits;
mod listen;
mod logging;
mod membership;
mod monitoring;
mod notify;
mod options;
mod package;
mod passed;
mod reload;
mod roles;
mod self_signed;
mod sessions;
mod state;
mod tls;
mod verify;
mod watch_links;
mod watchdog;
mod welcome;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;
use clap::Subcommand;

use crate::options::ProxyArgs;
use crate::options::ServerArgs;
use crate::roles::api;
use crate::roles::compute;
use crate::roles::proxy;
use crate::roles::serve;

/// Interactive serial consoles of virtual machines, in the browser and the terminal.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  serialproxy serve                            serve the guests of this machine
  serialproxy boot demo --image demo           define and start a guest
  serialproxy connect demo                     attach this terminal to its console
  serialproxy get-serial-console demo serial   print a URL for the browser")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every role in one process: the API, the guests' lines, and the proxy that users connect to
    #[command(after_help = serve::HELP)]
    Serve(ServerArgs),
    /// Run only the API, for the hosts of a cluster
    #[command(after_help = api::HELP)]
    Api(ServerArgs),
    /// Run only the lines of this hypervisor's guests, as a host of a cluster
    #[command(after_help = compute::HELP)]
    Compute(ServerArgs),
    /// Run only the proxy: for a cluster, or as a replacement for Nova's nova-serialproxy
    #[command(after_help = proxy::HELP)]
    Proxy(ProxyArgs),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Create a cluster of hosts, list its hosts, drain or remove one
    #[command(subcommand)]
    Cluster(membership::Command),
    Enroll(membership::Enroll),
    Join(membership::Join),
    Doctor(Box<doctor::Doctor>),
    Verify(verify::Verify),
    /// Create certificates for TLS
    #[command(subcommand)]
    Tls(self_signed::Command),
    /// Print shell completions
    #[command(after_help = completions::HELP)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print what fits a line, for the scripts of `completions`
    #[command(hide = true)]
    Complete(completions::Complete),
    /// Write what packages contain beside the program: man pages, completions, the configuration file
    #[command(hide = true)]
    Package {
        /// The directory
        directory: PathBuf,
    },
    #[command(flatten)]
    Client(Box<serialproxy_client::Command>),
}

fn main() -> ExitCode {
    let matches = command().get_matches_from(words(std::env::args_os()));
    match Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command {
        Command::Serve(_) | Command::Compute(_) if !cfg!(feature = "libvirt") => {
            complain(NO_LIBVIRT);
            ExitCode::from(EXIT_USAGE)
        }
        Command::Serve(args) => serve::run(&args),
        Command::Api(args) => api::run(&args),
        Command::Compute(args) => compute::run(&args),
        Command::Proxy(args) => proxy::run(&args.server()),
        Command::Config(command) => config::run(&command),
        Command::Cluster(command) => membership::run(&command),
        Command::Enroll(args) => membership::run_enroll(&args),
        Command::Join(args) => membership::run_join(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Tls(command) => self_signed::run(&command),
        Command::Completions { shell } => {
            // A reader that closed the pipe does not want the rest.
            let _ = completions::write(shell, command(), &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Complete(asked) => completions::complete(asked, command()),
        Command::Package { directory } => match package::write(&directory, command()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("cannot write to {}: {error}", directory.display()));
                ExitCode::FAILURE
            }
        },
        Command::Client(command) => run_client(*command),
    }
}

/// The command line, with its help.
fn command() -> clap::Command {
    help::grouped(Args::command())
}

/// The words of the command line. Called nova-serialproxy, the program is the role that replaces it.
fn words(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<_> = given.collect();
    if options::is_called_nova_serialproxy(words.first()) {
        words.insert(1, "proxy".into());
    }
    words
}

fn run_client(command: serialproxy_client::Command) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(serialproxy_client::run(command)).into(),
        Err(error) => {
            complain(&format!("the program cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}

const NO_LIBVIRT: &str = "this program was built without libvirt, for hosts that have no guests: on a \
    hypervisor, install the package serialproxy instead of serialproxy-front";

/// Exit code of an invalid command line or configuration.
const EXIT_USAGE: u8 = 2;

#[allow(clippy::print_stderr, reason = "the one place where the program itself speaks to a person")]
fn complain(message: &str) {
    eprintln!("serialproxy: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn called_nova_serialproxy_it_is_the_proxy() {
        let words = |line: &str| words(line.split(' ').map(OsString::from)).join(" ".as_ref());
        assert_eq!(words("/usr/bin/nova-serialproxy"), "/usr/bin/nova-serialproxy proxy");
        assert_eq!(words("nova-serialproxy --debug"), "nova-serialproxy proxy --debug");
        assert_eq!(
            words("/nova-serialproxy/serialproxy serve"),
            "/nova-serialproxy/serialproxy serve"
        );
    }
}
