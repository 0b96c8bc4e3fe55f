//! The attached sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serialproxy_proto::api::Session;
use serialproxy_proto::api::Sessions;
use serialproxy_proto::compute::Disconnect;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::query::Query;
use crate::request::SessionPath;
use crate::routes::Route;

pub(super) fn routes() -> [Route; 2] {
    [
        Route::get("/v1/sessions", sessions).summary("Lists all sessions").answer("Sessions"),
        Route::delete("/v1/sessions/{session}", disconnect)
            .summary("Ends a session")
            .query(&["reason"])
            .others(&[404])
            .success(StatusCode::NO_CONTENT),
    ]
}

async fn sessions(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Sessions>, Fault> {
    Ok(Json(Sessions { sessions: visible(&api, &caller).await? }))
}

/// The sessions on the caller's servers.
async fn visible(api: &Api, caller: &Caller) -> Result<Vec<Session>, Fault> {
    let mut sessions = api.lines.sessions().await?;
    let sees = api.sees(caller).await?;
    sessions.retain(|session| sees(session.server.id));
    Ok(sessions)
}

async fn disconnect(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(session): SessionPath,
    query: Query,
) -> Result<(), Fault> {
    let reason = query.reason()?;
    if !visible(&api, &caller).await?.iter().any(|visible| visible.id == session) {
        return Err(Fault::no_such_session(&session.to_string()));
    }
    caller.require(Role::Member, "serialproxy:sessions:disconnect")?;
    let by = Disconnect { by: caller.user, reason };
    Ok(api.lines.disconnect(session, by).await?)
}
