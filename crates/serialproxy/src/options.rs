//! The flags of the server roles: a few of their own, and one for each option of the
//! configuration, made from its table.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Args;
use clap::Command;
use clap::FromArgMatches;
use clap::ValueHint;
use serialproxy_config::Opt;
use serialproxy_config::Role;
use serialproxy_config::Sources;
use serialproxy_config::options;

/// The flag of the process in the background.
pub(crate) const DETACHED: &str = "detached";

/// Whether this is the name of the program that `serialproxy proxy` replaces.
pub(crate) fn is_called_nova_serialproxy(program: Option<&OsString>) -> bool {
    program
        .and_then(|program| Path::new(program).file_name())
        .is_some_and(|name| name == "nova-serialproxy")
}

/// Where the configuration comes from.
#[derive(Args, Debug)]
pub(crate) struct ServerArgs {
    /// Configuration file; repeatable, later files override earlier ones
    #[arg(long, value_name = "FILE")]
    config_file: Vec<PathBuf>,
    /// Directory whose files *.conf are read after --config-file, sorted by name; repeatable
    #[arg(long, value_name = "DIR")]
    config_dir: Vec<PathBuf>,
    /// Directory for persistent state [default: /var/lib/serialproxy]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// File to append the log to, instead of stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// File to write the process id to [default with daemon: STATE/serialproxy.pid]
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Of a daemon's own process
    #[arg(long = DETACHED, hide = true)]
    pub(crate) detached: bool,
    #[command(flatten)]
    flags: OptionFlags,
}

impl ServerArgs {
    pub(crate) fn sources(&self, role: Role) -> Sources {
        let sources = Sources {
            files: self.config_file.clone(),
            directories: self.config_dir.clone(),
            flags: self.flags.0.clone(),
            state_dir: self.state_dir.clone(),
            role,
            ..Sources::default()
        };
        match is_called_nova_serialproxy(std::env::args_os().next().as_ref()) {
            true => sources.of_nova(),
            false => sources,
        }
    }
}

/// What `proxy` takes beside that: the flags of nova-serialproxy.
#[derive(Args, Debug)]
pub(crate) struct ProxyArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    short: ShortFlags,
}

impl ProxyArgs {
    /// All flags; of two names of one option the short one counts.
    pub(crate) fn server(mut self) -> ServerArgs {
        self.server.flags.0.append(&mut self.short.0);
        self.server
    }
}

/// `--GROUP-OPTION VALUE` for every option, as group, option and value.
#[derive(Debug)]
struct OptionFlags(Vec<(String, String, String)>);

