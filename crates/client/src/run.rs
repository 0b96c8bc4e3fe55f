//! `run`: one command in the shell of a guest, with its output and its exit code.

mod shell;

use std::io::ErrorKind;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use rustix::termios::isatty;
use serialproxy_proto::api::Line;
use serialproxy_proto::close::CloseCode;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::id::SessionId;
use serialproxy_proto::token::AskedMode;
use serialproxy_proto::token::Mode;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio::time::timeout_at;

use crate::api::Api;
use crate::api::ConsoleRequest;
use crate::command::Begin;
use crate::command::script::Run;
use crate::connect::FIRST_PAUSE;
use crate::connect::LONGEST_PAUSE;
use crate::connect::door::Attached;
use crate::connect::door::Door;
use crate::connect::door::passes;
use crate::connect::ledger::Again;
use crate::connect::ledger::Ledger;
use crate::connect::muting::Muting;
use crate::connect::terminal::Signals;
use crate::connect::view::Seen;
use crate::connect::wire::Event;
use crate::connect::wire::Wire;
use crate::failure::Failure;
use crate::failure::known;
use crate::run::shell::Answer;
use crate::run::shell::Script;
use crate::run::shell::asks_for_login;
use crate::run::shell::last_line;
use crate::text::grouped;
use crate::text::say;

const ENTER: &[u8] = b"\r";
const INTERRUPT: &[u8] = b"\x03";

/// How long a shell may take to print its prompt after Enter, or to begin the command.
const PROMPT: Duration = Duration::from_secs(10);
/// How long the guest must be silent until its prompt is printed as a whole.
const QUIET: Duration = Duration::from_millis(300);
/// How long a shell may take to echo a line, and how long it is silent then. The next line waits for
/// that: a shell that is busy reads at most 4 KiB ahead.
const ECHO: Duration = Duration::from_secs(1);
const ECHOED: Duration = Duration::from_millis(30);
/// How long an interrupted command may take to end.
const END: Duration = Duration::from_secs(3);
/// The silence after which we ping, and after which the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(15);
const LOST: Duration = Duration::from_secs(45);
/// How much output is acknowledged at a time.
const ACKNOWLEDGE: u64 = 64 << 10;

/// Most bytes of a prompt.
const MOST: usize = 64 * 1024;

/// Runs a command, and prints what it prints.
pub(crate) async fn run(api: &Api, command: &Run) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let server = api.find(&command.server).await?;
    let path = format!("/v1/lines/{server}/{}", command.port);
    let line: Line = api.read(api.call(Method::GET, &path, &[], None).await?)?;
    if line.last_line.as_deref().is_some_and(asks_for_login) {
        return Err(Failure::LoginPrompt(line.server.name));
    }
    let request = ConsoleRequest { server, port: command.port, mode: Mode::Write, wait: false };
    let mode = AskedMode::Only(Mode::Write);
    let mut door = Door::new(api, request, mode, None, Some(Begin::Live));
    let attached = tokio::select! {
        attached = door.attach() => attached.map_err(busy)?,
        signal = signals.caught() => return Err(Failure::Signal(signal)),
    };
    let mut console = Console::new(door, attached);
    let outcome = console.run(command, &mut signals).await;
    console.wire.close().await;
    match outcome? {
        0 => Ok(()),
        code => Err(Failure::Exited(code)),
    }
}

/// The refusal of a console at which somebody else types, without the options of `connect`.
fn busy(failure: Failure) -> Failure {
    match failure {
        Failure::Closed { code, reason, .. } if known(code) == Some(CloseCode::Busy) => {
            Failure::Busy(reason)
        }
        failure => failure,
    }
}

/// A console at which this command types.
struct Console<'a> {
    door: Door<'a>,
    wire: Wire,
    session: SessionId,
    server: String,
    /// The next byte of output.
    seen: Seen,
    acknowledged: u64,
    heard: Instant,
    typed: Ledger,
    /// How long the server keeps the session without a connection.
    grace: Duration,
    /// Whether the command is typed, so that a lost connection may be resumed. Before, it would be taken for
    /// a shell that does not respond.
    resumes: bool,
    /// Why the connection is lost, until the session is resumed.
    away: Option<Failure>,
    /// The guest's boot.
    epoch: u64,
}

impl<'a> Console<'a> {
    fn new(door: Door<'a>, Attached { wire, hello, .. }: Attached) -> Self {
        Self {
            door,
            wire,
            session: hello.session,
            server: hello.server.name,
            seen: Seen { line: hello.line, offset: hello.offset },
            acknowledged: hello.offset,
            heard: Instant::now(),
            typed: Ledger::default(),
            grace: Duration::from_secs(hello.grace),
            resumes: false,
            away: None,
            epoch: hello.epoch,
        }
    }

