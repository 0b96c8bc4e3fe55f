//! Links to other places of the API, made from where the caller found this one.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::uri::Scheme;
use serde_json::Value;
use serde_json::json;
use serialproxy_proto::id::ServerId;

/// The address that a request came to.
#[derive(Debug)]
pub(super) struct Links {
    /// `http://host:port` or `https://host:port`; empty when the caller named no host.
    host: String,
    path: String,
}

impl Links {
    pub(super) fn to(&self, path: &str) -> String {
        format!("{}{path}", self.host)
    }

    pub(super) fn to_next_page(&self, query: &str) -> Value {
        json!([{"rel": "next", "href": format!("{}{}?{query}", self.host, self.path)}])
    }

    /// `self` below the version and project of the request, `bookmark` without the version.
    pub(super) fn to_server(&self, id: ServerId) -> Value {
        let place = self.path.split_once("/servers").map_or("", |(place, _)| place);
        let project =
            place.get(1..).and_then(|place| place.find('/').and_then(|at| place.get(at..)));
        let project = project.unwrap_or_default();
        json!([
            {"rel": "self", "href": format!("{}{place}/servers/{id}", self.host)},
            {"rel": "bookmark", "href": format!("{}{project}/servers/{id}", self.host)},
        ])
    }
}

impl<S: Sync> FromRequestParts<S> for Links {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.and_then(|host| host.parse::<Authority>().ok());
        let scheme = parts.extensions.get().unwrap_or(&Scheme::HTTP);
        let host = host.map(|host| format!("{scheme}://{host}")).unwrap_or_default();
        Ok(Self { host, path: parts.uri.path().to_owned() })
    }
}
