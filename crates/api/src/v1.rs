//! Our own calls below `/v1`, and the health of the process.

mod lines;
mod servers;
mod sessions;
mod tokens;
mod users;

use axum::Json;
use serde_json::Value;
use serde_json::json;

use crate::openapi;
use crate::routes;
use crate::routes::Access;
use crate::routes::Route;

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/healthz", async || Json(json!({"status": "ok"})))
            .summary("Whether the process answers")
            .answer("Health")
            .open_to(Access::Loopback),
        Route::get("/v1/openapi.json", document).summary("This document").answer("Document"),
    ];
    routes.extend(lines::routes());
    routes.extend(sessions::routes());
    routes.extend(servers::routes());
    routes.extend(tokens::routes());
    routes.extend(users::routes());
    routes
}

async fn document() -> Json<Value> {
    Json(openapi::document(&routes::all()))
}
