//! Replaces libvirt where this program was built without it.

use serialproxy_proto::id::ServerId;

use crate::hypervisor::Action;
use crate::hypervisor::Domain;
use crate::hypervisor::Event;
use crate::hypervisor::Events;
use crate::hypervisor::HypervisorError;
use crate::hypervisor::Reporter;
use crate::hypervisor::events;

const ABSENT: &str = "this program was built without libvirt: use a build that has it";

/// As where it was built with it.
pub(crate) async fn look(_: &str) -> Result<(Option<u32>, Vec<Domain>), String> {
    Err(ABSENT.into())
}

/// A hypervisor that cannot be reached.
#[derive(Debug)]
pub(crate) struct Hypervisor {
    _reporter: Reporter,
}

impl Hypervisor {
    pub(crate) fn connect(uri: &str) -> (Self, Events) {
        tracing::warn!(uri, "this program was built without libvirt: only static lines are served");
        let (reporter, events) = events();
        reporter.report(Event::Down);
        (Self { _reporter: reporter }, events)
    }

    pub(crate) fn reachable(&self) -> Result<(), HypervisorError> {
        Err(HypervisorError::Unavailable(ABSENT.into()))
    }

    pub(crate) async fn domains(&self) -> Result<Vec<Domain>, HypervisorError> {
        self.reachable().map(|()| Vec::new())
    }

    pub(crate) async fn domain(&self, _: ServerId) -> Result<Option<Domain>, HypervisorError> {
        self.reachable().map(|()| None)
    }

    pub(crate) async fn find(&self, _: &str) -> Result<Option<ServerId>, HypervisorError> {
        self.reachable().map(|()| None)
    }

    pub(crate) async fn next_xml(&self, _: ServerId) -> Result<String, HypervisorError> {
        self.reachable().map(|()| String::new())
    }

    pub(crate) async fn define(&self, _: String) -> Result<(), HypervisorError> {
        self.reachable()
    }

    pub(crate) async fn monitor(&self, _: ServerId, _: String) -> Result<String, HypervisorError> {
        self.reachable().map(|()| String::new())
    }

    pub(crate) async fn act(&self, _: ServerId, _: Action) -> Result<(), HypervisorError> {
        self.reachable()
    }
}
