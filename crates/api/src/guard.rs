//! What is checked of every call before it is asked who makes it: that no page of another origin
//! makes it, and that its body is JSON. A browser sends either with the user's address and, under
//! `http_basic`, with the user's password.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::http::header::HOST;
use axum::http::header::ORIGIN;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use hyper::body::Body as _;
use serialproxy_config::Config;
use serialproxy_proto::relayed::RELAYED_USER;
use serialproxy_proto::relayed::RelayedUser;

use crate::Api;
use crate::auth::Auth;
use crate::client::relayed;
use crate::fault::Fault;

/// What a body may be called. A page of another origin cannot use these names without leave.
const JSON: [&str; 2] = ["application/json", "application/vnd.openstack.compute+json"];

/// What is let in.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Everyone is an administrator, also a page that gives its own name our address.
    noauth: bool,
    /// `[api] allowed_hosts`.
    hosts: Vec<String>,
}

impl Guard {
    pub(crate) fn new(config: &Config, auth: &Auth) -> Self {
        Self { noauth: matches!(auth, Auth::Noauth), hosts: config.api.allowed_hosts.clone() }
    }

    fn admit(&self, request: &Request) -> Result<(), Fault> {
        let headers = request.headers();
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            refuse_foreign(headers)?;
            if !request.body().is_end_stream() && !is_json(headers) {
                return Err(Fault::MediaType);
            }
        }
        if self.noauth { self.admit_by_name(request) } else { Ok(()) }
    }

    /// Refuses those who reached us by a name that is not ours, and through a relay all but those
    /// who are on its machine.
    fn admit_by_name(&self, request: &Request) -> Result<(), Fault> {
        let headers = request.headers();
        let host = single(headers, &HOST).and_then(|host| host.parse::<Authority>().ok());
        let target = request.uri().authority();
        if !host.as_ref().is_some_and(|host| self.knows(host))
            || !target.is_none_or(|target| self.knows(target))
        {
            return Err(Fault::Forbidden(
                "under auth_strategy = noauth everyone is an administrator, so the API is asked by \
                 an address, as localhost or by one of [api] allowed_hosts alone"
                    .into(),
            ));
        }
        let is_local = |user: RelayedUser<'_>| {
            let host = user.host.parse::<Authority>();
            user.address.to_canonical().is_loopback() && host.is_ok_and(|host| is_here(&host))
        };
        if headers.contains_key(RELAYED_USER) && !relayed(headers).is_some_and(is_local) {
            return Err(Fault::Forbidden(
                "under auth_strategy = noauth everyone is an administrator, so the servers page \
                 works only in a browser on the proxy's machine, at 127.0.0.1 or localhost"
                    .into(),
            ));
        }
        Ok(())
    }

    fn knows(&self, host: &Authority) -> bool {
        let name = name(host);
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Whether a host is a name of this machine for itself.
fn is_here(host: &Authority) -> bool {
    let name = name(host);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn name(host: &Authority) -> &str {
    host.host().trim_start_matches('[').trim_end_matches(']')
}

/// Refuses pages whose origin is not the very host that they call.
fn refuse_foreign(headers: &HeaderMap) -> Result<(), Fault> {
    let host = single(headers, &HOST).unwrap_or_default();
    let is_own = |origin: &HeaderValue| {
        let host_of = |origin: &str| {
            let (scheme, host) = origin.split_once("://")?;
            ["http", "https"].contains(&scheme).then(|| host.to_owned())
        };
        origin.to_str().ok().and_then(host_of).is_some_and(|own| own.eq_ignore_ascii_case(host))
    };
    if headers.get_all(ORIGIN).iter().all(is_own) {
        return Ok(());
    }
    Err(Fault::Forbidden("pages of other origins change nothing here".into()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = single(headers, &CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| JSON.iter().any(|json| json.eq_ignore_ascii_case(kind.trim())))
}

/// A header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
}

/// Lets in what may come in.
pub(crate) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.guard.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}
