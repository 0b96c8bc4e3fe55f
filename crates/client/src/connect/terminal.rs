//! The terminal in front of the person: its mode, its keys, its screen, and the signals that end
//! the command.

use std::future::Future;
use std::time::Duration;

use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use rustix::termios::isatty;
use rustix::termios::tcgetattr;
use rustix::termios::tcgetwinsize;
use rustix::termios::tcsetattr;
use serialproxy_proto::console::Size;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use uuid::Uuid;

use crate::connect::End;
use crate::connect::escape::Escapes;
use crate::connect::escape::Typed;
use crate::connect::keyboard::Keyboard;
use crate::connect::ledger::Ledger;
use crate::connect::notices;
use crate::connect::paste::Paste;
use crate::connect::screen::LineEnd;
use crate::connect::screen::Screen;
use crate::failure::Failure;
use crate::settings::EscapeKey;
use crate::settings::Settings;

/// How long a slow stdout may take for the remaining output.
const FINISH_TIME: Duration = Duration::from_secs(2);

/// The byte of Ctrl-C.
pub(crate) const CTRL_C: u8 = 0x03;

/// The terminal and the process's signals. Dropping it restores the terminal, also in a panic.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) keyboard: Keyboard,
    pub(crate) screen: Screen,
    pub(crate) signals: Signals,
    pub(crate) escapes: Escapes,
    pub(crate) settings: Settings,
    /// Sent input, over all connections of a session.
    pub(crate) ledger: Ledger,
    /// Input that is not sent yet.
    pub(crate) paste: Paste,
    /// The last shown line and its boot.
    pub(crate) boot: Option<(Uuid, u64)>,
    /// Notified when its grid may have changed.
    pub(crate) resized: Signal,
    /// Raw mode while this lives; `None` where stdin is not a terminal.
    raw: Option<RawMode>,
}

/// The grid of the terminal on stdout, if it is one and reports its size.
pub(crate) fn grid() -> Option<Size> {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    let grid = Size { rows: size.ws_row, cols: size.ws_col };
    (grid.rows > 0 && grid.cols > 0).then_some(grid)
}

impl Terminal {
    /// Prepares the terminal; with `paced`, pastes go at a UART's speed.
    pub(crate) fn open(paced: bool, settings: Settings) -> std::io::Result<Self> {
        // Signals first: from here on, none ends the process without running `drop`.
        let signals = Signals::catch()?;
        let resized = signal(SignalKind::window_change())?;
        let raw = match isatty(rustix::stdio::stdin()) {
            true => Some(RawMode::enter()?),
            false => None,
        };
        let line_end = match raw.is_some() && isatty(rustix::stdio::stderr()) {
            true => LineEnd::Raw,
            false => LineEnd::Cooked,
        };
        Ok(Self {
            keyboard: Keyboard::start()?,
            screen: Screen::start(line_end)?,
            signals,
            // Piped input contains no escapes.
            escapes: Escapes::new(match raw {
                Some(_) => settings.escape.unwrap_or(EscapeKey::Byte(b'~')),
                None => EscapeKey::None,
            }),
            settings,
            ledger: Ledger::default(),
            paste: Paste::new(paced),
            boot: None,
            resized,
            raw,
        })
    }

    /// Whether input comes from a person, not from a pipe or a file.
    pub(crate) fn is_interactive(&self) -> bool {
        self.raw.is_some()
    }

    /// Whether the answers of a terminal on stdout would go to another reader of that terminal.
    pub(crate) fn is_answered_elsewhere(&self) -> bool {
        !self.is_interactive() && isatty(rustix::stdio::stdout())
    }

    /// Drops input that is not sent yet, with a notice if there was any.
    pub(crate) fn stop_paste(&mut self) {
        let dropped = self.paste.clear();
        if dropped > 0 {
            self.screen.say(&notices::paste_stopped(dropped));
        }
    }

    /// Waits for `work`, unless the person leaves first. Input is dropped meanwhile.
    pub(crate) async fn unless_left<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let mut work = std::pin::pin!(work);
        loop {
            let interactive = self.is_interactive();
            tokio::select! {
                biased;
                signal = self.signals.caught() => return Err(Failure::Signal(signal).into()),
                typed = self.keyboard.read(), if interactive => self.leaves(typed)?,
                done = &mut work => return Ok(done),
            }
        }
    }

    fn leaves(&mut self, typed: Option<Vec<u8>>) -> Result<(), End> {
        // The terminal is gone.
        let typed = typed.ok_or(End::Left)?;
        for typed in self.escapes.feed(&typed) {
            match typed {
                Typed::Leave => return Err(End::Left),
                Typed::Bytes(bytes) if bytes.contains(&CTRL_C) => self.stop_paste(),
                Typed::Bytes(_) | Typed::Report(_) => {}
                Typed::Command(_) => self.screen.say(&notices::not_connected(&self.escapes)),
            }
        }
        Ok(())
    }

    /// Shows the remaining output and restores the terminal.
    pub(crate) async fn close(self) {
        self.screen.finish(FINISH_TIME).await;
        drop(self.raw);
    }
}

/// Raw mode of the terminal on stdin; dropping it restores the earlier mode.
#[derive(Debug)]
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> std::io::Result<Self> {
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        let guard = Self { before };
        tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(guard)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // At once, without draining: blocked output must not keep the terminal in raw mode.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The signals that end the command with a clean-up.
#[derive(Debug)]
pub(crate) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal, and returns its name. Cancel-safe.
    pub(crate) async fn caught(&mut self) -> &'static str {
        tokio::select! {
            _ = self.hangup.recv() => "SIGHUP",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
