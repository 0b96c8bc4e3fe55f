//! The configuration file that packages install, made from the table: every option stands in it as a comment.

use std::fmt::Write;

use crate::option::Opt;
use crate::options::groups;
use crate::options::options;
use crate::show::assignment;

const INTRODUCTION: &str = "\
# Configuration of serialproxy.
#
# Every option stands here as a comment, with its default where it has one. To set an option, remove the # before
# its name. `serialproxy config check` finds mistakes, `serialproxy config show` prints what is in effect.
# The files serialproxy.conf.d/*.conf in this directory are read after this one.
";

/// Columns of a line.
const WIDTH: usize = 114;

/// The whole file.
pub fn sample() -> String {
    let mut text = INTRODUCTION.to_owned();
    for group in groups() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[{group}]\n");
        for option in options().filter(|option| option.group == group) {
            text.push('\n');
            text.push_str(&entry(option));
        }
    }
    text
}

fn entry(option: &Opt) -> String {
    let mut text = comment(option.help);
    text.push_str(&comment(&format!("Allowed: {}.", option.allowed())));
    if option.is_multi() {
        text.push_str(&comment("May be set several times."));
    }
    let default = option.fixed_default();
    if default.is_none() && !option.default_text().is_empty() {
        text.push_str(&comment(&format!("Default: {}.", option.default_text())));
    }
    match (option.group, option.name) {
        // A file that does not say so hands out no consoles, as one of Nova's.
        ("serial_console", "enabled") => text.push_str("enabled = true\n"),
        (_, name) => {
            let _ = writeln!(text, "#{}", assignment(name, default.unwrap_or_default()));
        }
    }
    text
}

/// A comment, in lines of a bounded width.
fn comment(words: &str) -> String {
    let mut text = String::from("#");
    let mut width = 1;
    for word in words.split_whitespace() {
        if width + 1 + word.chars().count() > WIDTH {
            text.push_str("\n#");
            width = 1;
        }
        text.push(' ');
        text.push_str(word);
        width += 1 + word.chars().count();
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::Role;
    use crate::Sources;
    use crate::load;

    fn loaded(text: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("serialproxy.conf");
        std::fs::write(&file, text).unwrap();
        let sources = Sources { files: vec![file], role: Role::Serve, ..Sources::default() };
        load(&sources).unwrap().config
    }

    #[test]
    fn the_file_changes_nothing_but_that_consoles_are_handed_out() {
        let config = loaded(&sample());
        assert_eq!(config, loaded("[serial_console]\nenabled = true\n"));
        assert!(config.serial_console.enabled);
    }

    #[test]
    fn every_default_in_it_is_read_back_as_the_default() {
        let is_set = |line: &str| {
            let assigned = line.strip_prefix('#').and_then(|line| line.split_once(" = "));
            assigned.is_some_and(|(name, _)| !name.contains(' '))
        };
        let sample = sample();
        let lines = sample.lines().map(|line| if is_set(line) { &line[1..] } else { line });
        let text: Vec<&str> = lines.collect();
        assert!(text.contains(&"token_ttl = 600"), "{sample}");
        assert_eq!(loaded(&text.join("\n")), loaded(&sample));
    }

    #[test]
    fn every_option_stands_in_it_once() {
        let sample = sample();
        for option in options() {
            let name = format!("{} =", option.name);
            let count =
                sample.lines().filter(|line| line.trim_start_matches('#').starts_with(&name));
            let same = options().filter(|other| other.name == option.name).count();
            assert_eq!(count.count(), same, "{}", option.name);
        }
        assert!(sample.lines().all(|line| line.chars().count() <= WIDTH));
    }
}
