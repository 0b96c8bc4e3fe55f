//! Starting a guest: its CPUs wait until its lines are attached, so that they miss no output.

use std::collections::BTreeMap;
use std::time::Duration;

use serialproxy_proto::api::Status;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use tokio::time::Instant;

use super::Guests;
use super::table::Guest;
use crate::domain::replace_ports;
use crate::hypervisor::Action;
use crate::hypervisor::HypervisorError;
use crate::hypervisor::not_found;

/// How long attaching all lines may take.
const ATTACH: Duration = Duration::from_secs(5);

/// Attempts to start a guest while other programs take its ports.
const ATTEMPTS: usize = 3;

/// What happens when a line cannot be attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Attach {
    /// The launch fails.
    OrFail,
    /// The guest runs without the line.
    OrGoOn,
}

impl Guests {
    /// Starts a domain that is defined and does not run.
    pub(super) async fn launch(&self, id: ServerId, attach: Attach) -> Result<Guest, ComputeError> {
        self.create_paused(id).await?;
        self.seen(id).await?;
        if let Err(reason) = self.attach(id).await {
            let name = self.server_name(id);
            tracing::warn!(name, server = %id, reason, "the console of a starting guest is not \
                     attached");
            if attach == Attach::OrFail {
                return Err(ComputeError::Failed(format!(
                    "the guest's console could not be attached within {} s: {reason}",
                    ATTACH.as_secs()
                )));
            }
        }
        let resumed = self.hypervisor.act(id, Action::Resume).await;
        resumed.map_err(|error| error.while_doing(id, "resume"))?;
        self.seen(id).await
    }

    /// The guest as it is now.
    pub(super) async fn seen(&self, id: ServerId) -> Result<Guest, ComputeError> {
        let guest = self.refresh(id).await.map_err(|error| error.while_doing(id, "inspect"))?;
        guest.ok_or_else(|| not_found(id))
    }

    async fn create_paused(&self, id: ServerId) -> Result<(), ComputeError> {
        let mut attempts = 1;
        loop {
            self.leave_taken_ports(id).await?;
            match self.hypervisor.act(id, Action::CreatePaused).await {
                Ok(()) => return Ok(()),
                Err(HypervisorError::Failed(_))
                    if attempts < ATTEMPTS && !self.taken_ports(id).await?.is_empty() =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(not_started(id, error)),
            }
        }
    }

    /// Gives a stopped guest of ours other ports in place of those that another program took.
    async fn leave_taken_ports(&self, id: ServerId) -> Result<(), ComputeError> {
        let taken = self.taken_ports(id).await?;
        if taken.is_empty() {
            return Ok(());
        }
        let (lines, old): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let name = self.server_name(id);
        tracing::warn!(name, server = %id, ports = ?old, "other programs took the ports of a \
                 stopped guest");
        let leases = lines.clone();
        let new = self.with_ports(move |ports, now| ports.acquire(&leases, now)).await?;
        let renumbered: BTreeMap<u16, u16> = old.iter().copied().zip(new.iter().copied()).collect();
        let redefined = self.redefine(id, &renumbered).await;
        let given_back = if redefined.is_ok() { old } else { new };
        self.with_ports(move |ports, now| {
            let mut pairs = lines.into_iter().zip(given_back);
            pairs.try_for_each(|(line, port)| ports.release(port, line, now))
        })
        .await?;
        redefined
    }

    async fn redefine(&self, id: ServerId, ports: &BTreeMap<u16, u16>) -> Result<(), ComputeError> {
        let failed = |error: HypervisorError| error.while_doing(id, "redefine");
        let xml = self.hypervisor.next_xml(id).await.map_err(failed)?;
        let xml = replace_ports(&xml, ports)
            .map_err(|error| failed(HypervisorError::Failed(error.to_string())))?;
        self.hypervisor.define(xml).await.map_err(failed)
    }

    /// Ports of a stopped guest of ours that QEMU could not bind now. A guest whose memory was
    /// saved to disk keeps its ports.
    async fn taken_ports(&self, id: ServerId) -> Result<Vec<(LineKey, u16)>, ComputeError> {
        let guest = self.seen(id).await?;
        if !guest.ours || guest.run.is_some() || guest.status == Status::Suspended {
            return Ok(Vec::new());
        }
        self.with_ports(move |ports, _| {
            let mut taken = Vec::new();
            for bound in guest.bound.iter().filter(|bound| bound.address == ports.address()) {
                if !ports.is_usable(bound.port)? {
                    taken.push((bound.line, bound.port));
                }
            }
            Ok(taken)
        })
        .await
    }

    /// Waits until all lines are attached; otherwise returns which one is not, and why.
    async fn attach(&self, id: ServerId) -> Result<(), String> {
        let deadline = Instant::now() + ATTACH;
        for line in self.lines.of_server(id) {
            let left = deadline.saturating_duration_since(Instant::now());
            if !line.connected(left).await {
                return Err(format!("port {}: {}", line.key().port, line.describe().reason));
            }
        }
        Ok(())
    }
}

/// Why QEMU did not start, with the most likely cause.
fn not_started(id: ServerId, error: HypervisorError) -> ComputeError {
    let denied = matches!(&error, HypervisorError::Failed(text) if is_denied(text));
    match error.while_doing(id, "start") {
        ComputeError::Failed(text) if denied => ComputeError::Failed(format!(
            "{text}. QEMU is not permitted to open a file of the guest: QEMU's user \
             (libvirt-qemu on Debian) must be able to read the image's files, and to enter all \
             their parent directories and those of the state directory."
        )),
        error => error,
    }
}

fn is_denied(text: &str) -> bool {
    text.to_ascii_lowercase().contains("permission denied")
}
