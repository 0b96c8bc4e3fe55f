//! The calls that the blueprint names: a console URL, and an end to who holds the console.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use serialproxy_proto::api::Disconnected;
use serialproxy_proto::api::SerialConsole;
use serialproxy_proto::api::SerialConsoleAnswer;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::token::Grant;
use serialproxy_proto::token::Mode;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::fault::echo;
use crate::query::Query;
use crate::request::Body;
use crate::request::ServerPath;
use crate::request::not_an_object;
use crate::routes::Route;
use crate::tokens;

/// Where the calls are, and the status of their success there.
const PLACES: [(&str, StatusCode); 2] = [
    ("/v2/{project}/servers/{server}", StatusCode::OK),
    ("/v3/servers/{server}", StatusCode::ACCEPTED),
];

/// Nova's name of the right to a serial console.
const POLICY: &str = "os_compute_api:os-remote-consoles";

/// Longest life of a token, whatever the options say: ten years, so that no clock overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

pub(crate) fn routes() -> Vec<Route> {
    let at = |(place, success)| {
        [
            Route::post(format!("{place}/get-serial-console"), get_serial_console)
                .summary("A console URL of a server's serial port")
                .query(&["port", "mode", "wait"])
                .body("SerialConsoleRequest")
                .answer("SerialConsoleAnswer")
                .success(success),
            Route::post(format!("{place}/disconnect-serial-console"), disconnect_serial_console)
                .summary("Ends the session that writes to a server's serial port")
                .query(&["port", "reason"])
                .body("SerialConsoleRequest")
                .answer("Disconnected")
                .success(success),
        ]
    };
    PLACES.into_iter().flat_map(at).collect()
}

async fn get_serial_console(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
    query: Query,
    body: Body,
) -> Result<Json<SerialConsoleAnswer>, Fault> {
    check(&body)?;
    let line = LineKey { server, port: query.port()? };
    let mode = query.value("mode", "watch or write")?.unwrap_or(Mode::Write);
    let wait = query.flag("wait")?;
    if !api.enabled {
        return Err(Fault::BadRequest("Unavailable console type serial.".into()));
    }
    api.server(&caller, server).await?;
    if mode == Mode::Write {
        caller.require(Role::Member, POLICY)?;
    }
    api.compute.get_serial_console(line, wait).await?;
    let now = Timestamp::now();
    let expires = now.checked_add(api.token_ttl.min(LONGEST)).unwrap_or(now);
    let operator = caller.role >= Role::Member;
    let grant = Grant { line, user: caller.user, mode, operator, wait, expires };
    let token = tokens::authorize(&api.store, grant).await?;
    let url = format!("{}?token={}", api.base_url, token.expose());
    Ok(Json(SerialConsoleAnswer { serial_console: SerialConsole { url } }))
}

async fn disconnect_serial_console(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
    query: Query,
    body: Body,
) -> Result<Json<Disconnected>, Fault> {
    check(&body)?;
    let line = LineKey { server, port: query.port()? };
    api.server(&caller, server).await?;
    caller.require(Role::Member, POLICY)?;
    let by = Disconnect { by: caller.user, reason: query.reason()? };
    let disconnected = api.compute.disconnect_writer(line, by).await?;
    Ok(Json(Disconnected { disconnected }))
}

/// The blueprint's schema: nothing, or an object that at most has `serial_console`, which is an
/// object without properties or null.
fn check(body: &Body) -> Result<(), Fault> {
    if body.is_empty() {
        return Ok(());
    }
    let object = body.object()?;
    if let Some(unknown) = object.keys().find(|key| *key != "serial_console") {
        return Err(unexpected(unknown));
    }
    match object.get("serial_console") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(inner)) => {
            inner.keys().next().map_or(Ok(()), |key| Err(unexpected(key)))
        }
        Some(other) => Err(not_an_object(other)),
    }
}

fn unexpected(property: &str) -> Fault {
    let property = echo(property);
    Fault::BadRequest(format!(
        "Additional properties are not allowed ('{property}' was unexpected)"
    ))
}
