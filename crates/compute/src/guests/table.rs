//! The last known state of each guest.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serialproxy_line::Halt;
use serialproxy_proto::api::Status;
use serialproxy_proto::id::ServerId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::SerialPort;
use crate::lock;
use crate::ports::BoundPort;

/// SeaBIOS resets the machine once or twice more before it boots. QEMU reports each reset, within
/// some 50 ms; together they count as one.
const ONE_RESET: Duration = Duration::from_secs(1);

/// The last known state of a guest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Guest {
    pub(super) name: String,
    /// Id of its project.
    pub(super) project: String,
    pub(super) status: Status,
    /// Why its CPUs are stopped although it has a process.
    pub(super) halt: Option<Halt>,
    /// If it was started paused: until when it may wait for its lines before it counts as paused.
    pub(super) waits_until: Option<Instant>,
    /// Identifies the hypervisor process while there is one: a new number means a new boot.
    pub(super) run: Option<u32>,
    /// Boots so far, including resets.
    pub(super) boots: u64,
    /// When the last reset was counted.
    pub(super) reset: Option<Instant>,
    /// Serial ports that a line can be attached to.
    pub(super) ports: Vec<SerialPort>,
    /// Serial ports that cannot have a line, and why.
    pub(super) unusable: Vec<(u8, Cow<'static, str>)>,
    /// The TCP ports of its process and of its next start.
    pub(super) bound: BTreeSet<BoundPort>,
    /// Whether `boot` created it.
    pub(super) ours: bool,
}

/// Why a port has no line, if it is one of those that cannot have any.
pub(super) fn why_not<'a>(unusable: &'a [(u8, Cow<'static, str>)], port: u8) -> Option<&'a str> {
    unusable.iter().find(|(known, _)| *known == port).map(|(_, why)| &**why)
}

/// All guests. Each change wakes all who wait for one.
#[derive(Debug, Default)]
pub(super) struct Table {
    guests: Mutex<BTreeMap<ServerId, Guest>>,
    changed: watch::Sender<()>,
}

impl Table {
    pub(super) fn all(&self) -> Vec<(ServerId, Guest)> {
        lock(&self.guests).iter().map(|(id, guest)| (*id, guest.clone())).collect()
    }

    pub(super) fn get(&self, id: ServerId) -> Option<Guest> {
        lock(&self.guests).get(&id).cloned()
    }

    pub(super) fn put(&self, id: ServerId, guest: Guest) {
        lock(&self.guests).insert(id, guest);
        self.changed.send_replace(());
    }

    pub(super) fn remove(&self, id: ServerId) -> Option<Guest> {
        let removed = lock(&self.guests).remove(&id);
        self.changed.send_replace(());
        removed
    }

    /// Counts a reset within the same hypervisor process; false when it belongs to the last one.
    pub(super) fn count_reset(&self, id: ServerId, now: Instant) -> bool {
        let counted = lock(&self.guests).get_mut(&id).is_some_and(|guest| {
            let is_new = guest.reset.is_none_or(|last| now.duration_since(last) >= ONE_RESET);
            if is_new {
                guest.reset = Some(now);
                guest.boots += 1;
            }
            is_new
        });
        self.changed.send_replace(());
        counted
    }

    /// Waits until `condition` is true for a guest; false when it is not within that time.
    pub(super) async fn wait(
        &self,
        id: ServerId,
        within: Duration,
        condition: impl Fn(Option<&Guest>) -> bool,
    ) -> bool {
        let mut changed = self.changed.subscribe();
        let holds = async {
            while !condition(lock(&self.guests).get(&id)) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(within, holds).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Guest {
        Guest {
            name: "guest".into(),
            project: "admin".into(),
            status: Status::Active,
            halt: None,
            waits_until: None,
            run: Some(1),
            boots: 0,
            reset: None,
            ports: Vec::new(),
            unusable: Vec::new(),
            bound: BTreeSet::new(),
            ours: false,
        }
    }

    #[test]
    fn resets_in_quick_succession_are_one_boot() {
        let id = ServerId::of_static("guest");
        let table = Table::default();
        let start = Instant::now();
        assert!(!table.count_reset(id, start), "nobody knows it yet");
        table.put(id, guest());
        let counted = [0, 40, 999, 1000, 1001, 2500]
            .map(|milliseconds| table.count_reset(id, start + Duration::from_millis(milliseconds)));
        assert_eq!(counted, [true, false, false, true, false, true]);
        assert_eq!(table.get(id).unwrap().boots, 3);
    }
}
