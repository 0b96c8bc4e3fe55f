//! Schemas of the bodies that Nova's clients send and receive.

use serde_json::Value;
use serde_json::json;
use serialproxy_proto::api::Status;

use super::Named;
use super::count;
use super::list;
use super::nullable;
use super::object;
use super::reference;
use super::text;
use super::time;
use super::uuid;
use super::with;
use super::words;

pub(super) fn all() -> Named {
    let link = with(object(&[("rel", text()), ("href", text())]), &[("type", text())]);
    let links = json!({"type": "array", "items": link});
    [versions(&links), servers(&links), consoles()].into_iter().flatten().collect()
}

fn versions(links: &Value) -> Named {
    let version = [
        ("id", text()),
        ("status", text()),
        ("version", text()),
        ("min_version", text()),
        ("updated", time()),
        ("links", links.clone()),
    ];
    let media = [("media-types", json!({"type": "array", "items": {"type": "object"}}))];
    let described = object(&[&version[..], &media[..]].concat());
    vec![
        ("OpenstackVersionItem", object(&version)),
        ("OpenstackVersion", object(&[("version", described)])),
        ("OpenstackVersions", object(&[("versions", list("OpenstackVersionItem"))])),
    ]
}

fn servers(links: &Value) -> Named {
    let refs = [("id", uuid()), ("name", text()), ("links", links.clone())];
    let page = |name| with(object(&[("servers", list(name))]), &[("servers_links", links.clone())]);
    let properties = [&refs[..], &server(links)[..]].concat();
    vec![
        ("OpenstackServerRef", object(&refs)),
        ("OpenstackServer", with(object(&properties), &later())),
        ("OpenstackServerAnswer", object(&[("server", reference("OpenstackServer"))])),
        ("OpenstackServerRefs", page("OpenstackServerRef")),
        ("OpenstackServers", page("OpenstackServer")),
    ]
}

/// The properties of a server that everyone sees, in every microversion.
fn server(links: &Value) -> Named {
    let map = || json!({"type": "object"});
    let array = || json!({"type": "array"});
    let time = || nullable(&time());
    vec![
        ("accessIPv4", text()),
        ("accessIPv6", text()),
        ("addresses", map()),
        ("config_drive", text()),
        ("created", time()),
        ("flavor", object(&[("id", text()), ("links", links.clone())])),
        ("hostId", text()),
        ("image", text()),
        ("key_name", nullable(&text())),
        ("metadata", map()),
        ("os-extended-volumes:volumes_attached", array()),
        ("OS-DCF:diskConfig", text()),
        ("OS-EXT-AZ:availability_zone", text()),
        ("OS-EXT-STS:power_state", count()),
        ("OS-EXT-STS:task_state", nullable(&text())),
        ("OS-EXT-STS:vm_state", text()),
        ("OS-SRV-USG:launched_at", time()),
        ("OS-SRV-USG:terminated_at", time()),
        ("progress", count()),
        ("security_groups", array()),
        ("status", words(&Status::ALL.map(Status::in_nova))),
        ("tenant_id", text()),
        ("updated", time()),
        ("user_id", text()),
    ]
}

/// The properties that only administrators see, or that later microversions added.
fn later() -> Named {
    let mut later = vec![
        ("description", nullable(&text())),
        ("host_status", text()),
        ("locked", json!({"type": "boolean"})),
        ("tags", json!({"type": "array", "items": text()})),
        ("OS-EXT-SRV-ATTR:launch_index", count()),
    ];
    later.extend(
        [
            "OS-EXT-SRV-ATTR:host",
            "OS-EXT-SRV-ATTR:hostname",
            "OS-EXT-SRV-ATTR:hypervisor_hostname",
            "OS-EXT-SRV-ATTR:instance_name",
            "OS-EXT-SRV-ATTR:kernel_id",
            "OS-EXT-SRV-ATTR:ramdisk_id",
            "OS-EXT-SRV-ATTR:reservation_id",
            "OS-EXT-SRV-ATTR:root_device_name",
            "OS-EXT-SRV-ATTR:user_data",
        ]
        .map(|name| (name, nullable(&text()))),
    );
    later
}

fn consoles() -> Named {
    let url = || ("url", json!({"type": "string", "format": "uri"}));
    let word = |words: &[&str]| json!({"type": "string", "enum": words});
    let protocols = word(&["vnc", "spice", "serial", "rdp", "mks"]);
    let types = word(&["novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5", "webmks"]);
    let wanted = object(&[("protocol", protocols), ("type", types)]);
    let serial = || word(&["serial"]);
    let made = object(&[("protocol", serial()), ("type", serial()), url()]);
    let console = object(&[("console", object(&[("type", serial()), url()]))]);
    let output = object(&[("output", text())]);
    let place = [
        ("instance_uuid", uuid()),
        ("host", nullable(&text())),
        ("port", nullable(&count())),
        ("internal_access_path", nullable(&text())),
    ];
    vec![
        ("RemoteConsoleRequest", object(&[("remote_console", wanted)])),
        ("RemoteConsoleAnswer", object(&[("remote_console", made)])),
        ("ConsoleAuthToken", object(&[("console", object(&place))])),
        ("ServerAction", action(true)),
        ("ServerActionV2", action(false)),
        ("ServerActionAnswer", json!({"anyOf": [console, output]})),
    ]
}

/// The body of an action. Below `/v2`, its arguments may have unknown properties.
fn action(strict: bool) -> Value {
    let arguments = |properties: Value, required: &[&str]| {
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": !strict,
        })
    };
    let length = json!({"anyOf": [
        {"type": "integer", "minimum": -1},
        {"type": "string", "pattern": "^(-1|[0-9]+)$"},
        {"type": "null"},
    ]});
    let reboot = json!({"enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]});
    json!({"anyOf": [
        object(&[("os-getSerialConsole", arguments(json!({"type": {"enum": ["serial"]}}), &["type"]))]),
        object(&[("os-getConsoleOutput", arguments(json!({"length": length}), &[]))]),
        object(&[("os-start", json!({}))]),
        object(&[("os-stop", json!({}))]),
        object(&[("pause", json!({}))]),
        object(&[("unpause", json!({}))]),
        object(&[("reboot", arguments(json!({"type": reboot}), &["type"]))]),
    ]})
}
