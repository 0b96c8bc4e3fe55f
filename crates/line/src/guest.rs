//! What a line is told of its guest.

use serialproxy_proto::api;
use serialproxy_proto::terminal::TerminalSettings;

use crate::endpoint::Endpoint;
use crate::line::Line;
use crate::line::Shared;
use crate::lock;
use crate::status::Connection;
use crate::status::Halt;
use crate::status::Power;

impl Line {
    /// The guest boots: counts one epoch more, and the port is dialled where it is not connected.
    /// `whole` says that it has printed nothing yet: it waits until its lines are connected, or
    /// they are already.
    pub fn guest_started(&self, whole: bool) {
        let offset = {
            let mut history = lock(&self.0.history);
            history.begin_boot();
            history.end()
        };
        self.0.status.send_modify(|status| {
            status.epoch += 1;
            status.epoch_offset = offset;
        });
        self.0.ring();
        let status = api::Status::Active;
        self.0.set_power(Power { running: true, status, whole });
    }

    /// The guest is found running: the port is dialled, in the same epoch.
    pub fn guest_running(&self) {
        let status = api::Status::Active;
        self.0.set_power(Power { running: true, status, whole: false });
    }

    /// The guest does not run, and its port is not dialled until it does.
    pub fn guest_stopped(&self, status: api::Status) {
        self.0.set_power(Power { running: false, status, whole: true });
    }

    /// Why the guest reads no input while its process is there; none when it does.
    pub fn guest_halted(&self, halt: Option<Halt>) {
        let changed = self.0.status.send_if_modified(|status| {
            let changed = status.halt != halt;
            status.halt = halt;
            changed
        });
        if changed {
            self.0.ring();
        }
    }

    /// Where the guest connects to when it starts, if it does: the line listens there before.
    pub fn guest_connects_to(&self, endpoint: Option<Endpoint>) {
        let mut awaited = lock(&self.0.awaited);
        if *awaited != endpoint {
            *awaited = endpoint;
            self.0.powered.notify_one();
        }
    }

    /// What it wants of its users' terminals.
    pub fn guest_wants(&self, terminal: TerminalSettings) {
        *lock(&self.0.terminal) = terminal;
    }

    /// The running guest's port is elsewhere now: it is resolved and dialled anew.
    pub fn guest_moved(&self) {
        if self.0.status.borrow().connection.is_connected() {
            // At once, so that nobody attaches to the old port, and nothing more is typed there.
            self.0.publish_connection(&Connection::Dialling);
        }
        // Also while it is dialled: where it is may have been asked before.
        self.0.moved.notify_one();
        self.guest_running();
    }
}

impl Shared {
    fn set_power(&self, power: Power) {
        *lock(&self.power) = power;
        self.powered.notify_one();
    }
}
