//! Typed, pasted or piped input on its way to the guest.

use serialproxy_proto::console::LineState;
use tokio::time::Instant;

use crate::connect::End;
use crate::connect::escape::Typed;
use crate::connect::session::Session;
use crate::connect::terminal::CTRL_C;
use crate::connect::terminal::Terminal;

/// Most messages that wait for the connection; beyond that, keys are queued.
const MESSAGES: usize = 256;
/// Most bytes that a person types at a time; more are a paste.
const TYPED: usize = 64;
/// 8 KiB: how much is read ahead from a pipe.
const READ_AHEAD: usize = 8 << 10;

impl Session<'_> {
    /// A terminal is always read, for `~.` and Ctrl-C; a pipe only when the guest can accept its
    /// bytes.
    pub(super) fn takes_input(&self) -> bool {
        let room = self.terminal.paste.waiting() < READ_AHEAD;
        self.terminal.is_interactive() || (room && self.may_paste() && !self.input_ended)
    }

    fn may_paste(&self) -> bool {
        !self.view.is_watching() && self.guest.state == LineState::Connected
    }

    pub(super) fn paste_due(&self) -> Option<Instant> {
        let goes = self.may_paste() && self.wire.waiting() < MESSAGES;
        let unacknowledged = self.terminal.ledger.unacknowledged();
        self.terminal.paste.due(unacknowledged, Instant::now()).filter(|_| goes)
    }

    pub(super) fn paste(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let unacknowledged = self.terminal.ledger.unacknowledged();
        if let Some(piece) = self.terminal.paste.piece(unacknowledged, now) {
            self.send(piece);
        }
        if self.terminal.is_interactive()
            && let Some(notice) = self.terminal.paste.progress(now)
        {
            self.terminal.screen.say(&notice);
        }
        Ok(())
    }

    pub(super) fn typed(&mut self, typed: Option<Vec<u8>>) -> Result<(), End> {
        match typed {
            Some(bytes) if self.terminal.is_interactive() => self.keys(&bytes),
            Some(bytes) => {
                self.queue(&bytes);
                Ok(())
            }
            // The terminal is gone.
            None if self.terminal.is_interactive() => Err(End::Left),
            None => {
                self.input_ended = true;
                self.last_output = Instant::now();
                Ok(())
            }
        }
    }

    fn keys(&mut self, bytes: &[u8]) -> Result<(), End> {
        let pasted = bytes.len() > TYPED;
        for typed in self.terminal.escapes.feed(bytes) {
            match typed {
                Typed::Leave => {
                    self.terminal.stop_paste();
                    return Err(End::Left);
                }
                Typed::Command(escape) => self.command(escape),
                Typed::Report(bytes) if !self.view.is_watching() => self.input(&bytes, pasted),
                Typed::Report(_) => {}
                Typed::Bytes(bytes) if !self.view.is_watching() => {
                    self.say_unread();
                    self.input(&self.settings.sent(&bytes), pasted);
                }
                Typed::Bytes(bytes) if bytes.contains(&CTRL_C) => return Err(End::Left),
                Typed::Bytes(_) => self.say_read_only(),
            }
        }
        Ok(())
    }

    /// Sends typed bytes at once, unless they would overtake queued ones or there is no room; only
    /// Ctrl-C is sent in any case.
    pub(super) fn input(&mut self, mut bytes: &[u8], pasted: bool) {
        if (pasted || !self.has_room(bytes.len()))
            && let Some(place) = bytes.iter().rposition(|byte| *byte == CTRL_C)
        {
            let (before, after) = bytes.split_at(place);
            self.queue(before);
            self.terminal.stop_paste();
            self.send(vec![CTRL_C]);
            bytes = after.get(1..).unwrap_or_default();
        }
        if pasted || !self.has_room(bytes.len()) {
            self.queue(bytes);
        } else if !bytes.is_empty() {
            self.send(bytes.to_vec());
        }
    }

    fn has_room(&self, size: usize) -> bool {
        let Terminal { ledger, paste, .. } = &*self.terminal;
        paste.is_empty() && self.wire.waiting() < MESSAGES && ledger.has_room(size)
    }

    fn queue(&mut self, bytes: &[u8]) {
        for warning in self.terminal.paste.push(bytes, Instant::now()) {
            self.terminal.screen.say(warning);
        }
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.terminal.ledger.sent(&bytes);
        self.wire.send_bytes(bytes);
    }
}