impl Args for OptionFlags {
    fn augment_args(command: Command) -> Command {
        command
            .next_help_heading("Configuration options; they override the files")
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

/// The flags of nova-serialproxy that name an option of `[serial_console]` by itself.
#[derive(Debug)]
struct ShortFlags(Vec<(String, String, String)>);

/// What they are called, and whether they turn something on.
const SHORT: [(&str, &str, bool); 9] = [
    ("host", "serialproxy_host", false),
    ("port", "serialproxy_port", false),
    ("cert", "cert", false),
    ("key", "key", false),
    ("web", "web", false),
    ("record", "record", false),
    ("daemon", "daemon", true),
    ("ssl_only", "ssl_only", true),
    ("source_is_ipv6", "source_is_ipv6", true),
];

impl Args for ShortFlags {
    fn augment_args(command: Command) -> Command {
        let verbose = ["verbose", "noverbose"].map(|name| {
            let help = "Accepted for compatibility with nova-serialproxy, without effect; use \
                     --debug";
            Arg::new(name).long(name).help(help).hide(true).action(ArgAction::SetTrue)
        });
        let on = SHORT.iter().map(|(name, option, turns_on)| {
            let off = turns_on.then(|| format!("no{name}"));
            value_flag((*name).to_owned(), off).help(format!("Same as --serial_console-{option}"))
        });
        let off = SHORT.iter().filter(|(.., turns_on)| *turns_on);
        let off = off.map(|(name, ..)| off_flag(format!("no{name}"), (*name).to_owned()));
        command.next_help_heading("Flags of nova-serialproxy").args(on).args(off).args(verbose)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ShortFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = SHORT.iter().flat_map(|(name, option, turns_on)| {
            let values = matches.get_many::<String>(name).unwrap_or_default().cloned();
            let off = (*turns_on && matches.get_flag(&format!("no{name}"))).then(|| "false".into());
            let values = values.chain(off);
            values.map(|value| ("serial_console".into(), (*option).to_owned(), value))
        });
        Ok(Self(flags.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(option: &Opt) -> Arg {
    let flag = value_flag(option.flag(), option.flag_off()).hide_short_help(true);
    let flag = flag.help(option.help).long_help(described(option));
    match option.flag().as_str() {
        // As every program of OpenStack has it.
        "debug" => flag.short('d'),
        // As oslo.config writes options of [DEFAULT].
        name if option.group == "DEFAULT" && name.contains('_') => {
            flag.visible_alias(name.replace('_', "-"))
        }
        _ => flag,
    }
}

/// What an option does, the values that it takes, unless they are true and false, and its default.
fn described(option: &Opt) -> String {
    let mut text = option.help.to_owned();
    if option.flag_off().is_none() {
        text += &format!(" Allowed: {}.", option.allowed());
    }
    match option.default_text() {
        "" => text,
        default => text + &format!(" Default: {default}."),
    }
}

/// A flag with a value; one that has an opposite may stand without.
fn value_flag(name: String, off: Option<String>) -> Arg {
    let flag = Arg::new(name.clone()).long(name).action(ArgAction::Append).value_name("VALUE");
    match off {
        // `--debug` alone means true.
        Some(off) => flag
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .overrides_with(off),
        // Many are the paths of files.
        None => flag.allow_hyphen_values(true).value_hint(ValueHint::AnyPath),
    }
}

/// `--nodebug`: of it and `--debug` the later counts.
fn flag_off(option: &Opt) -> Option<Arg> {
    Some(off_flag(option.flag_off()?, option.flag()))
}

fn off_flag(off: String, on: String) -> Arg {
    Arg::new(off.clone())
        .long(off)
        .help(format!("Same as --{on}=false"))
        .hide(true)
        .action(ArgAction::SetTrue)
        .overrides_with(on)
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
        Line::try_parse_from(line).unwrap().server.sources(Role::Serve).flags
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
        assert_eq!(flags(&["-d"]), debug("true"));
    }

    #[derive(Parser)]
    struct ProxyLine {
        #[command(flatten)]
        proxy: ProxyArgs,
    }

    /// What the flags of nova-serialproxy set in `[serial_console]`.
    fn short(line: &str) -> Vec<(String, String)> {
        let line = ["serialproxy"].into_iter().chain(line.split(' '));
        let flags = ProxyLine::try_parse_from(line).unwrap().proxy.server().flags.0;
        assert!(flags.iter().all(|(group, ..)| group == "serial_console"), "{flags:?}");
        flags.into_iter().map(|(_, option, value)| (option, value)).collect()
    }

    #[test]
    fn the_flags_of_nova_serialproxy_set_the_same_options() {
        let set = |option: &str, value: &str| (option.to_owned(), value.to_owned());
        for (line, option, value) in [
            ("--host ::1", "serialproxy_host", "::1"),
            ("--port 6084", "serialproxy_port", "6084"),
            ("--serial_console-serialproxy_port 6084", "serialproxy_port", "6084"),
            ("--cert=/a", "cert", "/a"),
            ("--key /b", "key", "/b"),
            ("--web /c", "web", "/c"),
            ("--record /d", "record", "/d"),
            ("--daemon", "daemon", "true"),
            ("--daemon --nodaemon", "daemon", "false"),
            ("--nossl_only --ssl_only", "ssl_only", "true"),
            ("--nosource_is_ipv6", "source_is_ipv6", "false"),
        ] {
            assert_eq!(short(line), [set(option, value)], "{line}");
        }
        assert_eq!(
            short("--verbose --serial_console-serialproxy_port 1 --port 2"),
            [set("serialproxy_port", "1"), set("serialproxy_port", "2")]
        );
    }
}
