//! Consoles in Nova's API: `POST …/servers/{server}/remote-consoles`, and the older action
//! `os-getSerialConsole`, which is accepted here in every microversion.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::Mode;

use super::PLACES;
use super::body::Body;
use super::microversion::Version;
use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::consoles::POLICY;
use crate::consoles::Wanted;
use crate::consoles::unavailable;
use crate::fault::Fault;
use crate::request::ServerPath;
use crate::route::Route;
use crate::validation::Part;

/// The protocols with their types of consoles, each with the microversion that added it.
const KINDS: [(&str, &[&str], u32); 5] = [
    ("vnc", &["novnc", "xvpvnc"], 6),
    ("spice", &["spice-html5"], 6),
    ("serial", &["serial"], 6),
    ("rdp", &["rdp-html5"], 6),
    ("mks", &["webmks"], 8),
];

pub(super) fn routes() -> Vec<Route> {
    let at = |place| {
        Route::post(format!("{place}/servers/{{server}}/remote-consoles"), create)
            .summary("Creates a console URL for a server, from microversion 2.6")
            .body("RemoteConsoleRequest")
            .answer("RemoteConsoleAnswer")
            .others(&[409, 415, 501])
    };
    let places = PLACES.into_iter().filter(|place| place.starts_with("/v2.1"));
    places.map(at).collect()
}

async fn create(
    State(api): State<Arc<Api>>,
    version: Version,
    caller: Caller,
    ServerPath(server): ServerPath,
    body: Body,
) -> Result<Json<Value>, Fault> {
    version.require(6)?;
    let (protocol, kind) = wanted(version, body.part())?;
    if (protocol, kind) == ("serial", "serial") {
        let url = url(&api, &caller, server).await?;
        let console = json!({"protocol": protocol, "type": kind, "url": url});
        return Ok(Json(json!({ "remote_console": console })));
    }
    api.server(&caller, server).await?;
    caller.require(Role::Member, POLICY)?;
    match (protocol, kind) {
        ("rdp", _) | (_, "rdp-html5") => Err(Fault::malformed()),
        _ if belongs(protocol, kind) => Err(unavailable(kind)),
        _ => Err(Fault::BadRequest(format!("Invalid console type {kind}"))),
    }
}

/// The URL that `os-getSerialConsole` returns. As in Nova, the caller's role is checked before the
/// server is looked up.
pub(super) async fn serial(
    api: &Api,
    caller: &Caller,
    server: ServerId,
    arguments: Part<'_>,
) -> Result<String, Fault> {
    arguments.object(&["type"], &[])?.part("type").word(&["serial"])?;
    caller.require(Role::Member, POLICY)?;
    url(api, caller, server).await
}

/// The protocol and type of console that a body requests.
fn wanted(version: Version, body: Part<'_>) -> Result<(&str, &str), Fault> {
    let kinds = KINDS.into_iter().filter(|(_, _, since)| version.has(*since));
    let (protocols, types): (Vec<_>, Vec<_>) =
        kinds.map(|(protocol, types, _)| (protocol, types)).unzip();
    let console = body.object(&["remote_console"], &[])?.part("remote_console");
    let console = console.object(&["protocol", "type"], &[])?;
    let protocol = console.part("protocol").word(&protocols)?;
    let kind = console.part("type").word(&types.concat())?;
    Ok((protocol, kind))
}

fn belongs(protocol: &str, kind: &str) -> bool {
    KINDS.iter().any(|(name, types, _)| *name == protocol && types.contains(&kind))
}

/// A URL of the first serial port, the only one that Nova knows. As in Nova, an existing server
/// without such a port gets the answer that the console type is not available.
async fn url(api: &Api, caller: &Caller, server: ServerId) -> Result<String, Fault> {
    let line = LineKey { server, port: 0 };
    match api.console_url(caller, Wanted { line, mode: Mode::Write, wait: false }).await {
        Err(Fault::NotFound(_)) => {
            api.server(caller, server).await?;
            Err(unavailable("serial"))
        }
        url => url,
    }
}
