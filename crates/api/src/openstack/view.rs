//! Servers as Nova shows them. Properties that serialproxy does not know (addresses, image, flavor,
//! times) are present, but empty, since clients read them.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Status;

use super::links::Links;
use super::microversion::Version;
use crate::auth::Caller;
use crate::auth::Role;

/// Id of every server's flavor: clients require one, and serialproxy knows none.
const FLAVOR: &str = "none";

/// The properties of a server that a caller sees in their microversion.
#[derive(Debug)]
pub(super) struct View<'a> {
    version: Version,
    admin: bool,
    links: &'a Links,
}

impl<'a> View<'a> {
    pub(super) fn new(version: Version, caller: &Caller, links: &'a Links) -> Self {
        Self { version, admin: caller.role == Role::Admin, links }
    }

    /// A server with all its properties.
    pub(super) fn of(&self, server: &Server) -> Value {
        let mut all = Map::new();
        let mut add = |wanted: bool, more: Value| match more {
            Value::Object(more) if wanted => all.extend(more),
            _ => {}
        };
        add(true, reference(server, self.links));
        add(true, state(server));
        add(true, self.unknown());
        add(self.admin, for_admins(server));
        add(self.admin && self.version.has(3), for_admins_since_3(server));
        add(self.version.has(9), json!({"locked": false}));
        add(self.admin && self.version.has(16), json!({"host_status": host_status(server)}));
        add(self.version.has(19), json!({"description": null}));
        add(self.version.has(26), json!({"tags": []}));
        Value::Object(all)
    }

    fn unknown(&self) -> Value {
        json!({
            "accessIPv4": "",
            "accessIPv6": "",
            "addresses": {},
            "config_drive": "",
            "created": null,
            "flavor": {"id": FLAVOR, "links": self.links.to_flavor(FLAVOR)},
            "hostId": "",
            "image": "",
            "key_name": null,
            "metadata": {},
            "os-extended-volumes:volumes_attached": [],
            "OS-DCF:diskConfig": "MANUAL",
            "OS-EXT-AZ:availability_zone": "nova",
            "OS-SRV-USG:launched_at": null,
            "OS-SRV-USG:terminated_at": null,
            "progress": 0,
            "security_groups": [],
            "updated": null,
            "user_id": "",
        })
    }
}

/// A server's properties in short lists.
pub(super) fn reference(server: &Server, links: &Links) -> Value {
    json!({"id": server.id, "name": server.name, "links": links.to_server(server.id)})
}

fn state(server: &Server) -> Value {
    let (vm_state, power_state) = states(server.status);
    json!({
        "status": server.status.in_nova(),
        "tenant_id": server.project,
        "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:task_state": null,
        "OS-EXT-STS:power_state": power_state,
    })
}

fn for_admins(server: &Server) -> Value {
    let host = Some(&server.host).filter(|host| !host.is_empty());
    json!({
        "OS-EXT-SRV-ATTR:host": host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": host,
        "OS-EXT-SRV-ATTR:instance_name": null,
    })
}

fn for_admins_since_3(server: &Server) -> Value {
    json!({
        "OS-EXT-SRV-ATTR:hostname": server.name,
        "OS-EXT-SRV-ATTR:kernel_id": "",
        "OS-EXT-SRV-ATTR:launch_index": 0,
        "OS-EXT-SRV-ATTR:ramdisk_id": "",
        "OS-EXT-SRV-ATTR:reservation_id": "",
        "OS-EXT-SRV-ATTR:root_device_name": null,
        "OS-EXT-SRV-ATTR:user_data": null,
    })
}

/// Nova's status of the server's host. It is unknown for a server in error, whose hypervisor cannot
/// be asked.
fn host_status(server: &Server) -> &'static str {
    match server.status {
        Status::Error => "UNKNOWN",
        Status::HostLost => "DOWN",
        _ => "UP",
    }
}

/// Nova's `vm_state` and the number of its `power_state`.
pub(super) fn states(status: Status) -> (&'static str, u8) {
    match status {
        Status::Active => ("active", 1),
        Status::Error => ("error", 0),
        Status::HostLost => ("unknown", 0),
        Status::Paused => ("paused", 3),
        Status::Shutoff => ("stopped", 4),
        Status::Suspended => ("suspended", 4),
    }
}
