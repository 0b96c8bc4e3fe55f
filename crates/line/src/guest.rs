//! What is known of the guest of a line.

use std::sync::Mutex;

use serialproxy_proto::api::Status;
use serialproxy_proto::terminal::TerminalSettings;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::endpoint::Endpoint;
use crate::lock;

#[derive(Debug)]
pub(crate) struct Guest {
    facts: Mutex<Facts>,
    /// The hypervisor said something of the guest: the owner looks at it again.
    changed: Notify,
    /// The port is elsewhere now: the owner leaves the one that it is connected to.
    moved: Notify,
}

#[derive(Debug)]
struct Facts {
    /// The server's name.
    name: String,
    power: Power,
    /// Where the guest connects to when it starts; few do.
    awaited: Option<Box<Endpoint>>,
    /// What it wants of terminals.
    terminal: TerminalSettings,
}

/// What the hypervisor says of the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Power {
    pub(crate) running: bool,
    pub(crate) status: Status,
    /// Whether the guest had printed nothing in this boot when it was noticed.
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

    /// The line has all that the guest printed in this boot.
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

    /// What it wants of terminals.
    pub(crate) fn terminal(&self) -> TerminalSettings {
        lock(&self.facts).terminal
    }

    pub(crate) fn set_terminal(&self, terminal: TerminalSettings) {
        lock(&self.facts).terminal = terminal;
    }

    /// Waits for news of its power, or of where it connects to.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Says that its port is elsewhere now.
    pub(crate) fn set_moved(&self) {
        self.moved.notify_one();
    }

    /// Waits until its port is elsewhere.
    pub(crate) fn moved(&self) -> Notified<'_> {
        self.moved.notified()
    }
}
