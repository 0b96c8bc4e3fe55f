//! JSON schemas of request and response bodies. The values of enumerations come from their types,
//! and tests check every real answer against its schema.

mod openstack;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::api::NewLink;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::api::SessionState;
use serialproxy_proto::api::Status;
use serialproxy_proto::audit::EventName;
use serialproxy_proto::bounds::LAST_LINE;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::console::Action;
use serialproxy_proto::console::BootReason;
use serialproxy_proto::console::LineState;
use serialproxy_proto::endpoint::EndpointKind;
use serialproxy_proto::health;
use serialproxy_proto::health::ReasonName;
use serialproxy_proto::identity::LoginMethod;
use serialproxy_proto::identity::Password;
use serialproxy_proto::identity::Role;
use serialproxy_proto::script;
use serialproxy_proto::token::Mode;

/// The actions that a caller may have, depending on their role and the server.
const ACTIONS: [Action; 5] =
    [Action::Watch, Action::Write, Action::Force, Action::Power, Action::Admin];

/// Name of the schema of a line's output.
pub(crate) const OCTETS: &str = "Octets";

/// Name of the schema of the metrics.
pub(crate) const METRICS: &str = "Metrics";

/// All named schemas.
pub(crate) fn all() -> BTreeMap<&'static str, Value> {
    [consoles(), lines(), links(), scripts(), servers(), identities(), audit(), openstack::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether a call with this body schema requires a body.
pub(crate) fn is_required(body: &str) -> bool {
    let required = [
        "Boot",
        "Login",
        "LogIn",
        "NewLink",
        "NewPassword",
        "NewToken",
        "NewUser",
        "RemoteConsoleRequest",
        "Send",
        "ServerAction",
        "ServerActionV2",
        "Sysrq",
        "Wait",
    ];
    required.contains(&body)
}

pub(crate) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(crate) fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

pub(crate) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

pub(crate) fn port() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 255})
}

pub(crate) fn mode() -> Value {
    words(&[Mode::Watch, Mode::Write])
}

