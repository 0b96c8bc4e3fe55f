//! The table of all calls. Both the router and the OpenAPI document are made from it.

use axum::Json;
use serde_json::Value;

use crate::openapi;
use crate::route::Route;

/// All calls.
pub(crate) fn all() -> Vec<Route> {
    let mut routes = crate::v1::routes();
    routes
        .push(Route::get("/v1/openapi.json", document).summary("This document").answer("Document"));
    routes.extend(crate::blueprint::routes());
    routes.extend(crate::openstack::routes());
    routes.extend(crate::identity::routes());
    routes
}

async fn document() -> Json<Value> {
    Json(openapi::document(&all()))
}
