//! Changes of guests that are in progress: one at a time for a server, and a limited number for a
//! project.
//!
//! A change that does not need the guest may overtake one that waits for the guest or for a QEMU
//! that hangs. Otherwise a slow stop could not be cut short.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serialproxy_limits::Places;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::compute::Power;
use serialproxy_proto::id::ServerId;
use tokio::sync::watch;

use crate::lock;

/// Simultaneous changes of one project. Changes use libvirt, whose threads all projects share.
const PER_PROJECT: usize = 32;

/// How long a change waits for an earlier one to end. Nova's clients learn of a refusal only within
/// a second.
const BRIEFLY: Duration = Duration::from_millis(500);

/// A kind of change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    /// The verb in `Cannot 'stop' instance …`.
    verb: &'static str,
    /// Nova's `task_state` of the server during the change.
    state: &'static str,
    /// Whether it works without the guest, so that it may overtake one that waits.
    overtakes: bool,
}

impl Task {
    pub(super) const ADOPT: Self = Self { verb: "adopt", state: "adopting", overtakes: false };
    pub(super) const DELETE: Self = Self { verb: "delete", state: "deleting", overtakes: true };

    pub(super) fn of(power: &Power) -> Self {
        let (verb, state, overtakes) = match power {
            Power::Start => ("start", "powering-on", false),
            Power::Stop(stop) => ("stop", "powering-off", stop.force),
            Power::Reboot => ("reboot", "rebooting", false),
            Power::Reset => ("reset", "rebooting_hard", true),
            Power::Nmi => ("interrupt", "interrupting", true),
            Power::Pause => ("pause", "pausing", false),
            Power::Resume => ("resume", "unpausing", true),
        };
        Self { verb, state, overtakes }
    }
}

/// All changes in progress.
#[derive(Debug)]
pub(super) struct Changes {
    underway: Mutex<Underway>,
    projects: Places<String>,
    /// Notified when a place may have become free.
    freed: watch::Sender<()>,
}

/// The task states of each server's changes.
#[derive(Debug, Default)]
struct Underway(HashMap<ServerId, Vec<&'static str>>);

/// A change of a server in progress, until this is dropped.
#[derive(Debug)]
pub(super) struct Change<'a> {
    place: Place<'a>,
    _turn: Turn<'a>,
}

/// One of the changes of a server.
#[derive(Debug)]
struct Turn<'a> {
    changes: &'a Changes,
    id: ServerId,
    task: Task,
}

/// One of a project's places.
#[derive(Debug)]
pub(super) struct Place<'a> {
    changes: &'a Changes,
    project: String,
    /// None while the change only waits.
    place: Option<serialproxy_limits::Place<String>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            underway: Mutex::default(),
            projects: Places::new(PER_PROJECT),
            freed: watch::Sender::default(),
        }
    }
}

impl Changes {
    /// Begins to change a server of a project.
    ///
    /// # Errors
    ///
    /// When another change of the server is in progress, or the project has too many.
    pub(super) async fn begin(
        &self,
        id: ServerId,
        project: &str,
        task: Task,
    ) -> Result<Change<'_>, ComputeError> {
        let turn = self.until(|| lock(&self.underway).enter(id, task));
        if tokio::time::timeout(BRIEFLY, turn).await.is_err() {
            let (verb, state) = (task.verb, lock(&self.underway).state(id).unwrap_or(task.state));
            return Err(ComputeError::Conflict(format!(
                "Cannot '{verb}' instance {id} while it is in task_state {state}"
            )));
        }
        let _turn = Turn { changes: self, id, task };
        Ok(Change { place: self.place(project)?, _turn })
    }

    /// A place for one change of a project.
    ///
    /// # Errors
    ///
    /// When all places are taken.
    pub(super) fn place(&self, project: &str) -> Result<Place<'_>, ComputeError> {
        let project = project.to_owned();
        let place = self.projects.enter(project.clone()).ok_or_else(|| {
            ComputeError::Unavailable(format!(
                "project {project:?} has {PER_PROJECT} changes of servers in progress: try again \
                 when one has finished"
            ))
        })?;
        Ok(Place { changes: self, project, place: Some(place) })
    }

    /// Waits until `take` succeeds.
    async fn until(&self, mut take: impl FnMut() -> bool) {
        let mut freed = self.freed.subscribe();
        while !take() {
            // This cannot fail: the sender is ours.
            let _ = freed.changed().await;
        }
    }
}

