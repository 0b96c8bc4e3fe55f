//! Links to other places of the API. Their base is the address that the caller used.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::uri::Scheme;
use serde_json::Value;
use serde_json::json;
use serialproxy_config::Config;
use serialproxy_proto::id::ServerId;

use crate::Api;

/// The options for links.
#[derive(Debug)]
pub(crate) struct Public {
    /// The beginning of links, instead of the address that the request was sent to.
    prefix: Option<String>,
    /// Whether the headers of a reverse proxy are trusted to tell that address.
    behind_proxy: bool,
}

impl Public {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            prefix: config.api.compute_link_prefix.clone(),
            behind_proxy: config.oslo_middleware.enable_proxy_headers_parsing,
        }
    }

    /// `http://host:port` or `https://host:port`, perhaps with a path; empty when the caller named
    /// no host.
    fn base(&self, Parts { headers, extensions, .. }: &Parts) -> String {
        if let Some(prefix) = &self.prefix {
            return prefix.clone();
        }
        let seen = if self.behind_proxy { Seen::by_proxy(headers) } else { Seen::default() };
        let host = seen.host.or_else(|| text(headers, HOST.as_str()));
        let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else {
            return String::new();
        };
        let scheme = seen.scheme.as_ref().or_else(|| extensions.get()).unwrap_or(&Scheme::HTTP);
        format!("{scheme}://{host}{}", seen.prefix)
    }
}

/// The address that a request was sent to, as a reverse proxy reports it.
#[derive(Debug, Default)]
struct Seen<'a> {
    scheme: Option<Scheme>,
    host: Option<&'a str>,
    /// A path without a trailing slash.
    prefix: &'a str,
}

impl<'a> Seen<'a> {
    /// Where `Forwarded` (RFC 7239) is present, only it counts. Its first element describes the
    /// user's side.
    fn by_proxy(headers: &'a HeaderMap) -> Self {
        let prefix = text(headers, "x-forwarded-prefix").unwrap_or_default().trim_end_matches('/');
        let prefix = if is_path(prefix) { prefix } else { "" };
        let first = |text: &'a str| text.split(',').next().unwrap_or_default().trim();
        let (proto, host) = match text(headers, FORWARDED.as_str()).map(first) {
            Some(element) => (member(element, "proto"), member(element, "host")),
            None => (
                text(headers, "x-forwarded-proto").map(first),
                text(headers, "x-forwarded-host").map(first),
            ),
        };
        let scheme = proto.and_then(|proto| proto.parse().ok());
        let scheme = scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        Self { scheme, host, prefix }
    }
}

fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(plain)
}

/// A parameter of an element of `Forwarded`, without quotes.
fn member<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|text| text.to_str().ok())
}

/// The address that a request was sent to.
#[derive(Debug)]
pub(crate) struct Links {
    /// Everything before the path.
    base: String,
    path: String,
}

impl Links {
    pub(crate) fn to(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A link to this request's path below `place`.
    pub(super) fn to_here_below(&self, place: &str) -> String {
        format!("{}{place}{}", self.base, self.path)
    }

    pub(super) fn to_next_page(&self, query: &str) -> Value {
        json!([{"rel": "next", "href": format!("{}{}?{query}", self.base, self.path)}])
    }

    /// `self` has the version and project of the request, `bookmark` leaves out the version.
    pub(super) fn to_server(&self, id: ServerId) -> Value {
        let (place, project) = self.place();
        json!([
            {"rel": "self", "href": format!("{}{place}/servers/{id}", self.base)},
            {"rel": "bookmark", "href": format!("{}{project}/servers/{id}", self.base)},
        ])
    }

    pub(super) fn to_flavor(&self, id: &str) -> Value {
        let (_, project) = self.place();
        json!([{"rel": "bookmark", "href": format!("{}{project}/flavors/{id}", self.base)}])
    }

    /// The path's prefix of version and project, and of the project alone.
    fn place(&self) -> (&str, &str) {
        let place = self.path.split_once("/servers").map_or("", |(place, _)| place);
        let project =
            place.get(1..).and_then(|place| place.find('/').and_then(|at| place.get(at..)));
        (place, project.unwrap_or_default())
    }
}

impl FromRequestParts<Arc<Api>> for Links {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        Ok(Self { base: api.public.base(parts), path: parts.uri.path().to_owned() })
    }
}
