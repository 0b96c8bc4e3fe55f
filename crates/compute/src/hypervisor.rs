//! The data that guests and the connection to the hypervisor exchange.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use serialproxy_line::Halt;
use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::ServerId;
use tokio::sync::mpsc;

use crate::domain::Facts;

/// Most events that wait to be read; if more arrive, all domains are read again instead.
const EVENTS: usize = 1024;

/// The present state of a domain in libvirt.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    pub(crate) id: ServerId,
    pub(crate) name: String,
    pub(crate) status: Status,
    /// Why it reads no input although it has a process.
    pub(crate) halt: Option<Halt>,
    /// The properties of the hypervisor process, or else of the next start.
    pub(crate) facts: Facts,
    /// The properties of the next start, while there is a process.
    pub(crate) next: Option<Facts>,
}

/// An action on one domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Start it, with its CPUs stopped.
    CreatePaused,
    /// Let its CPUs run.
    Resume,
    /// Stop its CPUs.
    Pause,
    /// Wake it from sleep.
    Wake,
    /// Press the power button.
    Shutdown,
    /// Cut the power.
    Destroy,
    /// Press the power button, and start again when the guest has shut down.
    Reboot,
    /// Press the reset button.
    Reset,
    /// Send a non-maskable interrupt.
    InjectNmi,
    /// Remove its definition, with everything that libvirt keeps of it.
    Undefine,
}

/// An event at the hypervisor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// A domain may have changed: read it again.
    Changed(ServerId),
    /// A guest was reset within its hypervisor process.
    Rebooted(ServerId),
    /// Everything may have changed: read all domains again.
    Resync,
    /// The hypervisor cannot be reached.
    Down,
}

/// Why a call to the hypervisor failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum HypervisorError {
    /// It cannot be reached or does not respond.
    #[error("{0}")]
    Unavailable(String),
    /// It has no such domain.
    #[error("no such domain")]
    NoDomain,
    /// It does not support the call.
    #[error("{0}")]
    Unsupported(String),
    /// The call failed, or the domain's state does not allow it.
    #[error("{0}")]
    Failed(String),
}

impl HypervisorError {
    /// The error of a call that was meant to `what` a server.
    pub(crate) fn while_doing(self, id: ServerId, what: &str) -> ComputeError {
        tracing::warn!(server = %id, error = %self, "could not {what}");
        match self {
            Self::Unavailable(text) => ComputeError::Unavailable(without_paths(&text)),
            Self::NoDomain => not_found(id),
            Self::Unsupported(text) => ComputeError::Unsupported(without_paths(&text)),
            Self::Failed(text) => ComputeError::Failed(format!(
                "libvirt could not {what} server {id}: {}",
                without_paths(&text)
            )),
        }
    }
}

/// The error for a server that does not exist.
pub(crate) fn not_found(id: ServerId) -> ComputeError {
    ComputeError::NotFound(format!("Instance {id} could not be found."))
}

/// A text of libvirt or QEMU without paths of this machine.
pub(crate) fn without_paths(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        let after = rest.get(next.len_utf8()..).unwrap_or_default();
        let starts_path = next == '/'
            && !(before.is_alphanumeric() || matches!(before, '/' | ':' | '.' | '…'))
            && after.starts_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_');
        if starts_path {
            let ends_path = |c: char| c.is_whitespace() || "'\"`,;:()?&".contains(c);
            rest = after.get(after.find(ends_path).unwrap_or(after.len())..).unwrap_or_default();
            before = '…';
        } else {
            rest = after;
            before = next;
        }
        kept.push(before);
    }
    kept
}

/// The sending side of the events, for libvirt's callbacks: never waits.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    events: mpsc::Sender<Event>,
    missed: Arc<AtomicBool>,
}

/// The receiving side of the events.
#[derive(Debug)]
pub(crate) struct Events {
    events: mpsc::Receiver<Event>,
    missed: Arc<AtomicBool>,
}

/// Makes the two ends of the queue of events.
pub(crate) fn events() -> (Reporter, Events) {
    let (sender, receiver) = mpsc::channel(EVENTS);
    let missed = Arc::new(AtomicBool::new(false));
    (Reporter { events: sender, missed: Arc::clone(&missed) }, Events { events: receiver, missed })
}

impl Reporter {
    pub(crate) fn report(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }
}

impl Events {
    /// The next event; `None` when the connection has ended for good.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        // The queue was full when the flag was set, so this loop runs again in any case.
        if self.missed.swap(false, Ordering::AcqRel) {
            return Some(Event::Resync);
        }
        self.events.recv().await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_taken_out_of_texts() {
        let cases = [
            (
                "could not open kernel file '/srv/i/kernel': Permission denied",
                "could not open kernel file '…': Permission denied",
            ),
            ("-drive file=/var/lib/x.qcow2,if=none", "-drive file=…,if=none"),
            (
                "cannot reach qemu:///system; read/write 1/2",
                "cannot reach qemu:///system; read/write 1/2",
            ),
            ("(/a/b.c) /d", "(…) …"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_paths(text), expected);
        }
    }

    #[tokio::test]
    async fn events_that_do_not_fit_become_a_resync() {
        let (reporter, mut events) = events();
        let event = Event::Changed(ServerId::of_static("a"));
        for _ in 0..=EVENTS {
            reporter.report(event);
        }
        assert_eq!(events.next().await, Some(Event::Resync));
        assert_eq!(events.next().await, Some(event));
    }

    proptest! {
        #[test]
        fn no_absolute_path_survives(before in "[a-z=('\" ]*[=(' \"]", path in "/[a-z0-9._]{1,9}(/[a-z0-9._-]{1,9}){0,3}") {
            let kept = without_paths(&format!("{before}{path} end"));
            prop_assert!(!kept.contains(&path), "{}", kept);
            prop_assert!(kept.ends_with(" end"));
        }

        #[test]
        fn any_text_is_taken(text in ".*") {
            without_paths(&text);
        }
    }
}
