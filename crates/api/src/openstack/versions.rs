//! Version documents: the first thing that clients read, before they have a token.

use axum::Json;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::links::Links;
use crate::routes::Access;
use crate::routes::Route;

/// The only microversion: clients ask for nothing newer than what is announced.
const MICROVERSION: &str = "2.1";

pub(super) fn routes() -> Vec<Route> {
    let routes = [
        Route::get("/", all).answer("OpenstackVersions"),
        Route::get("/v2", v2).answer("OpenstackVersion"),
        Route::get("/v2/", v2).answer("OpenstackVersion"),
        Route::get("/v2.1", v2_1).answer("OpenstackVersion"),
        Route::get("/v2.1/", v2_1).answer("OpenstackVersion"),
    ];
    let open = |route: Route| route.open_to(Access::Anyone).summary("Versions of the compute API");
    routes.map(open).into()
}

#[derive(Serialize)]
struct Version {
    id: &'static str,
    status: &'static str,
    /// The newest microversion; empty where there are none, so that clients use the calls that
    /// need none.
    version: &'static str,
    min_version: &'static str,
    updated: &'static str,
    links: Value,
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

fn old(links: &Links) -> Version {
    Version {
        id: "v2.0",
        status: "DEPRECATED",
        version: "",
        min_version: "",
        updated: "2025-07-04T12:00:00Z",
        links: json!([{"rel": "self", "href": links.to("/v2/")}]),
        media_types: None,
    }
}

fn current(links: &Links) -> Version {
    Version {
        id: "v2.1",
        status: "CURRENT",
        version: MICROVERSION,
        min_version: MICROVERSION,
        updated: "2013-07-23T11:33:21Z",
        links: json!([{"rel": "self", "href": links.to("/v2.1/")}]),
        media_types: None,
    }
}

fn described(mut version: Version, media: &str) -> Json<Value> {
    version.media_types = Some(json!([{
        "base": "application/json",
        "type": format!("application/vnd.openstack.compute+json;version={media}"),
    }]));
    Json(json!({"version": version}))
}
