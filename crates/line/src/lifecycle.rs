//! The reports about a line's guest.

use serialproxy_proto::api;
use serialproxy_proto::console::BootReason;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::terminal::TerminalSettings;

use crate::guest::Power;
use crate::line::Line;
use crate::status::Connection;
use crate::status::Halt;
use crate::timeline::milliseconds;

impl Line {
    /// The guest boots: begins a new epoch, and connects to the port where it is not connected.
    /// `whole` means that the guest has printed nothing yet, because it waits until its lines are
    /// connected.
    pub fn guest_started(&self, whole: bool) {
        self.begin_boot(whole, BootReason::Started);
    }

    /// The running guest boots again: begins a new epoch.
    pub fn guest_rebooted(&self) {
        self.begin_boot(true, BootReason::Rebooted);
    }

    fn begin_boot(&self, whole: bool, reason: BootReason) {
        let offset = {
            let mut history = self.0.output.history();
            history.begin_boot(milliseconds(), reason);
            history.end()
        };
        self.0.news.begin_boot(offset);
        self.0.roster.ring();
        let status = api::Status::Active;
        self.0.guest.set_power(Power { running: true, status, whole });
    }

    /// The guest was found running: connects to the port, in the same epoch.
    pub fn guest_running(&self) {
        let status = api::Status::Active;
        self.0.guest.set_power(Power { running: true, status, whole: false });
    }

    /// The guest does not run. The port is not connected until it does.
    pub fn guest_stopped(&self, status: api::Status) {
        self.0.guest.set_power(Power { running: false, status, whole: true });
    }

    /// Sets why the guest reads no input although its process runs; none when it does.
    pub fn guest_halted(&self, halt: Option<Halt>) {
        if self.0.news.set_halt(halt) {
            self.0.roster.ring();
        }
    }

    /// Sets where the guest connects to when it starts, if it does: the line listens there before.
    pub fn guest_connects_to(&self, endpoint: Option<Endpoint>) {
        self.0.guest.set_awaited(endpoint);
    }

    /// Sets the guest's requirements for terminals.
    pub fn guest_wants(&self, terminal: TerminalSettings) {
        self.0.guest.set_terminal(terminal);
    }

    /// The running guest's port has another address now: resolves it again and connects.
    pub fn guest_moved(&self) {
        if self.0.news.now().connection.is_connected() {
            // At once, so that no client attaches to the old port, and no more input goes there.
            self.0.publish_connection(&Connection::Connecting);
        }
        // Also while connecting: the address may have been resolved before the change.
        self.0.guest.set_moved();
        self.guest_running();
    }
}