type Named = Vec<(&'static str, Value)>;

fn consoles() -> Named {
    let health = [health::Status::Ok, health::Status::Degraded, health::Status::Failing];
    let console = json!({"type": "object", "additionalProperties": false});
    let fault = with(
        object(&[
            ("code", json!({"type": "integer", "minimum": 400, "maximum": 599})),
            ("message", text()),
        ]),
        &[("cause", words(Cause::ALL)), ("typed", count())],
    );
    vec![
        (
            "SerialConsoleRequest",
            json!({
                "type": "object",
                "properties": {"serial_console": nullable(&console)},
                "additionalProperties": false,
            }),
        ),
        (
            "SerialConsoleAnswer",
            object(&[(
                "serial_console",
                object(&[("url", json!({"type": "string", "format": "uri"}))]),
            )]),
        ),
        ("Disconnected", object(&[("disconnected", reference("Writer"))])),
        (
            "Fault",
            json!({
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": fault,
            }),
        ),
        ("Health", object(&[("status", words(&health)), ("reasons", list("Reason"))])),
        ("Reason", object(&[("name", words(ReasonName::ALL)), ("text", text())])),
        (METRICS, text()),
        ("Document", json!({"type": "object"})),
    ]
}

fn lines() -> Named {
    let kind = words(&EndpointKind::ALL);
    let unreachable = [("unreachable", json!({"type": "array", "items": text()}))];
    vec![
        (OCTETS, json!({"type": "string", "format": "binary"})),
        ("ServerRef", object(&[("id", uuid()), ("name", text())])),
        (
            "Writer",
            with(
                object(&[("session", uuid()), ("user", text()), ("since", time())]),
                &[("free_in", count())],
            ),
        ),
        ("Endpoint", object(&[("kind", kind), ("address", text())])),
        (
            "Line",
            with(
                object(&[
                    ("server", reference("ServerRef")),
                    ("port", port()),
                    (
                        "state",
                        words(&[LineState::Waiting, LineState::Connected, LineState::Failed]),
                    ),
                    ("reason", text()),
                    ("endpoint", nullable(&reference("Endpoint"))),
                    ("line", uuid()),
                    ("epoch", count()),
                    ("offset", count()),
                    ("first_offset", count()),
                    ("bytes_in", count()),
                    ("bytes_out", count()),
                    ("writer", nullable(&reference("Writer"))),
                    ("watchers", count()),
                ]),
                &[
                    ("cause", words(Cause::ALL)),
                    ("idle", count()),
                    ("last_line", json!({"type": "string", "maxLength": LAST_LINE})),
                ],
            ),
        ),
        (
            "GuestBoot",
            with(
                object(&[
                    ("epoch", count()),
                    ("offset", count()),
                    ("time", time()),
                    ("reason", words(&[BootReason::Started, BootReason::Rebooted])),
                ]),
                &[("kernel", text())],
            ),
        ),
        ("BootList", object(&[("boots", list("GuestBoot"))])),
        ("Lines", with(object(&[("lines", list("Line"))]), &unreachable)),
        (
            "Session",
            with(
                object(&[
                    ("id", uuid()),
                    ("server", reference("ServerRef")),
                    ("port", port()),
                    ("user", text()),
                    ("mode", mode()),
                    ("since", time()),
                    ("address", text()),
                    ("protocol", words(&[Protocol::Raw, Protocol::ConsoleV1])),
                    ("state", words(&[SessionState::Live, SessionState::Detached])),
                ]),
                &[("ends_in", count()), ("link", uuid())],
            ),
        ),
        ("Sessions", with(object(&[("sessions", list("Session"))]), &unreachable)),
    ]
}

fn links() -> Named {
    let unreachable = [("unreachable", json!({"type": "array", "items": text()}))];
    vec![
        (
            "NewLink",
            json!({
                "type": "object",
                "properties": {
                    "mode": mode(),
                    "seconds": {"type": "integer", "minimum": NewLink::LEAST_SECONDS},
                },
                "required": ["mode", "seconds"],
                "additionalProperties": false,
            }),
        ),
        (
            "Link",
            object(&[
                ("id", uuid()),
                ("mode", mode()),
                ("user", text()),
                ("created", time()),
                ("expires", time()),
                ("sessions", count()),
            ]),
        ),
        ("MadeLink", object(&[("link", reference("Link")), ("url", text())])),
        ("Links", with(object(&[("links", list("Link")), ("longest", count())]), &unreachable)),
    ]
}

fn scripts() -> Named {
    let pattern = json!({"type": "string", "minLength": 1, "maxLength": script::PATTERN});
    let timeout = json!({"type": "integer", "minimum": 0, "maximum": script::LONGEST});
    let place = [("epoch", count()), ("line", uuid())];
    let gap = object(&[("from", count()), ("to", count())]);
    vec![
        (
            "Send",
            with(
                object(&[]),
                &[
                    ("text", nullable(&text())),
                    ("base64", nullable(&json!({"type": "string", "format": "byte"}))),
                ],
            ),
        ),
        ("Sent", object(&[&[("typed", count()), ("offset", count())], &place[..]].concat())),
        (
            "Wait",
            with(
                object(&[]),
                &[
                    ("regex", nullable(&pattern)),
                    ("text", nullable(&pattern)),
                    ("from", nullable(&count())),
                    ("line", nullable(&uuid())),
                    ("timeout", nullable(&timeout)),
                ],
            ),
        ),
        (
            "Waited",
            with(
                object(
                    &[
                        &[
                            ("matched", json!({"type": "boolean"})),
                            ("text", text()),
                            ("start", count()),
                            ("end", count()),
                        ],
                        &place[..],
                    ]
                    .concat(),
                ),
                &[("gap", gap)],
            ),
        ),
    ]
}

fn audit() -> Named {
    let digest = json!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
    let event = with(
        object(&[
            ("time", time()),
            ("event.name", words(EventName::ALL)),
            ("prev", digest.clone()),
            ("hash", digest),
        ]),
        &[
            ("user.id", text()),
            ("project.id", text()),
            ("client.address", text()),
            ("session.id", uuid()),
            ("server.id", uuid()),
            ("server.name", text()),
            ("console.port", port()),
            ("request.id", text()),
            ("cause", text()),
            ("target.id", text()),
            ("count", count()),
            ("bytes.in", count()),
            ("bytes.out", count()),
        ],
    );
    let hosts = || json!({"type": "array", "items": text()});
    let optional = [("next", text()), ("unreachable", hosts()), ("not_included", hosts())];
    vec![
        ("AuditEvent", event),
        ("AuditEvents", with(object(&[("events", list("AuditEvent"))]), &optional)),
    ]
}

fn servers() -> Named {
    let strings = json!({"type": "object", "additionalProperties": text()});
    vec![
        (
            "Server",
            with(
                object(&[
                    ("id", uuid()),
                    ("name", text()),
                    ("status", status()),
                    ("project", text()),
                    ("static", json!({"type": "boolean"})),
                    ("can", json!({"type": "array", "items": words(&ACTIONS)})),
                ]),
                &[("host", text()), ("unusable_ports", list("UnusablePort"))],
            ),
        ),
        ("UnusablePort", object(&[("port", port()), ("reason", text())])),
        ("ServerAnswer", object(&[("server", reference("Server"))])),
        (
            "Servers",
            with(
                object(&[("servers", list("Server"))]),
                &[("as_of", time()), ("stale", json!({"type": "boolean"}))],
            ),
        ),
        (
            "Boot",
            json!({
                "type": "object",
                "properties": {
                    "name": text(),
                    "image": text(),
                    "properties": strings,
                    "flavor_properties": strings,
                    "host": {"type": "string"},
                },
                "required": ["name", "image"],
                "additionalProperties": false,
            }),
        ),
        (
            "Adopt",
            json!({
                "type": "object",
                "properties": {"serial_ports": nullable(&count()), "restart": {"type": "boolean"}},
                "additionalProperties": false,
            }),
        ),
        ("Adopted", object(&[("server", reference("Server")), ("ports", list("AdoptedPort"))])),
        ("AdoptedPort", with(object(&[("port", port()), ("now", text())]), &[("was", text())])),
        ("Sysrq", object(&[("key", json!({"type": "string", "minLength": 1, "maxLength": 1}))])),
        (
            "Stop",
            json!({
                "type": "object",
                "properties": {"timeout": nullable(&count()), "force": {"type": "boolean"}},
                "additionalProperties": false,
            }),
        ),
    ]
}

fn identities() -> Named {
    let name = json!({"type": "string", "pattern": "^[A-Za-z0-9._@-]{1,64}$"});
    let named = [("name", name.clone()), ("project", name.clone()), ("role", words(&Role::ALL))];
    let token = [&named[..], &[("created", time()), ("expires", nullable(&time()))]].concat();
    let methods = [LoginMethod::Password, LoginMethod::Token, LoginMethod::Link];
    vec![
        (
            "NewToken",
            json!({
                "type": "object",
                "properties": {
                    "name": name,
                    "project": name,
                    "role": words(&Role::ALL),
                    "expires": nullable(&time()),
                },
                "required": ["name", "project", "role"],
                "additionalProperties": false,
            }),
        ),
        ("Token", object(&token)),
        ("Tokens", object(&[("tokens", list("Token"))])),
        ("NewUser", object(&[&named[..], &[("password", password())]].concat())),
        ("NewPassword", object(&[("password", password())])),
        ("User", object(&[&[("id", text())], &named[..], &[("created", time())]].concat())),
        ("UserAnswer", object(&[("user", reference("User"))])),
        ("Users", object(&[("users", list("User"))])),
        ("Login", object(&[("auth", json!({"type": "object", "required": ["identity"]}))])),
        (
            "LogIn",
            with(
                object(&[]),
                &[
                    ("code", nullable(&text())),
                    ("token", nullable(&text())),
                    ("user", nullable(&text())),
                    ("password", nullable(&text())),
                    ("project", nullable(&text())),
                    ("domain", nullable(&text())),
                ],
            ),
        ),
        ("LoginLink", object(&[("url", text()), ("expires", nullable(&time()))])),
        ("LoggedIn", with(object(&[("user", text()), ("expires", time())]), &[("token", text())])),
        (
            "LoginState",
            object(&[
                ("caller", nullable(&reference("WhoAmI"))),
                ("methods", json!({"type": "array", "items": words(&methods)})),
                ("keystone", json!({"type": "boolean"})),
            ]),
        ),
        (
            "WhoAmI",
            object(&[
                ("user", text()),
                ("project", text()),
                ("project_name", text()),
                ("role", words(&Role::ALL)),
            ]),
        ),
        ("LoginAnswer", object(&[("token", json!({"type": "object"}))])),
        ("MadeToken", object(&[("token", reference("Token")), ("secret", text())])),
    ]
}

/// The schema of an object that has exactly these properties.
fn object(properties: &[(&str, Value)]) -> Value {
    let names: Vec<_> = properties.iter().map(|(name, _)| *name).collect();
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    })
}

/// The schema with more properties, which are optional.
fn with(mut object: Value, optional: &[(&str, Value)]) -> Value {
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties
            .extend(optional.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
    }
    object
}

fn list(name: &str) -> Value {
    json!({"type": "array", "items": reference(name)})
}

fn nullable(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn password() -> Value {
    let (least, most) = (Password::LEAST, Password::MOST);
    json!({"type": "string", "format": "password", "minLength": least, "maxLength": most})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn status() -> Value {
    words(&Status::ALL)
}

fn words<T: Serialize>(words: &[T]) -> Value {
    json!({"type": "string", "enum": words})
}
