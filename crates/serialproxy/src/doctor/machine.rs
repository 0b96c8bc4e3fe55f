//! This host: how many files the service may open, and its clock.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::SystemTime;

use rustix::process::Resource;
use rustix::process::getrlimit;
use tokio::process::Command;
use tokio::time::timeout;

use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::service;
use crate::limits;

/// So few connections of users at once are a warning, or a problem.
const FEW: usize = 1000;
const TOO_FEW: usize = 100;

/// How far into the future the time of a file may be: file systems round, and other hosts may write there.
const AHEAD: Duration = Duration::from_secs(60);

/// How long systemd may take to say whether the clock is synchronized.
const PATIENCE: Duration = Duration::from_secs(3);

/// The limit of the service where it runs, else the one of this shell.
pub(super) fn open_files(subject: &Subject) -> Vec<Finding> {
    let recorded = subject.config().serial_console.record.place.is_some();
    let running = service::pids(&subject.config().state_dir).into_iter().find_map(limit_of);
    let (whose, limit) = match running {
        Some(limit) => ("the running service", limit),
        None => {
            let own = getrlimit(Resource::Nofile).maximum;
            let own = own.map_or(usize::MAX, |own| usize::try_from(own).unwrap_or(usize::MAX));
            ("this process", own)
        }
    };
    vec![judge_files(whose, limit, recorded)]
}

fn judge_files(whose: &str, limit: usize, recorded: bool) -> Finding {
    let connections = limits::connections(limit, recorded);
    let limit = if limit == usize::MAX { "any number of".into() } else { limit.to_string() };
    let text = format!(
        "{whose} may open {limit} files, which is enough for {connections} connections of users"
    );
    let fix = format!(
        "raise the limit of open files (LimitNOFILE= of systemd, ulimit -Hn of a shell) to {}",
        limits::files_for_all(recorded)
    );
    match connections {
        0..TOO_FEW => Finding::problem(Check::OpenFiles, text, fix),
        TOO_FEW..FEW => Finding::warning(Check::OpenFiles, text, fix),
        _ => Finding::ok(Check::OpenFiles, text),
    }
}

/// The hard limit of a process: the service raises its own limit up to that.
fn limit_of(pid: u32) -> Option<usize> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let hard = files.split_whitespace().nth(1)?;
    if hard == "unlimited" { Some(usize::MAX) } else { hard.parse().ok() }
}

/// Whether the clock is kept right, and never went back.
pub(super) async fn clock(state_dir: &Path) -> Vec<Finding> {
    let directory = state_dir.to_owned();
    let ahead = tokio::task::spawn_blocking(move || newest(&directory, SystemTime::now())).await;
    if let Ok(Some((file, ahead))) = ahead {
        let seconds = ahead.as_secs();
        return vec![Finding::problem(
            Check::Clock,
            format!(
                "{file} was written {seconds} s after now: the clock of this host was set back"
            ),
            "set the clock, and let chrony or systemd-timesyncd keep it; tokens, certificates and \
             leases depend on it",
        )];
    }
    if is_synchronized().await == Some(false) {
        return vec![Finding::warning(
            Check::Clock,
            "systemd says that the clock of this host is not synchronized",
            "enable chrony or systemd-timesyncd (`timedatectl set-ntp true`)",
        )];
    }
    vec![Finding::ok(Check::Clock, "the clock did not go back since the service last wrote")]
}

/// The file of the state that was written last, where that was after `now`, and by how much.
fn newest(state_dir: &Path, now: SystemTime) -> Option<(String, Duration)> {
    let newest = ["serialproxy.sqlite", "admin-token", "cluster/cert.pem"].into_iter();
    let newest = newest.map(|name| state_dir.join(name));
    let newest = newest.filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)));
    let (written, path) = newest.max()?;
    let ahead = written.duration_since(now).ok().filter(|ahead| *ahead > AHEAD)?;
    Some((path.display().to_string(), ahead))
}

/// As far as systemd knows; none where it is not there.
async fn is_synchronized() -> Option<bool> {
    let mut ask = Command::new("timedatectl");
    ask.args(["show", "--property=NTPSynchronized", "--value"]);
    let output = ask.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.ok()?.ok()?;
    match output.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn few_files_are_a_warning_and_too_few_a_problem() {
        for (limit, recorded, level) in [
            (usize::MAX, true, Level::Ok),
            (20_000, false, Level::Ok),
            (2_000, false, Level::Warning),
            (3_000, true, Level::Warning),
            (600, false, Level::Problem),
            (0, false, Level::Problem),
        ] {
            assert_eq!(judge_files("it", limit, recorded).level, level, "{limit}");
        }
    }

    #[test]
    fn the_limit_of_a_process_is_its_hard_one() {
        let own = getrlimit(Resource::Nofile)
            .maximum
            .map_or(usize::MAX, |own| usize::try_from(own).unwrap());
        assert_eq!(limit_of(std::process::id()), Some(own));
        assert_eq!(limit_of(u32::MAX), None);
    }

    #[tokio::test]
    async fn a_file_of_the_future_shows_that_the_clock_was_set_back() {
        let state = tempfile::tempdir().unwrap();
        let file = File::create(state.path().join("serialproxy.sqlite")).unwrap();
        assert_ne!(clock(state.path()).await[0].level, Level::Problem);
        file.set_modified(SystemTime::now() + 2 * AHEAD).unwrap();
        assert_eq!(clock(state.path()).await[0].level, Level::Problem);
    }
}
