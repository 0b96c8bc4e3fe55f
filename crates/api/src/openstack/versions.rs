//! Version documents, which clients read first, before they have a token.

use axum::Extension;
use axum::Json;
use axum::http::StatusCode;
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::links::Links;
use super::microversion;
use super::microversion::Version;
use crate::fault::Fault;
use crate::route::Access;
use crate::route::Route;

pub(super) fn routes() -> Vec<Route> {
    let routes = [
        Route::any("/", all).answer("OpenstackVersions"),
        Route::get("/v2", v2).answer("OpenstackVersion"),
        Route::get("/v2/", v2).answer("OpenstackVersion"),
        Route::get("/v2.1", v2_1).answer("OpenstackVersion"),
        Route::get("/v2.1/", v2_1).answer("OpenstackVersion"),
    ];
    let open = |route: Route| route.open_to(Access::Anyone).summary("Versions of the compute API");
    routes.map(open).into()
}

/// The answer to a path without a route. Below the prefixes of our own calls it says that the call
/// does not exist; elsewhere it lists the versions of the compute API.
pub(crate) async fn unknown_path(
    uri: Uri,
    version: Option<Extension<Version>>,
    links: Links,
) -> Response {
    if version.is_some() {
        return Fault::no_such_resource().into_response();
    }
    match uri.path().split('/').nth(1) {
        Some("v1" | "v3" | "healthz" | "metrics") => Fault::no_such_call().into_response(),
        _ => (StatusCode::MULTIPLE_CHOICES, choices(&links)).into_response(),
    }
}

/// The answer to a path that has a route, but not for this method. Nova answers 404 then.
pub(crate) async fn other_method(version: Option<Extension<Version>>) -> Fault {
    version.map_or(Fault::Method, |_| Fault::no_such_resource())
}

#[derive(Serialize)]
struct Entry {
    id: &'static str,
    status: &'static str,
    /// The newest microversion; empty where there are none: clients then use only calls that need
    /// none.
    version: String,
    min_version: String,
    updated: &'static str,
    links: Vec<Value>,
    #[serde(rename = "media-types", skip_serializing_if = "Option::is_none")]
    media_types: Option<Value>,
}

async fn all(links: Links) -> Json<Value> {
    Json(json!({"versions": [old(&links), current(&links)]}))
}

async fn v2(links: Links) -> Json<Value> {
    described(old(&links), "2")
}

async fn v2_1(links: Links) -> Json<Value> {
    described(current(&links), "2.1")
}

fn choices(links: &Links) -> Json<Value> {
    let choice = |id: &str, status: &str, place: &str, media: &str| {
        let link = json!([{"rel": "self", "href": links.to_here_below(place)}]);
        json!({"id": id, "status": status, "links": link, "media-types": media_types(media)})
    };
    Json(json!({"choices": [
        choice("v2.0", "DEPRECATED", "/v2", "2"),
        choice("v2.1", "CURRENT", "/v2.1", "2.1"),
    ]}))
}

fn old(links: &Links) -> Entry {
    Entry {
        id: "v2.0",
        status: "DEPRECATED",
        version: String::new(),
        min_version: String::new(),
        updated: "2025-07-04T12:00:00Z",
        links: vec![json!({"rel": "self", "href": links.to("/v2/")})],
        media_types: None,
    }
}

fn current(links: &Links) -> Entry {
    let (min_version, version) = microversion::range();
    Entry {
        id: "v2.1",
        status: "CURRENT",
        version,
        min_version,
        updated: "2013-07-23T11:33:21Z",
        links: vec![json!({"rel": "self", "href": links.to("/v2.1/")})],
        media_types: None,
    }
}

/// The document of one version, which has more properties than an entry of the list.
fn described(mut entry: Entry, media: &str) -> Json<Value> {
    let documents = "https://docs.openstack.org/";
    entry.links.push(json!({"rel": "describedby", "type": "text/html", "href": documents}));
    entry.media_types = Some(media_types(media));
    Json(json!({"version": entry}))
}

fn media_types(version: &str) -> Value {
    json!([{
        "base": "application/json",
        "type": format!("application/vnd.openstack.compute+json;version={version}"),
    }])
}
