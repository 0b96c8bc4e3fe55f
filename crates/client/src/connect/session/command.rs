//! The commands of the person's escapes.

use std::time::Duration;

use jiff::tz::TimeZone;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::Size;

use crate::connect::escape::Escape;
use crate::connect::menu;
use crate::connect::menu::Situation;
use crate::connect::notices;
use crate::connect::session::Session;
use crate::connect::status::Status;
use crate::connect::terminal::grid;
use tokio::time::Instant;

impl Session<'_> {
    /// Executes an escape.
    pub(super) fn command(&mut self, escape: Escape) {
        let watching = self.view.is_watching();
        match escape {
            Escape::Menu => self.show_menu(),
            Escape::Status => self.ask_status(),
            Escape::Nothing => self.say(notices::CANCELED),
            Escape::AskSysrq => self.say(notices::ASK_SYSRQ),
            Escape::AskForce => self.ask_force(),
            Escape::Break => self.wire.send_control(&ClientMessage::Break),
            Escape::Sysrq(key) => self.wire.send_control(&ClientMessage::Sysrq { key }),
            Escape::Size if watching => self.say_read_only(),
            Escape::Size => self.type_size(),
            Escape::Who => {
                let (count, who) = &self.viewers;
                self.say(&notices::who(*count, who, self.hello.session));
            }
            Escape::Pen if !watching => self.pen(PenAction::Release),
            Escape::Pen if self.may(Action::Write) => self.pen(match self.typing.is_own() {
                true => PenAction::Take,
                false => PenAction::Request,
            }),
            Escape::Pen => self.say(notices::MAY_ONLY_WATCH),
            Escape::Force if watching && self.may(Action::Force) => self.pen(PenAction::Force),
            // The question has told it already.
            Escape::Force => {}
            Escape::Grant | Escape::Deny if watching || self.asks.is_none() => {
                self.say(notices::NOBODY_ASKS);
            }
            Escape::Grant => self.pen(PenAction::Grant),
            Escape::Deny => {
                self.pen(PenAction::Deny);
                self.asks = None;
                self.say(notices::REFUSED);
            }
        }
    }

    fn show_menu(&self) {
        let now = Situation {
            server: &self.hello.server.name,
            port: self.hello.port,
            watching: self.view.is_watching(),
            typing: &self.typing,
            asks: self.asks.as_deref(),
            can: &self.hello.can,
        };
        self.terminal.screen.show_menu(&menu::lines(now, &self.terminal.escapes));
    }

    /// The status follows when the server has answered.
    fn ask_status(&mut self) {
        if self.asked_status.is_none() {
            self.ping += 1;
            self.asked_status = Some((Instant::now(), self.ping));
            self.wire.send_control(&ClientMessage::Ping { id: self.ping });
        }
    }

    /// Tells who types and how the connection is; `latency` is none where nobody answered.
    pub(super) fn tell_status(&mut self, latency: Option<Duration>) {
        self.asked_status = None;
        let status = Status {
            hello: &self.hello,
            watching: self.view.is_watching(),
            typing: &self.typing,
            guest: self.guest,
            latency,
            boot: self.terminal.boot.map_or(0, |(_, boot)| boot),
            here: grid(),
            theirs: self.theirs,
            address: &self.address,
        };
        let lines = [status.text(&TimeZone::system())];
        self.terminal.screen.show_menu(&lines);
    }

    fn ask_force(&mut self) {
        match (self.view.is_watching(), self.may(Action::Force)) {
            (false, _) => self.say(notices::TYPING_ALREADY),
            (true, false) => {
                let how = self.typing.how(&self.hello.can, &self.terminal.escapes);
                let how = if how.is_empty() { how } else { format!(". {how}") };
                self.say(&format!("{}{how}", notices::MAY_NOT_FORCE));
            }
            (true, true) => self.say(notices::ASK_FORCE),
        }
    }

    fn type_size(&mut self) {
        match grid() {
            Some(Size { rows, cols }) => {
                let line = format!("stty rows {rows} cols {cols}\r");
                self.input(&self.settings.sent(line.as_bytes()), false);
            }
            None => self.say(notices::NO_SIZE),
        }
    }

    pub(super) fn pen(&mut self, action: PenAction) {
        self.wire.send_control(&ClientMessage::Pen { action, reason: None });
    }
}
