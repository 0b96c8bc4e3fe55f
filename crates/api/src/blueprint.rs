//! The calls that the blueprint names: one makes a console URL, one ends the session that is
//! typing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serialproxy_audit::EventName;
use serialproxy_proto::api::Disconnected;
use serialproxy_proto::api::SerialConsole;
use serialproxy_proto::api::SerialConsoleAnswer;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::token::Mode;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::consoles::POLICY;
use crate::consoles::Wanted;
use crate::fault::Fault;
use crate::query::Query;
use crate::request::Body;
use crate::request::ServerPath;
use crate::route::Route;
use crate::validation::Part;

/// The places of the calls, each with its status of success.
const PLACES: [(&str, StatusCode); 2] = [
    ("/v2/{project}/servers/{server}", StatusCode::OK),
    ("/v3/servers/{server}", StatusCode::ACCEPTED),
];

pub(crate) fn routes() -> Vec<Route> {
    let at = |(place, success)| {
        [
            Route::post(format!("{place}/get-serial-console"), get_serial_console)
                .summary("Creates a console URL for a server's serial port")
                .query(&["port", "mode", "wait"])
                .body("SerialConsoleRequest")
                .answer("SerialConsoleAnswer")
                .others(&[409, 501])
                .success(success),
            Route::post(format!("{place}/disconnect-serial-console"), disconnect_serial_console)
                .summary("Ends the session that is typing at a server's serial port")
                .query(&["port", "reason"])
                .body("SerialConsoleRequest")
                .answer("Disconnected")
                .others(&[409, 501])
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
    let url = api.console_url(&caller, Wanted { line, mode, wait }).await?;
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
    let server = api.server(&caller, server).await?;
    caller.require(Role::Member, POLICY)?;
    let by = Disconnect { by: caller.user.clone(), reason: query.reason()? };
    let disconnected = api.lines.disconnect_writer(line, by).await?;
    let event = caller.event_at(EventName::SessionForced, &server).line(line);
    let event = event.session(disconnected.session).target(&*disconnected.user);
    api.audit.record(event.cause(Cause::Forced.as_str()));
    Ok(Json(Disconnected { disconnected }))
}

/// Checks the blueprint's schema: an empty body, or an object with at most `serial_console`, whose
/// value is null or an empty object.
fn check(body: &Body) -> Result<(), Fault> {
    if body.is_empty() {
        return Ok(());
    }
    let body = body.json()?;
    match Part::whole(&body, true).object(&[], &["serial_console"])?.get("serial_console") {
        Some(console) if !console.value().is_null() => console.object(&[], &[]).map(drop),
        _ => Ok(()),
    }
}
