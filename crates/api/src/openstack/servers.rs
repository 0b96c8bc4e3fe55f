//! Servers as Nova shows them, as far as clients need them to find a console.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Status;

use super::PLACES;
use super::links::Links;
use crate::Api;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::fault::echo;
use crate::query::Query;
use crate::request::ServerPath;
use crate::routes::Route;

pub(super) fn routes() -> Vec<Route> {
    let at = |place| {
        [
            Route::get(format!("{place}/servers"), list)
                .summary("Servers: id, name, links; name takes a part of the name")
                .query(&["name", "limit", "marker"])
                .answer("OpenstackServerRefs"),
            Route::get(format!("{place}/servers/detail"), list_detail)
                .summary("Servers with their state; name takes a part of the name")
                .query(&["name", "limit", "marker"])
                .answer("OpenstackServers"),
            Route::get(format!("{place}/servers/{{server}}"), show)
                .summary("One server")
                .answer("OpenstackServerAnswer"),
        ]
    };
    PLACES.into_iter().flat_map(at).collect()
}

#[derive(Serialize)]
struct Page {
    servers: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    servers_links: Option<Value>,
}

async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    links: Links,
    query: Query,
) -> Result<Json<Page>, Fault> {
    page(&api, &caller, &links, &query, reference).await
}

async fn list_detail(
    State(api): State<Arc<Api>>,
    caller: Caller,
    links: Links,
    query: Query,
) -> Result<Json<Page>, Fault> {
    page(&api, &caller, &links, &query, detail).await
}

async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    links: Links,
    ServerPath(server): ServerPath,
) -> Result<Json<Value>, Fault> {
    let server = api.server(&caller, server).await?;
    Ok(Json(json!({"server": detail(&server, &links)})))
}

async fn page(
    api: &Api,
    caller: &Caller,
    links: &Links,
    query: &Query,
    show: fn(&Server, &Links) -> Value,
) -> Result<Json<Page>, Fault> {
    let limit = query.limit()?;
    let mut servers = api.servers(caller).await?;
    if let Some(name) = query.text("name") {
        servers.retain(|server| server.name.contains(name));
    }
    if let Some(marker) = query.text("marker") {
        let seen = servers.iter().position(|server| server.id.to_string() == marker);
        let seen =
            seen.ok_or_else(|| Fault::BadRequest(format!("marker [{}] not found.", echo(marker))))?;
        servers.drain(..=seen);
    }
    servers.truncate(limit);
    // A full page has a successor, as Nova has it, even if that is empty.
    let last = servers.last().filter(|_| servers.len() == limit);
    let next = last.map(|last| query.next_page(limit, &last.id.to_string()));
    Ok(Json(Page {
        servers: servers.iter().map(|server| show(server, links)).collect(),
        servers_links: next.map(|query| links.to_next_page(&query)),
    }))
}

fn reference(server: &Server, links: &Links) -> Value {
    json!({"id": server.id, "name": server.name, "links": links.to_server(server.id)})
}

fn detail(server: &Server, links: &Links) -> Value {
    let (vm_state, power_state) = states(server.status);
    json!({
        "id": server.id,
        "name": server.name,
        "status": server.status,
        "links": links.to_server(server.id),
        "image": "",
        "flavor": {},
        "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:task_state": null,
        "OS-EXT-STS:power_state": power_state,
    })
}

/// Nova's `vm_state` and the number of its `power_state`.
fn states(status: Status) -> (&'static str, u8) {
    match status {
        Status::Active => ("active", 1),
        Status::Error => ("error", 0),
        Status::Paused => ("paused", 3),
        Status::Shutoff => ("stopped", 4),
        Status::Suspended => ("suspended", 4),
    }
}
