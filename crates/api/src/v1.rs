//! Our own calls below `/v1`, and the health of the process.

mod audit;
mod lines;
mod login;
mod servers;
mod sessions;
mod tokens;
mod users;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use serde_json::json;

use crate::Api;
use crate::route::Access;
use crate::route::Route;

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/healthz", health)
            .summary("Health of the process, with reasons if it is degraded")
            .answer("Health")
            .failure(503)
            .open_to(Access::Loopback),
    ];
    routes.extend(audit::routes());
    routes.extend(lines::routes());
    routes.extend(login::routes());
    routes.extend(sessions::routes());
    routes.extend(servers::routes());
    routes.extend(tokens::routes());
    routes.extend(users::routes());
    routes
}

async fn health(State(api): State<Arc<Api>>) -> (StatusCode, Json<Value>) {
    let reasons = api.health.reasons();
    let (status, word) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    (status, Json(json!({"status": word, "reasons": reasons})))
}
