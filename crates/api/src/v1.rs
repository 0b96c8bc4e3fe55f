//! Our own calls below `/v1`, and what the process tells of itself.

mod audit;
mod lines;
mod links;
mod login;
mod scripts;
mod servers;
mod sessions;
mod tokens;
mod users;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::Api;
use crate::route::Access;
use crate::route::Route;
use crate::schema::METRICS;

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/healthz", health)
            .summary("Health of the process, with reasons if it is degraded or failing")
            .answer("Health")
            .failure(503)
            .open_to(Access::Loopback),
        Route::get("/metrics", metrics)
            .summary("Metrics in Prometheus' text format")
            .answer(METRICS)
            .open_to(Access::Loopback),
    ];
    routes.extend(audit::routes());
    routes.extend(lines::routes());
    routes.extend(links::routes());
    routes.extend(login::routes());
    routes.extend(scripts::routes());
    routes.extend(sessions::routes());
    routes.extend(servers::routes());
    routes.extend(tokens::routes());
    routes.extend(users::routes());
    routes
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    api.monitor.health()
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    api.monitor.metrics()
}
