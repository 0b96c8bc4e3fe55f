//! `docs/config.md`, generated from the table.

use std::fmt::Write;

use crate::option::Opt;
use crate::options::groups;
use crate::options::options;

const INTRODUCTION: &str = "\
# Configuration

`serialproxy` reads its options from files and flags. `serialproxy config show` prints the configuration in
effect and the source of each value; `serialproxy config check` only reports errors and warnings.

## Sources

Later sources override earlier ones:

1. The defaults below.
2. Each `--config-file FILE`, in order. Without any, `/etc/serialproxy/serialproxy.conf` is read if it exists, and
   after it the files `/etc/serialproxy/serialproxy.conf.d/*.conf`, sorted by name. `serialproxy join` writes
   `cluster.conf` there.
3. The files `*.conf` of each `--config-dir DIRECTORY`, sorted by name.
4. Flags. Every option is also a flag `--GROUP-OPTION VALUE`, for example `--serial_console-port_range
   20000:30000`; for options of `[DEFAULT]` the flag is `--OPTION`. A boolean flag without a value means `true`;
   `--nodebug` or `--serial_console-noenabled` means `false`. Passwords have no flag, because other users of the
   machine can read command lines.

`--state-dir DIRECTORY` (default `/var/lib/serialproxy`), written STATE below, exists only as a flag.

An unknown group, an unknown option or a bad value is an error that names file, line, option and allowed values.
All errors are reported at once.

`serialproxy proxy` also reads a `nova.conf`. A file counts as one if it has that name, or if it sets options of
`[DEFAULT]` or `[api]` that only Nova has. In such files, groups and options that only Nova has are ignored, and
listed in the log at debug level. The options that Nova's console proxies share in `[DEFAULT]` (`cert`, `key`,
`ssl_only`, `web`, `daemon`, `record`, `source_is_ipv6`) apply unless `[serial_console]` sets them.

## Changes while it runs

On SIGHUP, serialproxy reads its configuration and its certificates again. If the configuration has an error, the
log names it, and nothing changes. `log_level` and `debug` take effect at once; for other options that have changed,
the log lists them, and they take effect at the next start. SIGUSR1 turns the debug level on, and off again.

## File format

The format is oslo.config's, so a file written for Nova is read in the same way:

```ini
# A comment needs a line of its own, which begins with # or ;
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

- If an option is set more than once, the last value counts. A repeatable option keeps all values from all
  files; flags replace the values from files.
- A line that begins with white space continues the value above it.
- One pair of matching quotes around a value is removed.
- `$option` or `${option}` is replaced by the value of that option in the same group or in `[DEFAULT]`,
  `$group.option` by the value of an option in another group, and `$$` by a dollar sign.
- Option names are case-sensitive. A file has at most 1 MiB, a value at most 64 KiB.

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
