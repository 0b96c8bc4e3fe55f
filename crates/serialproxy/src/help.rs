//! The help of the program: its commands in groups, and options of few users in one place.

use std::fmt::Write;

use clap::Command;

/// The groups of commands, in the order in which people need them.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Consoles",
        &[
            "connect",
            "get-serial-console",
            "log",
            "run",
            "send",
            "expect",
            "sessions",
            "disconnect",
            "break",
            "sysrq",
        ],
    ),
    (
        "Servers",
        &[
            "servers", "boot", "start", "stop", "reboot", "reset", "nmi", "pause", "resume",
            "delete", "adopt",
        ],
    ),
    ("Running serialproxy", &["serve", "api", "compute", "proxy"]),
    (
        "Operating",
        &["status", "doctor", "config", "tls", "cluster", "enroll", "join", "audit", "verify"],
    ),
    ("Access and shells", &["token", "user", "completions"]),
];

/// The roles of `serve`, whose help leaves out what its own says.
const ROLES: [&str; 3] = ["api", "compute", "proxy"];

/// The command with such a help.
pub(crate) fn grouped(command: Command) -> Command {
    let list = list(&command);
    let command = ROLES.iter().fold(command, |command, role| {
        command.mut_subcommand(role, |command| {
            command.mut_args(|argument| {
                let is_keystones = argument.get_id().as_str().starts_with("keystone_authtoken-");
                if is_keystones { argument.hide(true) } else { argument }
            })
        })
    });
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}Options:\n{{options}}{{after-help}}"
    ))
}

fn list(command: &Command) -> String {
    let mut list = String::new();
    for (group, names) in GROUPS {
        let _ = writeln!(list, "{group}:");
        for command in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(list, "  {:<18}  {about}", command.get_name());
        }
        list.push('\n');
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_in_one_group() {
        let command = crate::command();
        let listed: Vec<_> = GROUPS.iter().flat_map(|(_, names)| *names).collect();
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert_eq!(listed.iter().filter(|other| ***other == name).count(), 1, "{name}");
        }
        let help = crate::command().render_help().to_string();
        assert!(help.contains("\nServers:\n  servers "), "{help}");
    }

    #[test]
    fn the_help_of_a_role_has_the_values_and_defaults_of_options() {
        let mut command = crate::command();
        let help = command.find_subcommand_mut("proxy").unwrap().render_long_help().to_string();
        let words: Vec<_> = help.split_whitespace().collect();
        let help = words.join(" ");
        let lifetime = "no token is ever valid. Allowed: seconds, 0 to 315360000. Default: 600.";
        assert!(help.contains(lifetime), "{help}");
    }

    #[test]
    fn no_paragraph_of_a_help_is_torn_where_a_terminal_wraps_it() {
        let mut command = crate::command();
        command.build();
        let mut all: Vec<_> = command.get_subcommands().collect();
        while let Some(command) = all.pop() {
            all.extend(command.get_subcommands());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = help.lines().collect();
            for pair in lines.windows(2) {
                let is_prose = |line: &str| line.starts_with(|c: char| !c.is_whitespace());
                let is_torn = is_prose(pair[0]) && is_prose(pair[1]);
                assert!(!is_torn, "{}: {pair:?}", command.get_name());
            }
        }
    }

    #[test]
    fn keystones_options_are_in_the_help_of_serve_alone_and_all_roles_take_them() {
        for role in ["serve", "api", "compute", "proxy"] {
            let mut command = crate::command();
            let help = command.find_subcommand_mut(role).unwrap().render_long_help().to_string();
            assert_eq!(help.contains("--keystone_authtoken-auth_url"), role == "serve", "{role}");
            let words = ["serialproxy", role, "--keystone_authtoken-auth_url", "http://h:5000"];
            assert!(crate::command().try_get_matches_from(words).is_ok(), "{role}");
        }
    }
}
