//! `os-start`, `os-stop`, `reboot`, `pause` and `unpause`: like Nova, the API answers before they
//! are done.

use std::time::Duration;

use serialproxy_proto::api::Status;
use serialproxy_proto::api::Stop;
use serialproxy_proto::compute::Power;
use serialproxy_proto::id::ServerId;

use super::view::states;
use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::validation::Part;

/// How long the answer waits for a change to fail. A change that takes longer goes on.
const SOON: Duration = Duration::from_secs(1);

/// Nova's names of the types of a reboot.
const HARD: [&str; 3] = ["HARD", "Hard", "hard"];
const SOFT: [&str; 3] = ["SOFT", "Soft", "soft"];

/// A requested change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Start,
    Stop,
    /// Asks the guest to reboot.
    SoftReboot,
    /// Resets the guest, which may be off, without asking it.
    HardReboot,
    Pause,
    Unpause,
}

impl Change {
    pub(super) fn reboot(arguments: Part<'_>) -> Result<Self, Fault> {
        let words = [HARD, SOFT].concat();
        let kind = arguments.object(&["type"], &[])?.part("type").word(&words)?;
        Ok(if SOFT.contains(&kind) { Self::SoftReboot } else { Self::HardReboot })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::SoftReboot | Self::HardReboot => "reboot",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }

    fn policy(self) -> String {
        let group = match self {
            Self::Pause | Self::Unpause => "os-pause-server",
            _ => "servers",
        };
        format!("os_compute_api:{group}:{}", self.name())
    }

    /// The change for a server of this status; none where Nova refuses.
    fn of(self, status: Status) -> Option<Power> {
        match (self, status) {
            (Self::Start, Status::Shutoff)
            | (Self::HardReboot, Status::Shutoff | Status::Suspended) => Some(Power::Start),
            (Self::Stop, Status::Active | Status::Error) => Some(Power::Stop(Stop::default())),
            (Self::SoftReboot, Status::Active) => Some(Power::Reboot),
            (Self::HardReboot, Status::Active | Status::Error | Status::Paused) => {
                Some(Power::Reset)
            }
            (Self::Pause, Status::Active) => Some(Power::Pause),
            (Self::Unpause, Status::Paused) => Some(Power::Resume),
            _ => None,
        }
    }
}

/// Begins a change, which goes on after this returns. An error within [`SOON`] is returned.
pub(super) async fn begin(
    api: &Api,
    caller: &Caller,
    id: ServerId,
    change: Change,
) -> Result<(), Fault> {
    let server = api.server(caller, id).await?;
    let name = change.name();
    caller.require(Role::Member, &change.policy())?;
    if server.status == Status::HostLost {
        return Err(Fault::Unavailable(format!(
            "The host of instance {id} does not respond: try again when it is back."
        )));
    }
    let power = change.of(server.status).ok_or_else(|| {
        let (vm_state, _) = states(server.status);
        Fault::Conflict(format!("Cannot '{name}' instance {id} while it is in vm_state {vm_state}"))
    })?;
    let change = api.change_power(caller, server, power);
    tokio::time::timeout(SOON, change).await.unwrap_or(Ok(()))
}
