//! `docs/config.md`, made from the table.

use std::fmt::Write;

use crate::options::Opt;
use crate::options::groups;
use crate::options::options;

const INTRODUCTION: &str = "\
# Configuration

`serialproxy` reads its options from files and flags. `serialproxy config show` prints the values
that count and where each comes from; `serialproxy config check` only says what is wrong.

## Sources

1. The defaults below.
2. Files: each `--config-file FILE` in order, or without any `/etc/serialproxy/serialproxy.conf` if
   it exists; then the files `*.conf` of each `--config-dir DIRECTORY`, by name. A later file overrides an earlier one.
3. Flags: every option is also a flag `--GROUP-OPTION VALUE`, for example
   `--serial_console-port_range 20000:30000`; for options of `[DEFAULT]` it is `--OPTION`; passwords
   have none, since others could read it. The flag
   of a boolean may stand without a value, which then is `true`, and `--nodebug` or
   `--serial_console-noenabled` means `false`.

`--state-dir DIRECTORY` (default `/var/lib/serialproxy`), written STATE below, is a flag only.

An unknown group or option or a bad value is an error that names file, line, option and what is
allowed; all errors are told at once. Nothing is ignored: an option whose function is not in this
version yet is refused unless it is set to its default.

`serialproxy proxy` also reads a `nova.conf` (a file of that name, or with options of `[DEFAULT]` or
`[api]` that only Nova has): groups and options that only Nova has are passed over and listed in the
log at debug level, and what Nova's proxies share in `[DEFAULT]` (`cert`, `key`, `ssl_only`, `web`,
`daemon`, `record`, `source_is_ipv6`) counts where `[serial_console]` does not say it.

## File format

The format is that of oslo.config, so that a file made for Nova reads the same:

```ini
# A comment has a line of its own; it begins with # or ;
[serial_console]
enabled = true
base_url: http://console.example.com:6083/serial.html

[console]
allowed_origins = one.example.com,
    two.example.com

[static]
line = switch-1 tcp://10.0.0.7:7001
line = switch-1:1 tcp://10.0.0.7:7002 backspace=ctrl-h newline=crlf
```

- Of an option that stands repeatedly the last value counts, save for repeatable ones, which keep
  all values of all files; flags replace those of the files.
- A line that begins with white space continues the value above it.
- One pair of matching quotes around a value is taken off.
- `$option` or `${option}` stands for the value of that option in the same group or in
  `[DEFAULT]`, `$group.option` for one in another group, `$$` for a dollar.
- Names of options are case-sensitive. A file has at most 1 MiB, a value at most 64 KiB.

## Options
";

/// The whole document.
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for group in groups() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n### `[{group}]`\n\n");
        text.push_str("| option | default | allowed | what it does |\n| --- | --- | --- | --- |\n");
        for option in options().filter(|option| option.group == group) {
            text.push_str(&row(option));
        }
    }
    text
}

fn row(option: &Opt) -> String {
    let default = match option.default_text() {
        "" => "not set".to_owned(),
        default if default.contains(' ') => default.to_owned(),
        default => format!("`{default}`"),
    };
    let cells = [&format!("`{}`", option.name), &default, option.allowed(), option.help];
    let cells = cells.map(|cell| cell.replace('|', "\\|")).join(" | ");
    format!("| {cells} |\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_reference_is_the_generated_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == reference(),
            "docs/config.md is not what the table of options says; make it anew with\n    \
             UPDATE_DOCS=1 cargo test -p serialproxy-config reference"
        );
    }
}
