//! The flags of the server roles: a few of their own, and one for each option of the
//! configuration, made from its table.

use std::path::PathBuf;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Args;
use clap::Command;
use clap::FromArgMatches;
use serialproxy_config::Sources;
use serialproxy_config::options;

/// Where the configuration comes from.
#[derive(Args, Debug)]
pub(crate) struct ServerArgs {
    /// Configuration file; may be repeated, later ones override
    #[arg(long, value_name = "FILE")]
    config_file: Vec<PathBuf>,
    /// Directory of everything that outlives the process [default: /var/lib/serialproxy]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    flags: OptionFlags,
}

impl ServerArgs {
    pub(crate) fn sources(&self, serve: bool) -> Sources {
        Sources {
            files: self.config_file.clone(),
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
        command.next_help_heading("Options of the configuration, which override its files").args(
            options().map(|option| {
                let flag = Arg::new(option.flag())
                    .long(option.flag())
                    .help(option.help)
                    .hide_short_help(true)
                    .hide(option.is_later())
                    .action(ArgAction::Append)
                    .value_name("VALUE");
                // `--debug` alone means true.
                if option.is_bool() {
                    flag.num_args(0..=1).require_equals(true).default_missing_value("true")
                } else {
                    flag.allow_hyphen_values(true)
                }
            }),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OptionFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = options().flat_map(|option| {
            let values = matches.get_many::<String>(&option.flag()).unwrap_or_default();
            values.map(|value| (option.group.to_owned(), option.name.to_owned(), value.clone()))
        });
        Ok(Self(flags.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
