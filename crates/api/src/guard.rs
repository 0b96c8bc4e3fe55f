//! Checks of every call before its caller is authenticated: no page of another origin makes it, and
//! its body is JSON. A browser would send either with the user's address and, under `http_basic`,
//! with the user's password.

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
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use hyper::body::Body as _;
use serialproxy_config::Config;
use serialproxy_config::PageOrigin;
use serialproxy_proto::relayed::RELAYED_USER;
use serialproxy_proto::relayed::RelayedUser;

use crate::Api;
use crate::auth::Auth;
use crate::client::relayed;
use crate::fault::Fault;

/// The accepted content types. A browser lets a page of another origin use them only with the
/// server's permission.
const JSON: [&str; 2] = ["application/json", "application/vnd.openstack.compute+json"];

/// The rules for calls.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Whether everyone is an administrator. Then a page could also give its own host name our
    /// address (DNS rebinding), so host names are checked.
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
        if self.noauth {
            self.admit_by_name(request)?;
        }
        if headers.get_all(HOST).iter().count() > 1 {
            return Err(Fault::BadRequest("the request has more than one Host header".into()));
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            refuse_foreign(headers)?;
            if !request.body().is_end_stream() && !is_json(headers) {
                return Err(Fault::MediaType);
            }
        }
        Ok(())
    }

    /// Refuses calls to a host name that is not ours. Of calls through a relay, accepts only those
    /// of users on the relay's machine.
    fn admit_by_name(&self, request: &Request) -> Result<(), Fault> {
        let headers = request.headers();
        let knows = |host: &str| own_origin(host).is_some_and(|own| self.knows(&own));
        let target = request.uri().authority();
        if !single(headers, &HOST).is_some_and(knows)
            || !target.is_none_or(|target| knows(target.as_str()))
        {
            return Err(Fault::Forbidden(
                "under auth_strategy = noauth everyone is an administrator, so the Host header \
                 must be an IP address, localhost or one of [api] allowed_hosts"
                    .into(),
            ));
        }
        let is_local = |user: RelayedUser<'_>| {
            let is_here = |host| own_origin(host).is_some_and(|own| own.is_local());
            user.address.ip().is_loopback() && is_here(user.host)
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

    fn knows(&self, own: &PageOrigin) -> bool {
        own.is_local()
            || own.host().parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(own.host()))
    }
}

/// The origin that a `Host` header names. Its scheme does not matter here.
fn own_origin(host: &str) -> Option<PageOrigin> {
    PageOrigin::of_connection(false, host)
}

/// Refuses pages whose origin is another host than the one they call.
fn refuse_foreign(headers: &HeaderMap) -> Result<(), Fault> {
    let host = single(headers, &HOST);
    let is_own = |origin: &HeaderValue| {
        let page = origin.to_str().ok().and_then(PageOrigin::parse);
        page.is_some_and(|page| {
            // Either scheme is accepted, since a proxy before us may terminate TLS.
            let tls = page.scheme() == "https";
            host.and_then(|host| PageOrigin::of_connection(tls, host)) == Some(page)
        })
    };
    if headers.get_all(ORIGIN).iter().all(is_own) {
        return Ok(());
    }
    Err(Fault::Forbidden("a page of another origin may not make this call".into()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = single(headers, &CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| JSON.iter().any(|json| json.eq_ignore_ascii_case(kind.trim())))
}

/// The value of a header that occurs exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
}

/// Refuses calls that break the rules.
pub(crate) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.guard.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}
