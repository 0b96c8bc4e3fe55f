//! Lists of servers, and one server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::api::Server;
use serialproxy_proto::api::Servers;

use super::PLACES;
use super::filter::Filter;
use super::links::Links;
use super::microversion::Version;
use super::view;
use super::view::View;
use crate::Api;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::query::Query;
use crate::request::ServerPath;
use crate::route::Route;
use crate::scope::age;

/// The query parameters of lists.
const QUERY: &[&str] =
    &["name", "status", "all_tenants", "project_id", "tenant_id", "deleted", "limit", "marker"];

/// Nova's policies for the lists.
const INDEX: &str = "os_compute_api:servers:index";
const DETAIL: &str = "os_compute_api:servers:detail";

pub(super) fn routes() -> Vec<Route> {
    let at = |place| {
        [
            Route::get(format!("{place}/servers"), list)
                .summary("Lists servers: id, name, links")
                .query(QUERY)
                .answer("OpenstackServerRefs"),
            Route::get(format!("{place}/servers/detail"), list_detail)
                .summary("Lists servers with details")
                .query(QUERY)
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
) -> Result<impl IntoResponse, Fault> {
    let (Servers { servers, as_of, .. }, next) = page(&api, &caller, &query, INDEX).await?;
    let page = Page {
        servers: servers.iter().map(|server| view::reference(server, &links)).collect(),
        servers_links: next.map(|query| links.to_next_page(&query)),
    };
    Ok((age(as_of), Json(page)))
}

async fn list_detail(
    State(api): State<Arc<Api>>,
    version: Version,
    caller: Caller,
    links: Links,
    query: Query,
) -> Result<impl IntoResponse, Fault> {
    let (Servers { servers, as_of, .. }, next) = page(&api, &caller, &query, DETAIL).await?;
    let view = View::new(version, &caller, &links);
    let page = Page {
        servers: servers.iter().map(|server| view.of(server)).collect(),
        servers_links: next.map(|query| links.to_next_page(&query)),
    };
    Ok((age(as_of), Json(page)))
}

async fn show(
    State(api): State<Arc<Api>>,
    version: Version,
    caller: Caller,
    links: Links,
    ServerPath(server): ServerPath,
) -> Result<Json<Value>, Fault> {
    let server = api.server(&caller, server).await?;
    Ok(Json(json!({"server": View::new(version, &caller, &links).of(&server)})))
}

/// One page of servers, and the query of the next.
async fn page(
    api: &Api,
    caller: &Caller,
    query: &Query,
    policy: &str,
) -> Result<(Servers, Option<String>), Fault> {
    let limit = query.limit()?;
    let filter = Filter::new(query, caller, policy)?;
    let fits = |server: &Server| filter.takes(server);
    let marker = match query.text("marker").filter(|marker| !marker.is_empty()) {
        Some(marker) => Some(api.marker(caller, marker, fits).await?),
        None => None,
    };
    let servers = api.servers(caller, marker.as_ref(), limit, fits).await?;
    // As in Nova, a full page has a link to the next, even if that is empty.
    let last = servers.servers.last().filter(|_| servers.servers.len() == limit);
    let next = last.map(|last| query.next_page(limit, &last.id.to_string()));
    Ok((servers, next))
}