    /// Returns the command's exit code.
    async fn run(&mut self, command: &Run, signals: &mut Signals) -> Result<u8, Failure> {
        let mut script = Script::new(&command.command);
        let mut stdout = Stdout::new();
        let deadline = Instant::now() + Duration::from_secs(command.timeout);
        let caught = tokio::select! {
            begun = self.begin(&mut script) => {
                begun?;
                self.resumes = true;
                None
            }
            signal = signals.caught() => Some(signal),
        };
        if let Some(signal) = caught {
            self.interrupt(&mut script, &mut stdout).await;
            return Err(Failure::Signal(signal));
        }
        let begins_by = deadline.min(Instant::now() + PROMPT);
        // What was read already may have the beginning of the answer.
        let mut bytes = Bytes::new();
        loop {
            let answer = script.take(&bytes);
            if let Err(failure) = stdout.print(answer.output()) {
                self.interrupt(&mut script, &mut stdout).await;
                return Err(failure);
            }
            if let Answer::Ended(_, code) = answer {
                return Ok(code);
            }
            let until = if script.has_begun() { deadline } else { begins_by };
            let event = tokio::select! {
                bytes = timeout_at(until, self.output()) => bytes,
                signal = signals.caught() => {
                    self.interrupt(&mut script, &mut stdout).await;
                    return Err(Failure::Signal(signal));
                }
            };
            bytes = match event {
                Ok(bytes) => bytes?,
                Err(_) if self.away.is_some() => return Err(self.lost()),
                Err(_) => {
                    let begun = script.has_begun();
                    self.interrupt(&mut script, &mut stdout).await;
                    return Err(match begun {
                        true => Failure::Late(command.timeout),
                        false => Failure::NoShell(self.server.clone()),
                    });
                }
            };
        }
    }

    /// Makes sure that the port is at a prompt, and types the command.
    async fn begin(&mut self, script: &mut Script) -> Result<(), Failure> {
        self.types(ENTER.to_vec());
        let mut prompt = Vec::new();
        self.until_quiet(PROMPT, QUIET, &mut prompt).await?;
        if prompt.is_empty() {
            return Err(Failure::NoShell(self.server.clone()));
        }
        if asks_for_login(&last_line(&prompt)) {
            return Err(Failure::LoginPrompt(self.server.clone()));
        }
        for line in script.lines() {
            self.types([line.as_bytes(), ENTER].concat());
            self.until_quiet(ECHO, ECHOED, script.unread()).await?;
        }
        Ok(())
    }

    /// Adds the output until the guest is silent for this long, which begins within this time. What came is there
    /// also where this is given up.
    async fn until_quiet(
        &mut self,
        first: Duration,
        quiet: Duration,
        all: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut limit = first;
        let until = Instant::now() + 2 * first;
        while let Ok(bytes) = timeout(limit, self.output()).await {
            all.extend_from_slice(&bytes?);
            if all.len() > MOST || Instant::now() >= until {
                break;
            }
            limit = quiet;
        }
        Ok(())
    }

    /// Ends the command by Ctrl-C, which also drops a line that no shell has read. Prints what had come.
    async fn interrupt(&mut self, script: &mut Script, stdout: &mut Stdout) {
        self.types(INTERRUPT.to_vec());
        // It may be stdout that has failed.
        let _ = stdout.print(script.take(b"").output());
        let limit = if script.has_begun() { END } else { QUIET };
        let ended = async {
            while let Ok(bytes) = self.output().await {
                if let Answer::Ended(..) = script.take(&bytes) {
                    return;
                }
            }
        };
        let _ = timeout(limit, ended).await;
    }

    fn types(&mut self, bytes: Vec<u8>) {
        self.typed.sent(&bytes);
        self.wire.send_bytes(bytes);
    }

    /// The next output, over another connection if this one is lost.
    async fn output(&mut self) -> Result<Bytes, Failure> {
        loop {
            match self.event().await {
                Event::Bytes(bytes) => {
                    self.seen.offset += bytes.len() as u64;
                    if self.seen.offset >= self.acknowledged + ACKNOWLEDGE {
                        self.acknowledged = self.seen.offset;
                        self.wire.send_control(&ClientMessage::Ack { offset: self.seen.offset });
                    }
                    return Ok(bytes);
                }
                Event::Control(message) => self.control(message)?,
                Event::SignOfLife => {}
                Event::Closed { code, reason } => {
                    let failure = Failure::Closed { code, reason, own: false };
                    match known(code) {
                        Some(CloseCode::Draining | CloseCode::Idle | CloseCode::HostLost) => {
                            self.come_back(failure).await?;
                        }
                        _ => return Err(failure),
                    }
                }
                Event::Lost(cause) => self.come_back(Failure::Lost(cause)).await?,
            }
        }
    }

