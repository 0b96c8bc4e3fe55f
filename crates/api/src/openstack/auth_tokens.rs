//! `GET …/os-console-auth-tokens/{token}`: tells other proxies where the console of a token is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::compute::ComputeError;
use serialproxy_proto::endpoint::Endpoint;

use super::PLACES;
use super::microversion::Version;
use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::request::TokenPath;
use crate::route::Route;
use crate::tokens;

/// Nova's policy for looking up tokens.
const POLICY: &str = "os_compute_api:os-console-auth-tokens";

pub(super) fn routes() -> Vec<Route> {
    let at = |place| {
        Route::get(format!("{place}/os-console-auth-tokens/{{token}}"), show)
            .summary(
                "Returns host and port of a console token's serial port, from microversion \
                     2.31",
            )
            .answer("ConsoleAuthToken")
            .others(&[404])
    };
    PLACES.into_iter().map(at).collect()
}

async fn show(
    State(api): State<Arc<Api>>,
    version: Version,
    caller: Caller,
    TokenPath(token): TokenPath,
) -> Result<Json<Value>, Fault> {
    if !version.has(31) {
        return Err(Fault::malformed());
    }
    caller.require(Role::Admin, POLICY)?;
    let unknown = || Fault::NotFound("Token not found".into());
    let grant = tokens::look_up(&api.grants, &token).await?.ok_or_else(unknown)?;
    let line = match api.lines.line(grant.line).await {
        Err(ComputeError::NotFound(_)) => return Err(unknown()),
        line => line?,
    };
    if api.servers.server(grant.line.server).await?.project != grant.project {
        return Err(unknown());
    }
    let (host, port) = line.endpoint.as_ref().and_then(address).unzip();
    Ok(Json(json!({"console": {
        "instance_uuid": grant.line.server,
        "host": host,
        "port": port,
        "internal_access_path": null,
    }})))
}

/// Host and port; none if the guest's port is not a TCP port, to which other proxies cannot
/// connect.
fn address(endpoint: &Endpoint) -> Option<(&str, u16)> {
    match endpoint {
        Endpoint::Tcp { host, port } | Endpoint::Tls { host, port } => Some((host, *port)),
        _ => None,
    }
}
