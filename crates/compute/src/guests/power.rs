//! Changes of a guest's power: start, stop, reset and reboot.

use std::time::Duration;

use serialproxy_proto::api::Status;
use serialproxy_proto::api::Stop;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::Power;
use serialproxy_proto::id::ServerId;

use super::Guests;
use super::changes::Change;
use super::changes::Task;
use super::launch::Attach;
use super::table::Guest;
use crate::hypervisor::Action;
use crate::hypervisor::HypervisorError;

/// How long a guest may take to shut down, unless the caller sets another time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a guest that cannot be asked to shut down may take to end.
const LEAVES: Duration = Duration::from_secs(2);

/// The longest time that a caller may set.
const MOST_PATIENCE: Duration = Duration::from_secs(Stop::MOST_SECONDS);

impl Guests {
    /// Changes a guest's power state, and returns when that is done.
    pub(crate) async fn power(&self, id: ServerId, power: Power) -> Result<(), ComputeError> {
        self.settle().await;
        let project = self.seen(id).await?.project;
        let mut change = self.changes.begin(id, &project, Task::of(&power)).await?;
        match power {
            Power::Start => self.start_guest(id).await,
            Power::Stop(stop) => self.stop(&mut change, id, &stop).await,
            Power::Reboot => self.reboot(&mut change, id).await,
            Power::Reset => self.press(id, "reset", Action::Reset).await,
            Power::Nmi => self.press(id, "interrupt", Action::InjectNmi).await,
            Power::Pause => self.pause(id).await,
            Power::Resume => self.resume(id).await,
        }
    }

    pub(super) async fn start_guest(&self, id: ServerId) -> Result<(), ComputeError> {
        let _turn = self.turn(id).await;
        let _leasing = self.leasing.read().await;
        let guest = self.seen(id).await?;
        match (guest.run, guest.status) {
            (None, _) => drop(self.launch(id, Attach::OrGoOn).await?),
            (Some(_), Status::Paused) => self.resume(id).await?,
            (Some(_), status) => return Err(conflict("start", id, status)),
        }
        tracing::info!(server = %id, name = guest.name, "started");
        Ok(())
    }

    async fn pause(&self, id: ServerId) -> Result<(), ComputeError> {
        let (guest, _) = self.running(id, "pause").await?;
        if guest.status != Status::Active {
            return Err(conflict("pause", id, guest.status));
        }
        self.hypervisor
            .act(id, Action::Pause)
            .await
            .map_err(|error| error.while_doing(id, "pause"))?;
        self.seen(id).await?;
        tracing::info!(server = %id, name = guest.name, "paused");
        Ok(())
    }

    async fn resume(&self, id: ServerId) -> Result<(), ComputeError> {
        let (guest, _) = self.running(id, "resume").await?;
        let action = match guest.status {
            Status::Paused => Action::Resume,
            Status::Suspended => Action::Wake,
            status => return Err(conflict("resume", id, status)),
        };
        self.hypervisor.act(id, action).await.map_err(|error| error.while_doing(id, "resume"))?;
        self.seen(id).await?;
        tracing::info!(server = %id, name = guest.name, "resumed");
        Ok(())
    }

    async fn stop(
        &self,
        change: &mut Change<'_>,
        id: ServerId,
        stop: &Stop,
    ) -> Result<(), ComputeError> {
        let (guest, _) = self.running(id, "stop").await?;
        if !stop.force {
            refuse_paused("stop", &guest, id, "stop it with force to cut its power")?;
        }
        self.end_run(change, id, &guest, stop).await
    }

    /// Stops this run of a guest, if it still runs.
    pub(super) async fn end_run(
        &self,
        change: &mut Change<'_>,
        id: ServerId,
        guest: &Guest,
        stop: &Stop,
    ) -> Result<(), ComputeError> {
        let Some(run) = guest.run else { return Ok(()) };
        let patience = stop.timeout.map_or(PATIENCE, Duration::from_secs).min(MOST_PATIENCE);
        // A guest that has crashed cannot be asked.
        let asks = !stop.force && guest.status != Status::Error;
        let stopped = asks && self.shut_down(change, id, run, patience).await?;
        if !stopped {
            change.resume().await;
            let _turn = self.turn(id).await;
            // A guest that was started again meanwhile must not be stopped.
            if self.seen(id).await?.run == Some(run) {
                let destroyed = self.act_unless_stopped(id, Action::Destroy).await;
                destroyed.map_err(|error| error.while_doing(id, "stop"))?;
            }
        }
        self.refresh(id).await.map_err(|error| error.while_doing(id, "inspect"))?;
        tracing::info!(server = %id, name = guest.name, by_itself = stopped, "stopped");
        Ok(())
    }

