//! What a line is told of its guest.

use serialproxy_proto::api;
use serialproxy_proto::terminal::TerminalSettings;

use crate::endpoint::Endpoint;
use crate::guest::Power;
use crate::line::Line;
use crate::status::Connection;
use crate::status::Halt;

impl Line {
    /// The guest boots: counts one epoch more, and the port is dialled where it is not connected.
    /// `whole` says that it has printed nothing yet: it waits until its lines are connected, or
    /// they are already.
    pub fn guest_started(&self, whole: bool) {
        let offset = {
            let mut history = self.0.output.history();
            history.begin_boot();
            history.end()
        };
        self.0.news.begin_boot(offset);
        self.0.roster.ring();
        let status = api::Status::Active;
        self.0.guest.set_power(Power { running: true, status, whole });
    }

    /// The guest is found running: the port is dialled, in the same epoch.
    pub fn guest_running(&self) {
        let status = api::Status::Active;
        self.0.guest.set_power(Power { running: true, status, whole: false });
    }

    /// The guest does not run, and its port is not dialled until it does.
    pub fn guest_stopped(&self, status: api::Status) {
        self.0.guest.set_power(Power { running: false, status, whole: true });
    }

    /// Why the guest reads no input while its process is there; none when it does.
    pub fn guest_halted(&self, halt: Option<Halt>) {
        if self.0.news.set_halt(halt) {
            self.0.roster.ring();
        }
    }

    /// Where the guest connects to when it starts, if it does: the line listens there before.
    pub fn guest_connects_to(&self, endpoint: Option<Endpoint>) {
        self.0.guest.set_awaited(endpoint);
    }

    /// What it wants of its users' terminals.
    pub fn guest_wants(&self, terminal: TerminalSettings) {
        self.0.guest.set_terminal(terminal);
    }

    /// The running guest's port is elsewhere now: it is resolved and dialled anew.
    pub fn guest_moved(&self) {
        if self.0.news.now().connection.is_connected() {
            // At once, so that nobody attaches to the old port, and nothing more is typed there.
            self.0.publish_connection(&Connection::Dialling);
        }
        // Also while it is dialled: where it is may have been asked before.
        self.0.guest.set_moved();
        self.guest_running();
    }
}
