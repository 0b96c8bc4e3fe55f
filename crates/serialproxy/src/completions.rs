//! Completion in shells: a script for each shell, and the candidates for which it asks the program.
//!
//! clap's engine finds the candidates. Its own scripts are not used: that for bash puts a candidate
//! into the line as it is, so that the name of a server could become a command.

mod bash;

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use clap::Args;
use clap::Command;
use clap::ValueEnum;
use clap::ValueHint;
use clap_complete::ArgValueCompleter;
use clap_complete::Shell;

pub(crate) const HELP: &str = "Examples:
  serialproxy completions bash > /etc/bash_completion.d/serialproxy
  serialproxy completions zsh > /usr/local/share/zsh/site-functions/_serialproxy
  serialproxy completions fish > ~/.config/fish/completions/serialproxy.fish

In bash, zsh and fish, names of servers and their ports are completed as well: the API is asked as the \
command would ask it, for a second at most. ~/.cache/serialproxy keeps the answer for 30 s.";

/// Writes a shell's script.
pub(crate) fn write(shell: Shell, mut command: Command, out: &mut dyn Write) -> io::Result<()> {
    match shell {
        Shell::Bash => out.write_all(include_bytes!("completions/serialproxy.bash")),
        Shell::Zsh => out.write_all(include_bytes!("completions/_serialproxy")),
        Shell::Fish => out.write_all(include_bytes!("completions/serialproxy.fish")),
        // These two know the command line alone.
        _ => {
            clap_complete::generate(shell, &mut command, "serialproxy", out);
            Ok(())
        }
    }
}

/// What a script asks.
#[derive(Args, Debug)]
pub(crate) struct Complete {
    shell: Asking,
    /// The words up to the cursor; from bash, the line up to there, and the end of it that bash
    /// replaces
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// The shells that ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Asking {
    Bash,
    Fish,
    Zsh,
}

