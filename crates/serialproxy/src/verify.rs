//! `serialproxy verify`: whether somebody changed what this host has recorded. It needs no server.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serialproxy_audit::Verified;
use serialproxy_config::Config;

use crate::complain;

/// Check that nobody changed, removed or moved a line of the audit trail of this host
#[derive(Args, Debug)]
#[command(after_help = "Example:
  serialproxy verify --state-dir /var/lib/serialproxy

Prints what is wrong: file, line, and why. Exit code 1 if something is.")]
pub(crate) struct Verify {
    /// Check the audit trail; the default
    #[arg(long)]
    audit: bool,
    /// Directory for persistent state [default: /var/lib/serialproxy]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Verify) -> ExitCode {
    let state_dir = args.state_dir.clone().unwrap_or_else(|| Config::default().state_dir);
    match verify(&serialproxy_audit::directory(&state_dir)) {
        Ok(Verified { files, events, flaws }) if flaws.is_empty() => {
            say(&format!("audit: {events} events in {files} files, nothing is wrong\n"));
            ExitCode::SUCCESS
        }
        Ok(Verified { flaws, .. }) => {
            let text = flaws.iter().fold(String::new(), |mut text, flaw| {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{flaw}");
                text
            });
            say(&text);
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn verify(directory: &Path) -> anyhow::Result<Verified> {
    serialproxy_audit::verify(directory)
        .with_context(|| format!("the audit trail {} cannot be read", directory.display()))
}

/// A reader that closed the pipe has all that it wanted.
fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