impl Change<'_> {
    /// Frees the project's place while this only waits for its guest.
    pub(super) fn pause(&mut self) {
        self.place.give();
    }

    /// Continues as soon as the project has a free place.
    pub(super) async fn resume(&mut self) {
        let Place { changes, project, place } = &mut self.place;
        changes
            .until(|| {
                *place = place.take().or_else(|| changes.projects.enter(project.clone()));
                place.is_some()
            })
            .await;
    }
}

impl Place<'_> {
    fn give(&mut self) {
        if let Some(place) = self.place.take() {
            drop(place);
            self.changes.freed.send_replace(());
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.give();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.changes.underway).leave(self.id, self.task);
        self.changes.freed.send_replace(());
    }
}

impl Underway {
    fn enter(&mut self, id: ServerId, task: Task) -> bool {
        let tasks = self.0.entry(id).or_default();
        let is_free = tasks.len() <= usize::from(task.overtakes);
        if is_free {
            tasks.push(task.state);
        }
        is_free
    }

    fn leave(&mut self, id: ServerId, task: Task) {
        let Some(tasks) = self.0.get_mut(&id) else { return };
        if let Some(place) = tasks.iter().position(|state| *state == task.state) {
            tasks.remove(place);
        }
        if tasks.is_empty() {
            self.0.remove(&id);
        }
    }

    fn state(&self, id: ServerId) -> Option<&'static str> {
        self.0.get(&id)?.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use serialproxy_proto::api::Stop;

    use super::*;

    fn stop(force: bool) -> Task {
        Task::of(&Power::Stop(Stop { timeout: None, force }))
    }

    fn server(number: usize) -> ServerId {
        ServerId::of_static(&number.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_change_of_a_server_is_told_what_goes_on_and_others_go_on() {
        let changes = Changes::default();
        let first = changes.begin(server(1), "a", stop(false)).await.unwrap();
        let refused = changes.begin(server(1), "a", Task::of(&Power::Start)).await.unwrap_err();
        let text =
            format!("Cannot 'start' instance {} while it is in task_state powering-off", server(1));
        assert_eq!(refused, ComputeError::Conflict(text));
        changes.begin(server(2), "a", stop(false)).await.unwrap();
        drop(first);
        changes.begin(server(1), "a", Task::of(&Power::Start)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_comes_just_before_the_end_of_another_waits_for_it() {
        let changes = Changes::default();
        let first = changes.begin(server(1), "a", stop(false)).await.unwrap();
        let second = changes.begin(server(1), "a", Task::of(&Power::Start));
        let end = async {
            tokio::time::sleep(BRIEFLY / 2).await;
            drop(first);
        };
        assert!(tokio::join!(second, end).0.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_change_that_does_not_ask_the_guest_overtakes_one_that_does() {
        let changes = Changes::default();
        let _waits = changes.begin(server(1), "a", stop(false)).await.unwrap();
        let _cuts = changes.begin(server(1), "a", stop(true)).await.unwrap();
        assert!(changes.begin(server(1), "a", Task::DELETE).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_project_fills_its_own_places_alone_and_changes_that_wait_take_none() {
        let changes = Changes::default();
        let mut all = Vec::new();
        for number in 0..PER_PROJECT {
            all.push(changes.begin(server(number), "a", stop(false)).await.unwrap());
        }
        let another = server(PER_PROJECT);
        let refused = changes.begin(another, "a", stop(false)).await.unwrap_err();
        assert!(matches!(refused, ComputeError::Unavailable(_)), "{refused}");
        changes.begin(another, "b", stop(false)).await.unwrap();
        all[0].pause();
        let last = changes.begin(another, "a", stop(false)).await.unwrap();
        let resumed = tokio::time::timeout(BRIEFLY, all[0].resume()).await;
        assert!(resumed.is_err(), "there is no place");
        drop(last);
        all[0].resume().await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_changes_that_are_over() {
        let changes = Changes::default();
        let first = changes.begin(server(1), "a", stop(false)).await.unwrap();
        assert!(changes.begin(server(1), "b", stop(false)).await.is_err());
        drop(first);
        assert!(lock(&changes.underway).0.is_empty());
    }
}
