//! `log`: prints a line's output to stdout, and notes about its gaps to stderr.

use std::io::ErrorKind;
use std::io::Write;
use std::time::Duration;

use rustix::termios::isatty;
use serialproxy_proto::id::LineKey;
use tokio::time::Instant;
use tokio::time::sleep;
use uuid::Uuid;

use crate::api::Api;
use crate::api::Output;
use crate::command::Begin;
use crate::command::Log;
use crate::connect::muting::Muting;
use crate::connect::reset::BEGIN;
use crate::connect::reset::Changes;
use crate::connect::screen::write_soon;
use crate::connect::terminal::Signals;
use crate::failure::Failure;
use crate::text::grouped;
use crate::text::say;

/// How often to ask for a line's new output.
const POLL: Duration = Duration::from_secs(1);
/// How long to try again when the API does not respond.
const AWAY: Duration = Duration::from_secs(60);

/// The position in a line up to which its output is printed.
#[derive(Clone, Copy, Debug)]
struct Place {
    line: Uuid,
    offset: u64,
}

/// Prints a line's output. A terminal gets nothing that it would answer, and is restored at the
/// end, even after a signal.
pub(crate) async fn log(api: &Api, command: &Log) -> Result<(), Failure> {
    let mut stdout = Stdout::open()?;
    if stdout.terminal.is_none() {
        return print_all(api, command, &mut stdout).await;
    }
    let mut signals = Signals::catch()?;
    tokio::select! {
        done = print_all(api, command, &mut stdout) => done,
        signal = signals.caught() => Err(Failure::Signal(signal)),
    }
}

async fn print_all(api: &Api, command: &Log, stdout: &mut Stdout) -> Result<(), Failure> {
    let key = LineKey { server: api.find(&command.server).await?, port: command.port };
    let from = match command.from {
        Begin::Offset(offset) => Some(offset),
        Begin::Start | Begin::Live => None,
    };
    let mut output = api.output(key, from).await?;
    gap(from.unwrap_or(output.offset), output.offset);
    let mut end = output.end;
    loop {
        if !stdout.print(&output.bytes)? {
            return Ok(());
        }
        let offset = output.offset.saturating_add(output.bytes.len() as u64);
        let place = Place { line: output.line, offset };
        // Without `--follow`, it ends where the output ended at the start, even if the guest goes
        // on printing.
        let seen = output.bytes.is_empty() || end.is_some_and(|end| end <= offset);
        if seen && !command.follow {
            return Ok(());
        }
        if output.bytes.is_empty() {
            sleep(POLL).await;
        }
        output = match next(api, key, place).await {
            Err(Failure::Api { .. }) if command.follow => again(api, key, place).await?,
            output => output?,
        };
        if output.line != place.line {
            end = output.end;
        }
    }
}

/// The output after `place`, or the next that is still kept.
async fn next(api: &Api, key: LineKey, place: Place) -> Result<Output, Failure> {
    match api.output(key, Some(place.offset)).await {
        Ok(output) if output.line == place.line => {
            gap(place.offset, output.offset);
            return Ok(output);
        }
        // A new line may not have that much output yet.
        Ok(_) | Err(Failure::Fault { status: 400, .. }) => {}
        Err(failure) => return Err(failure),
    }
    let output = api.output(key, None).await?;
    say("output may be missing here: the server started a new history in the meantime");
    Ok(output)
}

/// Like `next`, but waits until the API responds again.
async fn again(api: &Api, key: LineKey, place: Place) -> Result<Output, Failure> {
    say(&format!("the API does not respond; retrying for up to {} s", AWAY.as_secs()));
    let start = Instant::now();
    loop {
        sleep(POLL).await;
        match next(api, key, place).await {
            Err(Failure::Api { .. }) if start.elapsed() < AWAY => {}
            output => return output,
        }
    }
}

fn gap(from: u64, to: u64) {
    if from == to {
        return;
    }
    let size = grouped(to.saturating_sub(from));
    say(&format!("{size} bytes of output are missing here: they are no longer kept"));
}

/// The destination of the output.
#[derive(Debug)]
struct Stdout {
    /// Set if it is a terminal.
    terminal: Option<Terminal>,
}

/// A terminal on which output is printed.
#[derive(Debug, Default)]
struct Terminal {
    muting: Muting,
    changes: Changes,
}

impl Stdout {
    fn open() -> Result<Self, Failure> {
        let terminal = isatty(rustix::stdio::stdout()).then(Terminal::default);
        if terminal.is_some() {
            write(BEGIN)?;
        }
        Ok(Self { terminal })
    }

    /// False once there is no reader any more.
    fn print(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        match &mut self.terminal {
            None => write(bytes),
            Some(Terminal { muting, changes }) => {
                let mut shown = Vec::with_capacity(bytes.len());
                muting.filter(bytes, &mut shown);
                changes.follow(&shown);
                write(&shown)
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        write_soon(rustix::stdio::stdout(), &self.changes.restore());
    }
}

fn write(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(_) => Err(Failure::Output),
    }
}
