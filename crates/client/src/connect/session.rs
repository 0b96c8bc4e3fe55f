//! One connection of the terminal to its console: keys go one way, output and notices the other.

use std::time::Duration;

use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::Hello;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use serialproxy_proto::console::Size;
use serialproxy_proto::console::Viewer;
use serialproxy_proto::id::SessionId;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::connect::End;
use crate::connect::door::Attached;
use crate::connect::guest::Guest;
use crate::connect::notices;
use crate::connect::screen::Position;
use crate::connect::terminal::Terminal;
use crate::connect::terminal::grid;
use crate::connect::typing::Typing;
use crate::connect::view::View;
use crate::connect::wire::Event;
use crate::connect::wire::Wire;
use crate::failure::Failure;
use crate::settings::Settings;

mod command;
mod input;

/// 64 KiB: an eighth of the amount that a proxy sends without an acknowledgment.
const ACKNOWLEDGE: u64 = 64 << 10;
/// The silence after which we ping. After three times as long, the connection counts as lost, early
/// enough to resume within the grace time.
const SILENCE: Duration = Duration::from_secs(15);
const SILENCES: u32 = 3;
/// How long the guest must be silent after the end of stdin for its answer to be complete.
const QUIET: Duration = Duration::from_secs(1);
/// How long notices wait for what was printed before, which would push them out of sight. There is
/// none where the guest has printed nothing.
const PAINTED: Duration = Duration::from_millis(500);
/// The same, once it has begun to arrive.
const REPLAYED: Duration = Duration::from_secs(10);
/// How long the status waits for the answer that measures the latency.
const PONG: Duration = Duration::from_secs(2);
/// How long a script waits while another program holds the port: the server may disconnect that
/// program.
const HELD: Duration = Duration::from_secs(10);
/// How long a watcher who presses keys is not told again how to type.
const REMINDED: Duration = Duration::from_secs(30);
/// 4 KiB: the size of messages that repeat input.
const PIECE: usize = 4096;

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    terminal: &'a mut Terminal,
    view: View,
    wire: Wire,
    hello: Hello,
    /// The person's settings, and the line's where the person has none.
    settings: Settings,
    /// The last shown byte of output.
    last_byte: Option<u8>,
    connection: u64,
    guest: Guest,
    /// Until when a script waits for another program to leave the guest's port, and that program.
    held: Option<(Instant, String)>,
    viewers: (u64, Vec<Viewer>),
    typing: Typing,
    /// The session that typed here over the last connection, which may not be over yet.
    back: Option<SessionId>,
    /// Whether the pen was requested by force; until the answer, another holder is no news.
    taking: bool,
    /// The user of another session that asks for the pen, which this session holds.
    asks: Option<String>,
    /// The grid of the terminal of the person who types.
    theirs: Option<Size>,
    /// When the person asked for the status, and the number of the ping that measures the latency.
    asked_status: Option<(Instant, u64)>,
    /// The last number of a ping.
    ping: u64,
    /// The address of the console.
    address: String,
    acknowledged: u64,
    heard: Instant,
    pings: u32,
    input_ended: bool,
    last_output: Instant,
    told_read_only: Option<Instant>,
    told_unread: bool,
    /// Until when to wait for the current screen before any notice.
    unpainted: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Begins to use a new connection; `connection` is its number.
    pub(crate) async fn begin(
        terminal: &'a mut Terminal,
        attached: Attached,
        connection: u64,
    ) -> Result<Self, Failure> {
        let Attached { wire, hello, resumed, counts_on, taking, asked, typed, painted, address } =
            attached;
        if painted {
            terminal.screen.hold_notices();
        }
        let boot = terminal.boot.replace((hello.line, hello.epoch));
        if boot.is_some_and(|(line, epoch)| line == hello.line && epoch != hello.epoch) {
            terminal.screen.reset();
        }
        let unanswered = terminal.is_answered_elsewhere();
        terminal.screen.say(&match resumed {
            true => notices::resumed(&hello),
            false => notices::greeting(&hello, &terminal.escapes),
        });
        let guest = Guest { state: hello.state, cause: hello.cause };
        if guest != Guest::RUNS {
            terminal.screen.say(&notices::state(guest, &hello.reason, &hello.server.name));
        }
        let mut session = Self {
            settings: terminal.settings.with_line(hello.terminal),
            last_byte: None,
            terminal,
            view: View::of(&hello, asked, unanswered),
            wire,
            connection,
            guest,
            held: None,
            viewers: (0, vec![]),
            typing: Typing::default(),
            back: typed.filter(|session| *session != hello.session),
            taking,
            asks: None,
            theirs: None,
            asked_status: None,
            ping: 0,
            address,
            acknowledged: asked.map_or(hello.offset, |asked| asked.min(hello.offset)),
            heard: Instant::now(),
            pings: 0,
            input_ended: false,
            last_output: Instant::now(),
            told_read_only: None,
            told_unread: false,
            unpainted: painted.then(|| Instant::now() + PAINTED),
            hello,
        };
        if let Err(failure) = session.begin_input(counts_on) {
            session.wire.close().await;
            return Err(failure);
        }
        session.wait_for_holder(&session.hello.reason.clone());
        session.tell_size();
        Ok(session)
    }

    /// Repeats input that the proxy does not have, where the count of input continues.
    fn begin_input(&mut self, counts_on: bool) -> Result<(), Failure> {
        let terminal = &mut *self.terminal;
        let count = self.hello.input;
        if counts_on {
            terminal.ledger.acknowledge(count);
        }
        // The input of a watcher is dropped.
        let again = counts_on && !self.view.is_watching();
        let unknown = if again { 0 } else { terminal.ledger.restart(count) };
        if unknown > 0 && !terminal.is_interactive() {
            return Err(Failure::InputLost(unknown));
        }
        if unknown > 0 {
            terminal.screen.say(&notices::input_lost(unknown));
            terminal.stop_paste();
        }
        if counts_on {
            let again = terminal.ledger.resume(count);
            self.wire.send_control(&ClientMessage::Input { offset: again.offset });
            for piece in again.bytes.chunks(PIECE) {
                self.wire.send_bytes(piece.to_vec());
            }
        }
        Ok(())
    }

    /// Makes a script wait for a while until another program has left the guest's port.
    fn wait_for_holder(&mut self, reason: &str) {
        let held = self.guest.cause == Some(Cause::Held) && !self.terminal.is_interactive();
        let until = self.held.take().map_or_else(|| Instant::now() + HELD, |(until, _)| until);
        self.held = held.then(|| (until, reason.to_owned()));
    }

    fn give_up(&mut self) -> Result<(), End> {
        match self.held.take() {
            Some((_, reason)) => Err(Failure::Held(reason).into()),
            None => Ok(()),
        }
    }

    fn tell_size(&mut self) {
        if let Some(size) = grid() {
            self.wire.send_control(&ClientMessage::Size(size.clamped()));
        }
    }

    /// Runs until the connection ends or the person leaves; returns what was shown by then.
    pub(crate) async fn run(mut self) -> (End, View) {
        let end = loop {
            let reading = self.terminal.screen.has_room();
            let typing = self.takes_input();
            let silent = self.heard + SILENCE * (self.pings + 1);
            let paste = self.paste_due();
            // In this order: leaving works under any flood, and keys are sent between output.
            let step = tokio::select! {
                biased;
                signal = self.terminal.signals.caught() => Err(Failure::Signal(signal).into()),
                position = self.terminal.screen.written() => self.acknowledge(position),
                typed = self.terminal.keyboard.read(), if typing => self.typed(typed),
                () = wait_until(paste) => self.paste(),
                _ = self.terminal.resized.recv() => {
                    self.tell_size();
                    Ok(())
                }
                event = self.wire.next(reading) => self.receive(event),
                () = sleep_until(self.last_output + QUIET), if self.input_ended => self.quiet(),
                () = sleep_until(silent), if reading => self.silent(),
                () = wait_until(self.held.as_ref().map(|(until, _)| *until)) => self.give_up(),
                () = wait_until(self.asked_status.map(|(asked, _)| asked + PONG)) => {
                    self.tell_status(None);
                    Ok(())
                }
                () = wait_until(self.unpainted) => {
                    self.painted();
                    Ok(())
                }
            };
            if let Err(end) = step {
                break end;
            }
        };
        self.painted();
        if !matches!(end, End::Failed(Failure::Lost(_) | Failure::Closed { .. })) {
            self.wire.close().await;
        }
        (end, self.view)
    }

    fn may(&self, action: Action) -> bool {
        self.hello.can.contains(&action)
    }

    fn say(&self, notice: &str) {
        self.terminal.screen.say(notice);
    }

    /// Tells once what happens to input that the guest does not read now.
    fn say_unread(&mut self) {
        if self.guest != Guest::RUNS && !std::mem::replace(&mut self.told_unread, true) {
            let connected = self.guest.state == LineState::Connected;
            self.say(if connected { notices::PAUSED } else { notices::NO_GUEST });
        }
    }

    fn say_read_only(&mut self) {
        if self.told_read_only.is_none_or(|told| told.elapsed() >= REMINDED) {
            self.told_read_only = Some(Instant::now());
            self.say(&notices::read_only(&self.typing, &self.hello.can, &self.terminal.escapes));
        }
    }

    fn receive(&mut self, event: Event) -> Result<(), End> {
        self.hear();
        match event {
            Event::Bytes(bytes) => {
                self.output(&bytes);
                self.last_output = Instant::now();
                if !self.view.is_replaying() {
                    self.painted();
                }
                Ok(())
            }
            Event::Control(message) => self.control(&message),
            Event::SignOfLife => Ok(()),
            Event::Closed { code, reason } => {
                Err(Failure::Closed { code, reason, own: false }.into())
            }
            Event::Lost(cause) => Err(Failure::Lost(cause).into()),
        }
    }

    /// Shows output. If the guest has booted in it, its terminal state ends there.
    fn output(&mut self, mut bytes: &[u8]) {
        if let Some(before) = self.view.before_boot(bytes.len()) {
            let (old, new) = bytes.split_at(before);
            self.show(old);
            self.terminal.screen.reset();
            self.view.begin_boot();
            bytes = new;
        }
        self.show(bytes);
    }

    fn show(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let taken = self.view.take(bytes);
            let shown = self.settings.shown(self.last_byte, &taken);
            self.last_byte = taken.last().copied().or(self.last_byte);
            let offset = self.view.seen().offset;
            self.terminal.screen.show(&shown, Position { connection: self.connection, offset });
        }
    }

    /// What was printed before is shown, or there is nothing, so notices stay visible from now on.
    fn painted(&mut self) {
        if self.unpainted.take().is_some() {
            self.terminal.screen.release_notices();
        }
    }

    fn control(&mut self, message: &ServerMessage) -> Result<(), End> {
        let (watching, guest) = (self.view.is_watching(), self.guest);
        self.typing.follow(message);
        match message {
            ServerMessage::State { state, cause, reason } => {
                (self.guest, self.told_unread) = (Guest { state: *state, cause: *cause }, false);
                self.wait_for_holder(reason);
            }
            ServerMessage::Epoch { epoch, offset } => {
                self.terminal.boot = Some((self.hello.line, *epoch));
                self.view.boot(*offset);
                self.output(&[]);
            }
            ServerMessage::Gap { to, .. } => self.view.skip(*to),
            ServerMessage::Replay { kind, bytes, offset, .. } => {
                self.view.replay(*kind, *bytes, *offset);
                self.unpainted = self.unpainted.map(|_| Instant::now() + REPLAYED);
            }
            ServerMessage::Size(size) => self.theirs = Some(*size),
            ServerMessage::Pong { id } => {
                if let Some((asked, _)) = self.asked_status.filter(|(_, ping)| ping == id) {
                    self.tell_status(Some(asked.elapsed()));
                }
            }
            ServerMessage::Ack { input } => self.terminal.ledger.acknowledge(*input),
            ServerMessage::Viewers { count, who } => self.viewers = (*count, who.clone()),
            ServerMessage::Pen { state: PenState::Held, session: Some(session), .. }
                if self.taking && *session != self.hello.session =>
            {
                // It was sent before our own request arrived.
                return Ok(());
            }
            ServerMessage::Pen { state: PenState::Held, session, .. }
                if session.is_some() && self.back == *session =>
            {
                self.back = None;
                self.pen(PenAction::Take);
                return Ok(());
            }
            ServerMessage::Pen { state, session, by, .. } => {
                self.pen_changed(*state, *session);
                let asked = *state == PenState::Requested && !self.view.is_watching();
                self.asks = asked.then(|| by.clone().unwrap_or_else(|| "someone".to_owned()));
            }
            // As far as is known, this may be the refusal of the pen.
            ServerMessage::Error { .. } if std::mem::take(&mut self.taking) => self.watch(),
            _ => {}
        }
        self.tell(message, watching, guest);
        let lost = !watching && self.view.is_watching();
        if lost && !self.terminal.is_interactive() && !self.is_all_sent() {
            return Err(Failure::PenLost.into());
        }
        Ok(())
    }

    /// Shows the notice about a message, compared with the earlier state.
    fn tell(&self, message: &ServerMessage, watching: bool, guest: Guest) {
        let reader = notices::Reader {
            escapes: &self.terminal.escapes,
            session: self.hello.session,
            watching,
            guest,
            can: &self.hello.can,
            typing: &self.typing,
            server: &self.hello.server.name,
        };
        if let Some(notice) = notices::message(message, reader) {
            self.say(&notice);
        }
    }

    fn pen_changed(&mut self, state: PenState, session: Option<SessionId>) {
        let mine = session.map(|session| session == self.hello.session);
        match (state, mine) {
            (PenState::Held, Some(true)) => {
                (self.taking, self.told_read_only) = (false, None);
                self.view.write();
            }
            (PenState::Free | PenState::Lost, _) | (PenState::Held, Some(false)) => self.watch(),
            (PenState::Held, None) | (PenState::Requested, _) => {}
        }
    }

    fn watch(&mut self) {
        self.view.watch();
        self.told_read_only = None;
        if self.terminal.is_interactive() {
            self.terminal.stop_paste();
        }
    }

    /// Acknowledges the written output, so that the proxy sends more.
    fn acknowledge(&mut self, position: Option<Position>) -> Result<(), End> {
        let Position { connection, offset } = position.ok_or(Failure::Output)?;
        // While stdout was blocked, nothing was read, so this was not the peer's silence.
        self.hear();
        if connection == self.connection && offset >= self.acknowledged.saturating_add(ACKNOWLEDGE)
        {
            self.acknowledged = offset;
            self.wire.send_control(&ClientMessage::Ack { offset });
        }
        Ok(())
    }

    fn hear(&mut self) {
        self.heard = Instant::now();
        self.pings = 0;
    }

    fn silent(&mut self) -> Result<(), End> {
        self.pings += 1;
        if self.pings == SILENCES {
            return Err(Failure::Lost("the proxy has been silent for 45 s".into()).into());
        }
        self.wire.send_ping();
        Ok(())
    }

    /// Stdin has ended and the guest is silent: ends once the guest has accepted all input.
    fn quiet(&mut self) -> Result<(), End> {
        if self.is_all_sent() {
            return Err(End::Left);
        }
        self.last_output = Instant::now();
        Ok(())
    }

    /// Whether stdin has ended and the guest has accepted all of it.
    fn is_all_sent(&self) -> bool {
        let Terminal { ledger, paste, .. } = &*self.terminal;
        self.input_ended && paste.is_empty() && ledger.unacknowledged() == 0
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
