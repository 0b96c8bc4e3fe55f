//! One connection of the terminal to its console: keys go one way, output and notices the other.

use std::time::Duration;

use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::LineState;
use serialproxy_proto::console::PenState;
use serialproxy_proto::console::ServerMessage;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::connect::End;
use crate::connect::door::Attached;
use crate::connect::escape::Typed;
use crate::connect::notices;
use crate::connect::screen::Position;
use crate::connect::terminal::Terminal;
use crate::connect::view::View;
use crate::connect::wire::Event;
use crate::connect::wire::Wire;
use crate::failure::Failure;

/// 64 KiB: an eighth of what a proxy sends without an acknowledgement.
const ACKNOWLEDGE: u64 = 64 << 10;
/// Silence after which we ping, and after three times of which the connection is lost.
const SILENCE: Duration = Duration::from_secs(20);
const SILENCES: u32 = 3;
/// How long the guest must be silent, once stdin has ended, for its answer to be complete.
const QUIET: Duration = Duration::from_secs(1);
/// 1 MiB of keys, 4 KiB in each message: a paste that is larger waits in the terminal.
const KEYS: usize = 256;
const CTRL_C: u8 = 0x03;

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    terminal: &'a mut Terminal,
    view: View,
    wire: Wire,
    connection: u64,
    line: LineState,
    acknowledged: u64,
    heard: Instant,
    pings: u32,
    input_ended: bool,
    last_output: Instant,
    told_read_only: bool,
}

impl<'a> Session<'a> {
    /// Takes a new connection into use; `connection` counts them.
    pub(crate) fn begin(terminal: &'a mut Terminal, attached: Attached, connection: u64) -> Self {
        let Attached { wire, hello } = attached;
        terminal.screen.say(&notices::greeting(&hello));
        if hello.state != LineState::Connected {
            terminal.screen.say(&notices::state(hello.state, &hello.reason));
        }
        Self {
            terminal,
            view: View::of(&hello),
            wire,
            connection,
            line: hello.state,
            acknowledged: hello.offset,
            heard: Instant::now(),
            pings: 0,
            input_ended: false,
            last_output: Instant::now(),
            told_read_only: false,
        }
    }

    /// Runs until the connection ends or the person leaves; says what was seen by then.
    pub(crate) async fn run(mut self) -> (End, View) {
        let end = loop {
            let reading = self.terminal.screen.has_room();
            let typing = self.takes_input();
            let silent = self.heard + SILENCE * (self.pings + 1);
            // In this order: leaving works whatever floods in, and keys go out between output.
            let step = tokio::select! {
                biased;
                signal = self.terminal.signals.caught() => Err(Failure::Signal(signal).into()),
                position = self.terminal.screen.written() => self.acknowledge(position),
                typed = self.terminal.keyboard.read(), if typing => self.typed(typed),
                event = self.wire.next(reading) => self.receive(event),
                () = sleep_until(self.last_output + QUIET), if self.input_ended => self.quiet(),
                () = sleep_until(silent), if reading => self.silent(),
            };
            if let Err(end) = step {
                break end;
            }
        };
        if !matches!(end, End::Failed(Failure::Lost(_) | Failure::Closed { .. })) {
            self.wire.close().await;
        }
        (end, self.view)
    }

    /// A person is listened to always, for `~.`; a pipe only when the guest can take its bytes.
    fn takes_input(&self) -> bool {
        let room = self.wire.waiting() < KEYS;
        if self.terminal.is_interactive() {
            return room;
        }
        let taken = !self.view.is_watching() && self.line == LineState::Connected;
        room && taken && !self.input_ended
    }

    fn typed(&mut self, typed: Option<Vec<u8>>) -> Result<(), End> {
        match typed {
            Some(bytes) if self.terminal.is_interactive() => self.keys(&bytes),
            Some(bytes) => {
                self.wire.send_bytes(bytes);
                Ok(())
            }
            // A terminal that ends is gone.
            None if self.terminal.is_interactive() => Err(End::Left),
            None => {
                self.input_ended = true;
                self.last_output = Instant::now();
                Ok(())
            }
        }
    }

    fn keys(&mut self, bytes: &[u8]) -> Result<(), End> {
        for typed in self.terminal.escapes.feed(bytes) {
            match typed {
                Typed::Leave => return Err(End::Left),
                Typed::Help => self.terminal.help(),
                Typed::Bytes(bytes) if !self.view.is_watching() => self.wire.send_bytes(bytes),
                Typed::Bytes(bytes) if bytes.contains(&CTRL_C) => return Err(End::Left),
                Typed::Bytes(_) => self.say_read_only(),
            }
        }
        Ok(())
    }

    fn say_read_only(&mut self) {
        if !self.told_read_only {
            self.told_read_only = true;
            self.terminal.screen.say(notices::READ_ONLY);
        }
    }

    fn receive(&mut self, event: Event) -> Result<(), End> {
        self.hear();
        match event {
            Event::Bytes(bytes) => {
                let shown = self.view.take(&bytes);
                let offset = self.view.seen().offset;
                self.terminal.screen.show(&shown, Position { connection: self.connection, offset });
                self.last_output = Instant::now();
                Ok(())
            }
            Event::Control(message) => {
                self.control(&message);
                Ok(())
            }
            Event::SignOfLife => Ok(()),
            Event::Closed { code, reason } => Err(Failure::Closed { code, reason }.into()),
            Event::Lost(cause) => Err(Failure::Lost(cause).into()),
        }
    }

    fn control(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::State { state, .. } => self.line = *state,
            ServerMessage::Gap { to, .. } => self.view.skip(*to),
            ServerMessage::Replay { kind, bytes, offset } => {
                self.view.replay(*kind, *bytes, *offset);
            }
            ServerMessage::Pen { state: PenState::Lost, .. } => self.view.watch(),
            _ => {}
        }
        if let Some(notice) = notices::message(message, self.view.is_watching()) {
            self.terminal.screen.say(&notice);
        }
    }

    /// Tells the proxy how far the output is written, so that it sends more.
    fn acknowledge(&mut self, position: Option<Position>) -> Result<(), End> {
        let Position { connection, offset } = position.ok_or(Failure::Output)?;
        // While stdout was stuck we did not listen, so nobody was silent.
        self.hear();
        if connection == self.connection && offset >= self.acknowledged + ACKNOWLEDGE {
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
            return Err(Failure::Lost("the proxy has been silent for 60 s".into()).into());
        }
        self.wire.send_ping();
        Ok(())
    }

    /// Stdin has ended and the guest is silent: done, once all that was read is sent.
    fn quiet(&mut self) -> Result<(), End> {
        if self.wire.waiting() == 0 {
            return Err(End::Left);
        }
        self.last_output = Instant::now();
        Ok(())
    }
}
