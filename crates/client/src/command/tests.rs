use clap::CommandFactory;
use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = std::iter::once("serialproxy").chain(line.split(' '));
    Program::try_parse_from(words).map(|program| program.command)
}

#[test]
fn the_program_keeps_its_own_description() {
    /// Consoles
    #[derive(Debug, Parser)]
    struct Whole {
        #[command(subcommand)]
        command: All,
    }
    #[derive(Debug, Subcommand)]
    enum All {
        #[command(flatten)]
        Client(Command),
    }
    assert_eq!(Whole::command().get_about().map(ToString::to_string), Some("Consoles".into()));
}

#[test]
fn the_commands_are_consistent_and_each_help_holds_an_example() {
    Program::command().debug_assert();
    for command in Program::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = format!("serialproxy {} ", command.get_name());
        assert!(
            help.contains(&example) || help.contains(example.trim_end()),
            "{} lacks an example",
            command.get_name()
        );
    }
}

#[test]
fn the_examples_of_the_help_are_accepted() {
    for line in [
        "get-serial-console demo serial --port 1 --watch -f json",
        "servers -f json",
        "disconnect demo --port 1 --reason maintenance",
        "disconnect --session 3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de",
        "boot demo --image demo --property serial_ports=2 --flavor-property hw:x=1",
        "stop demo --timeout 120",
        "connect demo --watch --api-url http://h:1 --state-dir /tmp",
        "connect demo --escape ^] --backspace ctrl-h --newline crlf",
        "connect demo --escape none",
        "connect demo --from start",
        "connect demo --from 4096 --no-pace",
        "connect demo --force --reason maintenance",
        "connect demo --ask --reason maintenance",
        "connect demo --type",
        "log demo --port 1 --follow",
        "log demo --from 4096",
        "log demo --from start",
        "run demo ls --port 1 --timeout 5",
        "send demo root --no-enter",
        "send demo -",
        "expect demo --regex login: --timeout 60",
        "expect demo --text login: --from start",
        "expect demo --text login: --from 4096 --timeout 0",
        "break demo --port 1",
        "sysrq demo h",
        "nmi demo",
        "pause demo",
        "resume demo",
        "reset demo",
        "adopt db1 --serial-ports 2 --restart",
        "adopt db1 --undo",
        "token add ci --project demo --role member --expires 90d",
        "token add ci --project demo --role reader --expires 2027-01-01T00:00:00Z",
        "token list -f json",
        "token revoke ci",
        "user add alice --project demo --role member",
        "user list",
        "user password alice",
        "user remove alice",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn contradictions_are_refused() {
    for line in [
        "connect demo --watch --force",
        "connect demo --reason x",
        "connect demo --escape a",
        "connect demo --escape ~~",
        "connect demo --backspace ^H",
        "connect demo --newline nl",
        "connect demo --ask --force",
        "connect demo --type --watch",
        "connect demo --type --ask",
        "connect demo --ask --watch",
        "connect demo --from yesterday",
        "log demo --from live",
        "run demo",
        "run demo ls --timeout 0",
        "send demo",
        "expect demo",
        "expect demo --regex a --text b",
        "expect demo --text a --from yesterday",
        "sysrq demo",
        "sysrq demo hh",
        "sysrq demo .",
        "adopt db1 --undo --restart",
        "adopt db1 --undo --serial-ports 1",
        "adopt db1 --serial-ports 5",
        "disconnect",
        "disconnect demo --session 3f0c2a52-6d0a-4b9a-9d0e-0a54e1a7c0de",
        "boot demo --image demo --property serial_ports",
        "stop demo --timeout 5 --force",
        "stop demo --timeout 0",
        "token",
        "token add ci",
        "user add alice --project demo --role member --password hush",
        "user password alice hush",
        "token add ci --project demo --role root",
        "token add ci/cd --project demo --role reader",
        "token add ci --project demo --role reader --expires soon",
        "token add ci --project demo --role reader --expires 0d",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn no_flag_takes_a_token() {
    for command in Program::command().get_subcommands() {
        for argument in command.get_arguments() {
            assert!(!argument.get_id().as_str().contains("token"));
        }
    }
}
