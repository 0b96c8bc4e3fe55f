//! Who is attached.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serialproxy_proto::api::Sessions;
use serialproxy_proto::compute::Disconnect;

use crate::Api;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::query::Query;
use crate::request::SessionPath;
use crate::routes::Route;

pub(super) fn routes() -> [Route; 2] {
    [
        Route::get("/v1/sessions", sessions).summary("All attached sessions").answer("Sessions"),
        Route::delete("/v1/sessions/{session}", disconnect)
            .summary("Ends a session")
            .query(&["reason"])
            .success(StatusCode::NO_CONTENT),
    ]
}

async fn sessions(State(api): State<Arc<Api>>) -> Result<Json<Sessions>, Fault> {
    Ok(Json(Sessions { sessions: api.compute.sessions().await? }))
}

async fn disconnect(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(session): SessionPath,
    query: Query,
) -> Result<(), Fault> {
    let by = Disconnect { by: caller.user, reason: query.reason()? };
    Ok(api.compute.disconnect(session, by).await?)
}