/// Prints the candidates, one a line, or fails where a file is wanted.
pub(crate) fn complete(asked: Complete, command: Command) -> ExitCode {
    match answer(asked, command) {
        Some(lines) => {
            let _ = io::stdout().lock().write_all(lines.as_bytes());
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}

fn answer(Complete { shell, words }: Complete, command: Command) -> Option<String> {
    let line = |candidate: String| candidate + "\n";
    if shell == Asking::Bash {
        let [line_to_cursor, replaced] = words.as_slice() else { return Some(String::new()) };
        let place = bash::Place::of(line_to_cursor.to_str()?, replaced.to_str()?)?;
        let candidates = candidates(command, place.words.iter().map(OsString::from).collect())?;
        let quoted = candidates.iter().filter_map(|candidate| place.insertion(&candidate.value));
        return Some(quoted.map(line).collect());
    }
    let candidates = candidates(command, words)?;
    Some(candidates.into_iter().map(|candidate| line(candidate.described(shell))).collect())
}

/// Something that fits, with the first line of its help.
#[derive(Debug)]
struct Candidate {
    value: String,
    help: Option<String>,
}

impl Candidate {
    /// The form that zsh's `_describe` and fish take.
    fn described(self, shell: Asking) -> String {
        let (value, mark) = match shell {
            Asking::Zsh => (self.value.replace('\\', r"\\").replace(':', r"\:"), ':'),
            Asking::Bash | Asking::Fish => (self.value, '\t'),
        };
        match self.help {
            Some(help) => format!("{value}{mark}{help}"),
            None => value,
        }
    }
}

/// What fits the last word; none where that is a file.
fn candidates(command: Command, words: Vec<OsString>) -> Option<Vec<Candidate>> {
    let (typed, before) = words.split_last()?;
    let is_option = typed.as_encoded_bytes().starts_with(b"-");
    let is_file = Arc::new(AtomicBool::new(false));
    let command = serialproxy_client::completing(command, before);
    let mut command = asking_for_files(command, &is_file);
    let last = before.len();
    let found = clap_complete::engine::complete(&mut command, words, last, None);
    let mut candidates: Vec<_> = found
        .unwrap_or_default()
        .into_iter()
        .filter_map(|candidate| {
            let help = candidate.get_help().map(ToString::to_string);
            let help = help.and_then(|help| help.lines().next().map(str::to_owned));
            Some(Candidate { value: candidate.get_value().to_str()?.to_owned(), help })
        })
        .collect();
    let is_file = is_file.load(Ordering::Relaxed);
    let is_other = |candidate: &Candidate| !candidate.value.starts_with('-');
    // Options are offered to whoever begins one, and where nothing else fits.
    if !is_option && (is_file || candidates.iter().any(is_other)) {
        candidates.retain(is_other);
    }
    (!is_file || !candidates.is_empty()).then_some(candidates)
}

/// The command line, which notes where a file is wanted.
fn asking_for_files(command: Command, is_file: &Arc<AtomicBool>) -> Command {
    let command = command.mut_args(|argument| match argument.get_value_hint() {
        ValueHint::AnyPath => {
            let is_file = Arc::clone(is_file);
            argument.add(ArgValueCompleter::new(move |_: &OsStr| {
                is_file.store(true, Ordering::Relaxed);
                Vec::new()
            }))
        }
        _ => argument,
    });
    command.mut_subcommands(|command| asking_for_files(command, is_file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(shell: Asking, words: &[&str]) -> Option<String> {
        let words = words.iter().map(OsString::from).collect();
        answer(Complete { shell, words }, crate::command())
    }

    #[test]
    fn commands_options_and_values_are_completed() {
        let fish = |words| asked(Asking::Fish, words).unwrap();
        assert_eq!(
            fish(&["serialproxy", "conn"]),
            "connect\tAttach this terminal to a serial console\n"
        );
        assert!(fish(&["serialproxy", ""]).contains("\nservers\t"));
        assert!(!fish(&["serialproxy", ""]).contains("complete\t"));
        assert!(fish(&["serialproxy", "connect", "--ca"]).starts_with("--cacert\tCA bundle"));
        assert_eq!(fish(&["serialproxy", "servers", "-f", "j"]), "json\tThe API's object\n");
        assert_eq!(
            fish(&["serialproxy", "connect", "--backspace=d"]),
            "--backspace=del\tDEL, 0x7f\n"
        );
        assert!(fish(&["serialproxy", "token", "a"]).starts_with("add\t"));
        for none in [&[][..], &["serialproxy"], &["serialproxy", "--help", "x"]] {
            assert_eq!(asked(Asking::Fish, none).unwrap_or_default(), "", "{none:?}");
        }
    }

    #[test]
    fn options_are_offered_to_who_begins_one_or_where_nothing_else_fits() {
        let zsh = |words| asked(Asking::Zsh, words).unwrap();
        assert!(!zsh(&["serialproxy", ""]).contains("--version"));
        assert!(zsh(&["serialproxy", "--"]).contains("--version:Print version"));
        assert!(zsh(&["serialproxy", "servers", ""]).contains("--format:Output format"));
    }

    #[test]
    fn a_file_is_left_to_the_shell() {
        for words in [
            &["serialproxy", "serve", "--config-file", ""][..],
            &["serialproxy", "connect", "demo", "--cacert", "x"],
            &["serialproxy", "connect", "demo", "--cacert=x"],
            &["serialproxy", "serve", "--serial_console-cert", ""],
            &["serialproxy", "package", ""],
        ] {
            assert_eq!(asked(Asking::Zsh, words), None, "{words:?}");
        }
        assert_eq!(asked(Asking::Bash, &["serialproxy serve --config-file a\\ ", "a\\ "]), None);
    }

    #[test]
    fn zsh_tells_a_colon_of_a_value_from_that_before_the_help() {
        let described = |help: Option<&str>| {
            let (value, help) = (r"a:b\".to_owned(), help.map(str::to_owned));
            Candidate { value, help }.described(Asking::Zsh)
        };
        assert_eq!(described(None), r"a\:b\\");
        assert_eq!(described(Some("c:d")), r"a\:b\\:c:d");
    }
}
