//! Whether the state of a server in Nova allows an attach. Nova has twelve states and some forty tasks; most
//! of them leave the guest and its port as they are.

use serialproxy_openstack::Server;
use serialproxy_proto::refusal::Refusal;

/// Tasks during which the guest runs on, or restarts with the same port: all tasks of Nova except those that
/// create, remove, move or stop the guest.
const HARMLESS: [&str; 20] = [
    "image_snapshot",
    "image_snapshot_pending",
    "image_pending_upload",
    "image_uploading",
    "image_backup",
    "updating_password",
    "rebooting",
    "reboot_pending",
    "reboot_started",
    "rebooting_hard",
    "reboot_pending_hard",
    "reboot_started_hard",
    "pausing",
    "unpausing",
    "suspending",
    "powering-off",
    "rescuing",
    "unrescuing",
    "resize_prep",
    "resize_confirming",
];

/// Nova's power states of a guest that exists: running and paused.
const THERE: [i64; 2] = [1, 3];

/// Why an attach to the server is refused now, if it is.
pub(crate) fn obstacle(server: &Server) -> Option<Refusal> {
    let vm_state = server.vm_state.as_deref();
    let is_there = match vm_state {
        Some("active" | "paused" | "rescued" | "resized") => true,
        // An operation failed; the guest may still run.
        Some("error") => server.power_state.is_none_or(|power| THERE.contains(&power)),
        _ => false,
    };
    let task = server.task_state.as_deref();
    if is_there && task.is_none_or(|task| HARMLESS.contains(&task)) {
        return None;
    }
    let status = match task {
        Some(task) => format!("{} ({task})", server.status),
        None => server.status.clone(),
    };
    Some(match vm_state {
        Some("stopped") => Refusal::Stopped { status },
        _ => Refusal::Away { status },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All states and tasks of Nova 34 (`nova/objects/fields.py`), as far as they are not [`HARMLESS`].
    const STATES: [&str; 12] = [
        "active",
        "building",
        "paused",
        "suspended",
        "stopped",
        "rescued",
        "resized",
        "soft-delete",
        "deleted",
        "error",
        "shelved",
        "shelved_offloaded",
    ];
    const TASKS: [&str; 23] = [
        "scheduling",
        "block_device_mapping",
        "networking",
        "spawning",
        "resize_migrating",
        "resize_migrated",
        "resize_finish",
        "resize_reverting",
        "resuming",
        "powering-on",
        "rebuilding",
        "rebuild_block_device_mapping",
        "rebuild_spawning",
        "migrating",
        "deleting",
        "soft-deleting",
        "restoring",
        "shelving",
        "shelving_image_pending_upload",
        "shelving_image_uploading",
        "shelving_offloading",
        "unshelving",
        "a task of a later Nova",
    ];
    const RUNS: [&str; 5] = ["active", "paused", "rescued", "resized", "error"];

    fn server(vm_state: &str, task_state: Option<&str>, power_state: Option<i64>) -> Server {
        Server {
            name: "vm".into(),
            status: vm_state.to_uppercase(),
            vm_state: Some(vm_state.into()),
            task_state: task_state.map(str::to_owned),
            power_state,
            updated: None,
        }
    }

    #[test]
    fn a_console_is_refused_only_where_the_guest_does_not_run_or_loses_its_port() {
        for vm_state in STATES {
            let runs = RUNS.contains(&vm_state);
            for power_state in [None, Some(1)] {
                let refused = |task| obstacle(&server(vm_state, task, power_state)).is_some();
                assert_eq!(refused(None), !runs, "{vm_state}");
                for task in HARMLESS {
                    assert_eq!(refused(Some(task)), !runs, "{vm_state} {task}");
                }
                for task in TASKS {
                    assert!(refused(Some(task)), "{vm_state} {task}");
                }
            }
        }
        let unknown = Server { vm_state: None, ..server("active", None, Some(1)) };
        assert!(obstacle(&unknown).is_some());
    }

    #[test]
    fn after_a_fault_the_guest_may_be_there_or_not() {
        for (power, runs) in [(0, false), (1, true), (3, true), (4, false), (6, false), (7, false)]
        {
            assert_eq!(obstacle(&server("error", None, Some(power))).is_none(), runs, "{power}");
        }
    }

    #[test]
    fn only_what_is_stopped_is_called_so() {
        for vm_state in STATES {
            for task in [None, Some("migrating"), Some("powering-on")] {
                let Some(refusal) = obstacle(&server(vm_state, task, Some(4))) else { continue };
                let text = refusal.to_string();
                assert_eq!(text.contains("stopped"), vm_state == "stopped", "{text}");
                assert!(task.is_none_or(|task| text.contains(task)), "{text}");
            }
        }
    }
}