    /// The next event. A proxy that stays silent is lost.
    async fn event(&mut self) -> Event {
        let mut pinged = false;
        loop {
            let silence = if pinged { LOST } else { SILENCE };
            match timeout_at(self.heard + silence, self.wire.next(true)).await {
                Ok(event) => {
                    self.heard = Instant::now();
                    return event;
                }
                Err(_) if pinged => return Event::Lost("the proxy does not respond".to_owned()),
                Err(_) => {
                    self.wire.send_ping();
                    pinged = true;
                }
            }
        }
    }

    /// Resumes the session, which stays the one that types for a while.
    async fn come_back(&mut self, lost: Failure) -> Result<(), Failure> {
        if !self.resumes {
            return Err(lost);
        }
        tell(&format!("{lost}; trying again for {} s", self.grace.as_secs()));
        self.away = Some(lost);
        let until = Instant::now() + self.grace;
        let mut pause = FIRST_PAUSE;
        while Instant::now() + pause < until {
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            self.door.go_on(self.seen, AskedMode::Only(Mode::Write));
            match self.door.resume().await {
                Some(Ok(attached)) => return self.go_on(attached).await,
                Some(Err(failure)) if passes(&failure) => {}
                Some(Err(failure)) => return Err(busy(failure)),
                None => break,
            }
        }
        Err(self.lost())
    }

    /// Goes on over a new connection. What was typed arrives once; where that is not certain, nothing is
    /// typed again.
    async fn go_on(&mut self, attached: Attached) -> Result<(), Failure> {
        let Attached { wire, hello, counts_on, .. } = attached;
        if !counts_on {
            wire.close().await;
            return Err(self.lost());
        }
        self.wire = wire;
        self.heard = Instant::now();
        // The server tells only what changes from now on.
        if hello.epoch != self.epoch {
            return Err(Failure::Rebooted(self.server.clone()));
        }
        if hello.state != LineState::Connected {
            return Err(Failure::Lost(hello.reason));
        }
        // Otherwise a message follows that says who types now.
        if hello.mode == Mode::Write {
            let Again { offset, bytes } = self.typed.resume(hello.input);
            self.wire.send_control(&ClientMessage::Input { offset });
            if !bytes.is_empty() {
                self.wire.send_bytes(bytes);
            }
        }
        self.away = None;
        tell("connected again");
        Ok(())
    }

    /// Why the connection is lost.
    fn lost(&mut self) -> Failure {
        self.away.take().unwrap_or_else(|| Failure::Lost("the proxy does not respond".to_owned()))
    }

    fn control(&mut self, message: ServerMessage) -> Result<(), Failure> {
        match message {
            ServerMessage::Ack { input } => {
                self.typed.acknowledge(input);
                Ok(())
            }
            ServerMessage::Gap { from, to } => {
                Err(Failure::Missing(grouped(to.saturating_sub(from))))
            }
            ServerMessage::Epoch { .. } => Err(Failure::Rebooted(self.server.clone())),
            ServerMessage::State { state, reason, .. } if state != LineState::Connected => {
                Err(Failure::Lost(reason))
            }
            ServerMessage::Pen { state: PenState::Requested, .. } => {
                let reason = Some("a script runs a command".to_owned());
                let action = PenAction::Deny;
                self.wire.send_control(&ClientMessage::Pen { action, reason });
                Ok(())
            }
            ServerMessage::Pen { state, session, holder, .. }
                if state == PenState::Lost || session != Some(self.session) =>
            {
                let holder = holder.unwrap_or_else(|| "someone else".to_owned());
                Err(Failure::TakenOver(holder))
            }
            _ => Ok(()),
        }
    }
}

/// Tells a person. A script takes whatever is on stderr for a failure.
fn tell(notice: &str) {
    if isatty(rustix::stdio::stderr()) {
        say(notice);
    }
}

/// Where the command's output goes. A terminal gets nothing that it would answer.
struct Stdout(Option<Muting>);

impl Stdout {
    fn new() -> Self {
        Self(isatty(rustix::stdio::stdout()).then(Muting::default))
    }

    fn print(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut muted = Vec::new();
        let shown = match &mut self.0 {
            None => bytes,
            Some(muting) => {
                muting.filter(bytes, &mut muted);
                &muted
            }
        };
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(shown).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(Failure::Output),
            _ => Ok(()),
        }
    }
}
