//! Passes a user's request on to the host of the line, and returns its answer. The host checks the token and
//! serves the session. The proxy checks the Origin, because only it has the address that the page used.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::refusal::Refusal;
use serialproxy_proto::relayed::RELAYED_ISSUER;
use serialproxy_proto::relayed::RELAYED_USER;
use serialproxy_tls::Stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::Backing;
use crate::Proxy;
use crate::answer::Answer;
use crate::answer::CAUSE;
use crate::client::Client;
use crate::hosts;
use crate::hosts::Reach;
use crate::nova_tokens;
use crate::ticket::token_cookie;

/// How long a host may take to answer: it waits up to 2 s for a line that is connecting, and up to 2 s for etcd.
const ANSWER: Duration = Duration::from_secs(5);

/// Maximum length of an answer's head, in bytes.
const HEAD: usize = 16 * 1024;

/// Maximum length of an answer's body, in bytes: a piece of history.
pub(crate) const BODY: usize = 256 * 1024;

/// The header fields of an answer that are returned to the user: all that a host sends. Others are dropped, so
/// that a compromised host cannot set cookies or affect the pages of this proxy.
const TOLD: [HeaderName; 15] = [
    header::UPGRADE,
    header::CONNECTION,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::ALLOW,
    header::RETRY_AFTER,
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::X_CONTENT_TYPE_OPTIONS,
    CAUSE,
    HeaderName::from_static("x-console-reason"),
    HeaderName::from_static("x-console-offset"),
    HeaderName::from_static("x-console-next"),
    HeaderName::from_static("x-console-end"),
];

/// A host's answer.
pub(crate) struct Passed {
    pub(crate) answer: Answer,
    /// The connection to the host, if the answer is a 101.
    pub(crate) host: Option<Host>,
}

/// An upgraded connection to a host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) stream: Stream,
    /// Bytes that came together with the head.
    pub(crate) early: Bytes,
    /// Cancelled when the host is lost.
    pub(crate) lost: CancellationToken,
}

/// Passes a request for a WebSocket on.
///
/// # Errors
///
/// When the host does not respond.
pub(crate) async fn attach<B>(
    proxy: &Proxy,
    (hosts, host): (&dyn Reach, &str),
    client: Client,
    request: &Request<B>,
) -> Result<Passed, Refusal> {
    let mut passed = passed_on(client, request, &[header::SEC_WEBSOCKET_PROTOCOL])?;
    let headers = passed.headers_mut();
    // The handshake was checked to have these values.
    for (name, value) in [
        (header::UPGRADE, "websocket"),
        (header::CONNECTION, "Upgrade"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Backing::Nova(_) = proxy.backing {
        let (issuer, nova) = RELAYED_ISSUER;
        headers.insert(issuer, HeaderValue::from_static(nova));
    }
    if let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) {
        headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
    }
    // No other cookie: they may belong to other services at the proxy's address.
    let cookie = token_cookie(request.headers()).map(|token| format!("token={token}"));
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        headers.insert(header::COOKIE, cookie);
    }
    ask(proxy, (hosts, host), passed).await
}

/// Passes a plain HTTP request on, with its header of this name.
///
/// # Errors
///
/// When the host does not respond.
pub(crate) async fn fetch<B>(
    proxy: &Proxy,
    (hosts, host): (&dyn Reach, &str),
    client: Client,
    request: &Request<B>,
    header: HeaderName,
) -> Result<Answer, Refusal> {
    let passed = passed_on(client, request, &[header])?;
    Ok(ask(proxy, (hosts, host), passed).await?.answer)
}

/// The request as it is sent to the host: path, query, these headers, and the user's address.
fn passed_on<B>(
    client: Client,
    request: &Request<B>,
    names: &[HeaderName],
) -> Result<Request<Empty<Bytes>>, Refusal> {
    let bad = |what: &str| Refusal::BadRequest(format!("the {what} is missing or not valid"));
    let path = request.uri().path_and_query().ok_or_else(|| bad("path"))?;
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| bad("Host header"))?;
    let user = HeaderValue::from_str(&client.relayed(host, false).header());
    let mut passed = Request::new(Empty::new());
    *passed.uri_mut() = Uri::from(path.clone());
    let headers = passed.headers_mut();
    for name in names {
        for value in request.headers().get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(RELAYED_USER, user.map_err(|_| bad("Host header"))?);
    headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| bad("Host header"))?);
    Ok(passed)
}

async fn ask(
    proxy: &Proxy,
    (hosts, host): (&dyn Reach, &str),
    request: Request<Empty<Bytes>>,
) -> Result<Passed, Refusal> {
    let reached = hosts::connect(hosts, host, proxy.config.session.grace).await?;
    let lost = reached.lost.clone();
    let patience = match proxy.backing {
        // It asks Nova too.
        Backing::Nova(_) => ANSWER + nova_tokens::ANSWER,
        Backing::Own(..) | Backing::Cluster(_) => ANSWER,
    };
    let answered = tokio::select! {
        answered = tokio::time::timeout(patience, exchange(reached.stream, request)) => answered,
        () = lost.cancelled() => return Err(hosts::lost(host, &"its lease ended")),
    };
    let (answer, connection) = match answered {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => return Err(hosts::lost(host, &error)),
        Err(_) => return Err(hosts::lost(host, &"no answer in time")),
    };
    let host = connection.map(|(stream, early)| Host { stream, early, lost });
    Ok(Passed { answer, host })
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Sends one request on its own connection. The connection is closed after the answer, or returned after a 101.
async fn exchange(
    stream: Stream,
    request: Request<Empty<Bytes>>,
) -> Result<(Answer, Option<(Stream, Bytes)>), Fault> {
    let upgrades = request.headers().contains_key(header::UPGRADE);
    let mut client = http1::Builder::new();
    let (mut sender, connection) =
        client.max_buf_size(HEAD).handshake(TokioIo::new(stream)).await?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
    let mut answer = sender.send_request(request).await?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        if !upgrades {
            return Err("it switched protocols without being asked to".into());
        }
        let upgraded = hyper::upgrade::on(&mut answer).await?;
        let parts = upgraded.downcast::<TokioIo<Stream>>().map_err(|_| "another stream")?;
        // Copied, because the buffer of the head is large.
        let early = Bytes::copy_from_slice(&parts.read_buf);
        return Ok((told(&answer, Bytes::new()), Some((parts.io.into_inner(), early))));
    }
    let body = Limited::new(answer.body_mut(), BODY).collect().await?.to_bytes();
    drop(connection);
    Ok((told(&answer, body), None))
}

/// The answer as it is returned to the user.
fn told<B>(answer: &Response<B>, body: Bytes) -> Answer {
    let mut told = Response::new(Full::from(body));
    *told.status_mut() = answer.status();
    for name in TOLD {
        if let Some(value) = answer.headers().get(&name) {
            told.headers_mut().insert(name, value.clone());
        }
    }
    told
}

/// Whether a host refused a token or key that it does not know.
pub(crate) fn is_wrong(answer: &Answer) -> bool {
    answer.headers().get(CAUSE).is_some_and(|cause| cause == Cause::Token.as_str())
}

#[cfg(test)]
mod memory;
#[cfg(test)]
mod novas;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
