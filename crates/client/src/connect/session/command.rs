//! The commands of the person's escapes.

use serialproxy_proto::console::Action;
use serialproxy_proto::console::ClientMessage;
use serialproxy_proto::console::PenAction;
use serialproxy_proto::console::Size;

use crate::connect::escape::Escape;
use crate::connect::notices;
use crate::connect::session::Session;
use crate::connect::terminal::grid;

impl Session<'_> {
    /// Executes an escape.
    pub(super) fn command(&mut self, escape: Escape) {
        let watching = self.view.is_watching();
        match escape {
            Escape::Help => self.terminal.help(),
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
            Escape::Grant | Escape::Deny if watching || !self.asked_for => {
                self.say(notices::NOBODY_ASKS);
            }
            Escape::Grant => self.pen(PenAction::Grant),
            Escape::Deny => {
                self.pen(PenAction::Deny);
                self.asked_for = false;
                self.say(notices::REFUSED);
            }
        }
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
