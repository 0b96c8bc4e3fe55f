//! The flags of the server roles: a few of their own, and one for each option of the
//! configuration, made from its table.

use std::path::PathBuf;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Args;
use clap::Command;
use clap::FromArgMatches;
use serialproxy_config::Opt;
use serialproxy_config::Sources;
use serialproxy_config::options;

/// Where the configuration comes from.
#[derive(Args, Debug)]
pub(crate) struct ServerArgs {
    /// Configuration file; may be repeated, later ones override
    #[arg(long, value_name = "FILE")]
    config_file: Vec<PathBuf>,
    /// Directory whose files *.conf are read after those, by name; may be repeated
    #[arg(long, value_name = "DIR")]
    config_dir: Vec<PathBuf>,
    /// Directory of everything that outlives the process [default: /var/lib/serialproxy]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// File that the log is written to, at its end, instead of stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// File that the process id is written to [default: STATE/serialproxy.pid of a daemon]
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Of a daemon's own process
    #[arg(long = crate::daemon::DETACHED, hide = true)]
    pub(crate) detached: bool,
    #[command(flatten)]
    flags: OptionFlags,
}

impl ServerArgs {
    pub(crate) fn sources(&self, serve: bool) -> Sources {
        Sources {
            files: self.config_file.clone(),
            directories: self.config_dir.clone(),
            flags: self.flags.0.clone(),
            state_dir: self.state_dir.clone(),
            serve,
            ..Sources::default()
        }
    }
}

/// `--GROUP-OPTION VALUE` for every option, as group, option and value.
#[derive(Debug)]
struct OptionFlags(Vec<(String, String, String)>);

impl Args for OptionFlags {
    fn augment_args(command: Command) -> Command {
        command
            .next_help_heading("Options of the configuration, which override its files")
            .args(options().filter(|option| !option.is_secret()).map(flag))
            .args(options().filter_map(flag_off))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OptionFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = options().filter(|option| !option.is_secret()).flat_map(|option| {
            let values = matches.get_many::<String>(&option.flag()).unwrap_or_default();
            let off = option.flag_off().filter(|off| matches.get_flag(off));
            let values = values.cloned().chain(off.map(|_| "false".to_owned()));
            values.map(|value| (option.group.to_owned(), option.name.to_owned(), value))
        });
        Ok(Self(flags.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(option: &Opt) -> Arg {
    let flag = Arg::new(option.flag())
        .long(option.flag())
        .help(option.help)
        .hide_short_help(true)
        .action(ArgAction::Append)
        .value_name("VALUE");
    match option.flag_off() {
        // `--debug` alone means true.
        Some(off) => flag
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .overrides_with(off),
        None => flag.allow_hyphen_values(true),
    }
}

/// `--nodebug`: of it and `--debug` the later counts.
fn flag_off(option: &Opt) -> Option<Arg> {
    let off = option.flag_off()?;
    let help = format!("The same as --{}=false", option.flag());
    Some(
        Arg::new(off.clone())
            .long(off)
            .help(help)
            .hide(true)
            .action(ArgAction::SetTrue)
            .overrides_with(option.flag()),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        server: ServerArgs,
    }

    fn flags(line: &[&str]) -> Vec<(String, String, String)> {
        let line = ["serialproxy"].iter().chain(line);
        Line::try_parse_from(line).unwrap().server.sources(true).flags
    }

    #[test]
    fn of_a_flag_and_its_opposite_the_later_counts() {
        let debug = |value: &str| vec![("DEFAULT".into(), "debug".into(), value.into())];
        assert_eq!(flags(&["--debug"]), debug("true"));
        assert_eq!(flags(&["--debug", "--nodebug"]), debug("false"));
        assert_eq!(flags(&["--nodebug", "--debug"]), debug("true"));
        assert_eq!(flags(&["--nodebug", "--debug=off"]), debug("off"));
        let enabled = ("serial_console".into(), "enabled".into(), "false".into());
        assert_eq!(flags(&["--serial_console-noenabled"]), [enabled]);
    }
}
