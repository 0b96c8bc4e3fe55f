//! `serialproxy config`: checks and shows the configuration.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serialproxy_config::Loaded;
use serialproxy_config::Role;

use crate::EXIT_USAGE;
use crate::complain;
use crate::options::ServerArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the configuration; on errors, print all of them and exit with code 2
    #[command(after_help = "Example:
  serialproxy config check --config-file /etc/serialproxy/serialproxy.conf")]
    Check(ServerArgs),
    /// Print the configuration in effect, and the source of each value, as a configuration file
    #[command(after_help = "Example:
  serialproxy config show --serial_console-port_range 20000:30000")]
    Show(ServerArgs),
}

pub(crate) fn run(command: &Command) -> ExitCode {
    let (Command::Check(args) | Command::Show(args)) = command;
    let loaded = match load(args, Role::Either) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    loaded.warnings.iter().for_each(|warning| complain(warning));
    let text = match command {
        Command::Check(_) => "the configuration is valid\n".to_owned(),
        Command::Show(_) => serialproxy_config::show(&loaded),
    };
    // A reader that closed the pipe does not want the rest.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// The configuration for this role; if there are errors, they have been printed to stderr.
pub(crate) fn load(args: &ServerArgs, role: Role) -> Result<Loaded, ExitCode> {
    serialproxy_config::load(&args.sources(role)).map_err(|error| {
        for problem in error.problems {
            complain(&problem.to_string());
        }
        ExitCode::from(EXIT_USAGE)
    })
}
