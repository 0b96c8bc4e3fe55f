//! Running in the background (`[serial_console] daemon`): the program starts itself again, away from
//! the terminal, and its first process ends when the second is ready.
//!
//! ```text
//!   serve ─▶ starts `serve … --detached`, waits ─▶ prints its ready line, exit 0
//!                 └─▶ new session, / as its directory ─▶ ready ─▶ nothing on stdin, stdout, stderr
//! ```
//!
//! Unlike a fork, a newly started process inherits no threads, locks or descriptors.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;

use anyhow::Context;
use serialproxy_config::Config;

use crate::complain;
use crate::options::DETACHED;
use crate::options::ServerArgs;

/// The files that the program writes besides its state; a daemon always has both.
#[derive(Debug)]
pub(crate) struct Files {
    /// None means stderr.
    pub(crate) log: Option<PathBuf>,
    pub(crate) pid: Option<PathBuf>,
}

impl Files {
    pub(crate) fn new(args: &ServerArgs, config: &Config) -> Self {
        let file = |given: &Option<PathBuf>, name| match given {
            // A daemon changes its working directory, so a relative path must be resolved before.
            Some(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            None => config.serial_console.daemon.then(|| config.state_dir.join(name)),
        };
        Self {
            log: file(&args.log_file, "serialproxy.log"),
            pid: file(&args.pid_file, "serialproxy.pid"),
        }
    }

    /// Whether one of them is in this directory.
    pub(crate) fn are_below(&self, directory: &Path) -> bool {
        [&self.log, &self.pid].into_iter().flatten().any(|file| file.starts_with(directory))
    }
}

/// Starts the background process with the flags of this one. If it fails, it reports the reason
/// itself.
pub(crate) fn start(files: &Files) -> ExitCode {
    if let Some(log) = &files.log {
        complain(&format!("the log is in {}", log.display()));
    }
    match wait_until_ready() {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("the program cannot start in the background: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn wait_until_ready() -> io::Result<ExitCode> {
    let name = std::env::args_os().next().unwrap_or_else(|| "serialproxy".into());
    let mut child = Command::new(std::env::current_exe()?)
        // By its name it may be nova-serialproxy.
        .arg0(name)
        .args(std::env::args_os().skip(1))
        .arg(format!("--{DETACHED}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut ready)?;
    }
    if ready.is_empty() {
        let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
        return Ok(code.filter(|code| *code != 0).map_or(ExitCode::FAILURE, ExitCode::from));
    }
    io::stdout().write_all(ready.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Leaves the terminal, its signals, and the present working directory. All paths are absolute by
/// now.
pub(crate) fn leave_terminal() -> anyhow::Result<()> {
    rustix::process::setsid().context("cannot detach from the terminal")?;
    std::env::set_current_dir("/").context("cannot change to the directory /")
}

/// Closes the inherited stdin, stdout and stderr: the process that started the program may wait for
/// their end.
pub(crate) fn let_go_of_stdio() -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    Ok(())
}

/// The pid file; removed at the end of the process.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    pub(crate) fn write(path: &Path) -> anyhow::Result<Self> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write the pid file {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
