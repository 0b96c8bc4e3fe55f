//! A line's knowledge about its guest.

use std::sync::Mutex;

use serialproxy_proto::api::Status;
use serialproxy_proto::endpoint::Endpoint;
use serialproxy_proto::terminal::TerminalSettings;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::lock;

#[derive(Debug)]
pub(crate) struct Guest {
    facts: Mutex<Facts>,
    /// Notified when the hypervisor reports a change of the guest: the owner checks it.
    changed: Notify,
    /// Notified when the port's address changes: the owner leaves the connected port.
    moved: Notify,
}

#[derive(Debug)]
struct Facts {
    /// The server's name.
    name: String,
    power: Power,
    /// Where the guest connects to when it starts; few guests do.
    awaited: Option<Box<Endpoint>>,
    /// The guest's requirements for terminals.
    terminal: TerminalSettings,
}

/// What the hypervisor reports about the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Power {
    pub(crate) running: bool,
    pub(crate) status: Status,
    /// Whether the guest had printed nothing in this boot when the boot was reported.
    pub(crate) whole: bool,
}

impl Guest {
    /// A guest that does not run.
    pub(crate) fn new(name: String) -> Self {
        let power = Power { running: false, status: Status::Shutoff, whole: true };
        let terminal = TerminalSettings::default();
        let facts = Mutex::new(Facts { name, power, awaited: None, terminal });
        Self { facts, changed: Notify::new(), moved: Notify::new() }
    }

    /// The server's name.
    pub(crate) fn name(&self) -> String {
        lock(&self.facts).name.clone()
    }

    pub(crate) fn rename(&self, name: &str) {
        name.clone_into(&mut lock(&self.facts).name);
    }

    pub(crate) fn power(&self) -> Power {
        lock(&self.facts).power
    }

    pub(crate) fn set_power(&self, power: Power) {
        lock(&self.facts).power = power;
        self.changed.notify_one();
    }

    /// The line has everything that the guest printed in this boot.
    pub(crate) fn set_whole(&self) {
        lock(&self.facts).power.whole = true;
    }

    /// Where it connects to when it starts, if it does.
    pub(crate) fn awaited(&self) -> Option<Endpoint> {
        lock(&self.facts).awaited.as_deref().cloned()
    }

    pub(crate) fn set_awaited(&self, endpoint: Option<Endpoint>) {
        let mut facts = lock(&self.facts);
        if facts.awaited.as_deref() != endpoint.as_ref() {
            facts.awaited = endpoint.map(Box::new);
            self.changed.notify_one();
        }
    }

    /// Its requirements for terminals.
    pub(crate) fn terminal(&self) -> TerminalSettings {
        lock(&self.facts).terminal
    }

    pub(crate) fn set_terminal(&self, terminal: TerminalSettings) {
        lock(&self.facts).terminal = terminal;
    }

    /// Waits for a change of its power, or of the address that it connects to.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Reports that the port's address has changed.
    pub(crate) fn set_moved(&self) {
        self.moved.notify_one();
    }

    /// Waits until the port's address changes.
    pub(crate) fn moved(&self) -> Notified<'_> {
        self.moved.notified()
    }
}
