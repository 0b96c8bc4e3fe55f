//! `POST …/servers/{server}/action`: the body names one of Nova's actions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::json;

use super::PLACES;
use super::body::Body;
use super::output;
use super::power;
use super::power::Change;
use super::remote_consoles;
use crate::Api;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::fault::echo;
use crate::request::ServerPath;
use crate::route::Route;

pub(super) fn routes() -> Vec<Route> {
    let at = |place: &str| {
        let is_strict = place.starts_with("/v2.1");
        Route::post(format!("{place}/servers/{{server}}/action"), action)
            .summary("Runs the server action that the body names: console, console output or power")
            .body(if is_strict { "ServerAction" } else { "ServerActionV2" })
            .answer("ServerActionAnswer")
            .others(&[202, 409, 415, 501])
    };
    PLACES.into_iter().map(at).collect()
}

async fn action(
    State(api): State<Arc<Api>>,
    caller: Caller,
    ServerPath(server): ServerPath,
    body: Body,
) -> Result<Response, Fault> {
    let (name, arguments) = body.action()?;
    match name {
        "os-getConsoleOutput" => {
            let output = output::of(&api, &caller, server, arguments).await?;
            Ok(Json(json!({"output": output})).into_response())
        }
        "os-getSerialConsole" => {
            let url = remote_consoles::serial(&api, &caller, server, arguments).await?;
            Ok(Json(json!({"console": {"type": "serial", "url": url}})).into_response())
        }
        "os-start" | "os-stop" | "reboot" | "pause" | "unpause" => {
            let change = match name {
                "os-start" => Change::Start,
                "os-stop" => Change::Stop,
                "pause" => Change::Pause,
                "unpause" => Change::Unpause,
                _ => Change::reboot(arguments)?,
            };
            power::begin(&api, &caller, server, change).await?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        _ => Err(Fault::BadRequest(format!("There is no such action: {}", echo(name)))),
    }
}
