//! The attached sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serialproxy_audit::EventName;
use serialproxy_proto::api::Sessions;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::Disconnect;
use serialproxy_proto::id::LineKey;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::query::Query;
use crate::request::SessionPath;
use crate::route::Route;

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
    Ok(Json(api.lines.sessions(caller.scope().cloned()).await?))
}

async fn disconnect(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(session): SessionPath,
    query: Query,
) -> Result<(), Fault> {
    let reason = query.reason()?;
    let Sessions { sessions, unreachable } = api.lines.sessions(caller.scope().cloned()).await?;
    let Some(found) = sessions.into_iter().find(|visible| visible.id == session) else {
        return Err(match unreachable.is_empty() {
            true => Fault::no_such_session(&session.to_string()),
            false => Fault::Unavailable(format!(
                "session {session} could not be found, and these hosts do not respond: {}",
                unreachable.join(", ")
            )),
        });
    };
    caller.require(Role::Member, "serialproxy:sessions:disconnect")?;
    let by = Disconnect { by: caller.user.clone(), reason };
    let line = LineKey { server: found.server.id, port: found.port };
    api.lines.disconnect(line, session, by).await?;
    let event = caller.event(EventName::SessionForced).session(session).line(line);
    let event = event.server_name(Some(found.server.name)).target(found.user);
    api.audit.record(event.cause(Cause::Forced.as_str()));
    Ok(())
}
