//! `serialproxy package`, a hidden command: writes what packages contain beside the program, so that all of it
//! follows from the command line and the table of options.

use std::fs;
use std::io;
use std::path::Path;

use clap_complete::Generator;
use clap_complete::Shell;

use crate::completions;

/// Writes the man pages to `man`, the completions to `completions`, and the configuration file.
pub(crate) fn write(directory: &Path, command: clap::Command) -> io::Result<()> {
    let [man, scripts] = ["man", "completions"].map(|name| directory.join(name));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&scripts)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut file = fs::File::create(scripts.join(shell.file_name("serialproxy")))?;
        completions::write(shell, command.clone(), &mut file)?;
    }
    clap_mangen::generate_to(command, &man)?;
    fs::write(directory.join("serialproxy.conf"), serialproxy_config::sample())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pages of a command and of those below it.
    fn pages(command: &clap::Command, name: &str) -> Vec<String> {
        let below = command.get_subcommands().filter(|below| !below.is_hide_set());
        let below = below.flat_map(|below| pages(below, &format!("{name}-{}", below.get_name())));
        [format!("{name}.1")].into_iter().chain(below).collect()
    }

    #[test]
    fn every_command_has_a_man_page() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), crate::command()).unwrap();
        let mut written: Vec<_> = fs::read_dir(directory.path().join("man")).unwrap().collect();
        written.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
        let written: Vec<_> = written
            .into_iter()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut expected = pages(&crate::command(), "serialproxy");
        expected.sort();
        assert_eq!(written, expected);
        let serve = fs::read_to_string(directory.path().join("man/serialproxy-serve.1")).unwrap();
        assert!(serve.contains("serial_console"), "{serve}");
    }
}