    /// Asks the guest to shut down; false when it did not in time.
    async fn shut_down(
        &self,
        change: &mut Change<'_>,
        id: ServerId,
        run: u32,
        patience: Duration,
    ) -> Result<bool, ComputeError> {
        let has_left = |guest: Option<&Guest>| guest.is_none_or(|guest| guest.run != Some(run));
        if let Err(error) = self.act_unless_stopped(id, Action::Shutdown).await {
            // Another change may cut its power at this moment.
            if self.table.wait(id, LEAVES, has_left).await {
                return Ok(true);
            }
            return Err(match error.while_doing(id, "shut down") {
                ComputeError::Failed(text) | ComputeError::Unsupported(text) => {
                    ComputeError::Conflict(format!("{text}. Stop it with force to cut its power."))
                }
                error => error,
            });
        }
        change.pause();
        Ok(self.table.wait(id, patience, has_left).await)
    }

    /// Asks the guest to reboot. A guest that does not respond is reset after a while.
    async fn reboot(&self, change: &mut Change<'_>, id: ServerId) -> Result<(), ComputeError> {
        let (before, run) = self.running(id, "reboot").await?;
        refuse_paused("reboot", &before, id, "reset it, which does not involve the guest")?;
        let has = |guest: Option<&Guest>| {
            guest.is_none_or(|guest| guest.boots != before.boots || guest.run != Some(run))
        };
        let rebooted = match self.hypervisor.act(id, Action::Reboot).await {
            Ok(()) => {
                change.pause();
                self.table.wait(id, PATIENCE, has).await
            }
            Err(error @ HypervisorError::Unavailable(_)) => {
                return Err(error.while_doing(id, "reboot"));
            }
            Err(error) => {
                let name = self.server_name(id);
                tracing::warn!(name, server = %id, %error, "a guest did not accept the reboot \
                         request");
                false
            }
        };
        if !rebooted {
            change.resume().await;
            // It may have been reset or stopped while the change had no place.
            if !has(self.table.get(id).as_ref()) {
                self.press(id, "reset", Action::Reset).await?;
            }
        }
        tracing::info!(server = %id, name = before.name, by_itself = rebooted, "rebooted");
        Ok(())
    }

    async fn press(&self, id: ServerId, what: &str, action: Action) -> Result<(), ComputeError> {
        self.running(id, what).await?;
        self.hypervisor.act(id, action).await.map_err(|error| error.while_doing(id, what))
    }

    /// A guest with a hypervisor process.
    async fn running(&self, id: ServerId, what: &str) -> Result<(Guest, u32), ComputeError> {
        let guest = self.seen(id).await?;
        match guest.run {
            Some(run) => Ok((guest, run)),
            None => Err(conflict(what, id, guest.status)),
        }
    }

    /// Applies an action to a running guest; if it stops at that moment, this succeeds as well.
    pub(super) async fn act_unless_stopped(
        &self,
        id: ServerId,
        action: Action,
    ) -> Result<(), HypervisorError> {
        let done = self.hypervisor.act(id, action).await;
        if matches!(done, Err(HypervisorError::Failed(_)))
            && self.refresh(id).await?.is_none_or(|guest| guest.run.is_none())
        {
            return Ok(());
        }
        done
    }
}

/// Refuses a guest whose CPUs are stopped, since it cannot respond.
pub(super) fn refuse_paused(
    what: &str,
    guest: &Guest,
    id: ServerId,
    instead: &str,
) -> Result<(), ComputeError> {
    match guest.status {
        status @ (Status::Paused | Status::Suspended) => Err(ComputeError::Conflict(format!(
            "Cannot '{what}' instance {id} while it is {status}: resume it first, or {instead}."
        ))),
        _ => Ok(()),
    }
}

pub(super) fn conflict(what: &str, id: ServerId, status: Status) -> ComputeError {
    ComputeError::Conflict(format!("Cannot '{what}' instance {id} while it is {status}."))
}
