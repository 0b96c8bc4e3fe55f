//! What users connect to: the name in `base_url`, and a WebSocket through whatever is there.
//!
//! The handshake shows a resume key that nobody has. Before the service refuses it, it checks that the
//! request is a handshake and that its Origin is allowed, so that the cause of the refusal tells both.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::token::ResumeKey;
use serialproxy_tls::Certificate;
use serialproxy_tls::Files;
use tokio::net::lookup_host;

use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::listeners;
use super::listeners::Holder;
use super::url::Url;
use super::wire;
use super::wire::Head;
use super::wire::Stream;

/// Name, certificate, handshake and Origin.
pub(super) async fn check(subject: &Subject) -> Vec<Finding> {
    let base = subject.config().serial_console.console_url();
    let Some(url) = Url::parse(&base) else {
        return vec![Finding::problem(
            Check::BaseUrl,
            format!("{base} is not a URL that browsers open"),
            "set [serial_console] base_url to http(s)://HOST[:PORT]/PATH",
        )];
    };
    let mut findings = Vec::new();
    let addresses = match resolve(&url).await {
        Ok(addresses) => addresses,
        Err(error) => {
            return vec![Finding::problem(
                Check::BaseUrl,
                format!("{}, the host of base_url, cannot be resolved: {error}", url.host),
                "add the name to DNS, or correct [serial_console] base_url",
            )];
        }
    };
    findings.push(named(subject, &url));
    if !is_up(subject).await {
        let text = format!("{base} was not tried, because the proxy does not run");
        findings.push(Finding::ok(Check::PublicUrl, text));
        return findings;
    }
    match open(subject, &url, &addresses).await {
        Ok(stream) => findings.extend(shake_hands(subject, &url, stream).await),
        Err(finding) => findings.push(*finding),
    }
    findings
}

pub(super) async fn resolve(url: &Url) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((url.host.as_str(), url.port)).await?.collect())
}

fn named(subject: &Subject, url: &Url) -> Finding {
    let (console, api) = (&subject.config().serial_console, &subject.config().api);
    let host = &url.host;
    if console.base_url.is_none() && subject.has_api() && !api.listen.is_local() {
        return Finding::warning(
            Check::BaseUrl,
            format!(
                "other hosts can use the API, but the console URLs that it returns lead to {host}"
            ),
            "set [serial_console] base_url to the address that users see",
        );
    }
    Finding::ok(Check::BaseUrl, format!("console URLs lead to {host}, which can be resolved"))
}

/// Whether somebody should answer: the proxy of this host runs, or it is on other hosts.
async fn is_up(subject: &Subject) -> bool {
    if !subject.has_users() {
        return true;
    }
    let listen = &subject.config().serial_console.listen;
    let Ok(addresses) = lookup_host((listen.host.as_str(), listen.port)).await else {
        return false;
    };
    let holder = listeners::holder(subject, &addresses.collect::<Vec<_>>()).await;
    matches!(holder, Holder::Service(_) | Holder::Unseen)
}

/// Connects as a user does. A certificate counts that this host trusts, or that is the service's own.
pub(super) async fn open(
    subject: &Subject,
    url: &Url,
    addresses: &[SocketAddr],
) -> Result<Stream, Box<Finding>> {
    let unreachable = |error: io::Error| {
        Box::new(Finding::problem(
            Check::PublicUrl,
            format!("nobody can connect to {}: {error}", url.origin()),
            "start what listens there, open its port, or correct [serial_console] base_url",
        ))
    };
    if !url.tls {
        return wire::connect(addresses, None).await.map_err(unreachable);
    }
    let name = ServerName::try_from(url.host.clone());
    let name = name.map_err(|error| unreachable(io::Error::other(error)))?;
    let console = &subject.config().serial_console;
    let files = Files { cert: console.cert.clone(), key: console.key.clone() };
    let own = Certificate::load(files).ok().map(Arc::new);
    let own = own.and_then(|own| serialproxy_tls::trusting_only(own).ok());
    let mut refused = None;
    for trust in serialproxy_tls::trusting(None).ok().into_iter().chain(own) {
        match wire::connect(addresses, Some((Arc::new(trust), name.clone()))).await {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let error = refused.unwrap_or_else(|| io::Error::other("this host has no CA store"));
    let is_certificate = error.get_ref().is_some_and(|why| {
        matches!(why.downcast_ref::<rustls::Error>(), Some(rustls::Error::InvalidCertificate(_)))
    });
    if !is_certificate {
        return Err(unreachable(error));
    }
    Err(Box::new(Finding::problem(
        Check::PublicCertificate,
        format!("the certificate at {} is not accepted: {error}", url.origin()),
        "install a valid certificate for that name there, with its issuers; a CA of your own has to be in \
         the CA store of this host",
    )))
}

async fn shake_hands(subject: &Subject, url: &Url, mut stream: Stream) -> Vec<Finding> {
    let key =
        ResumeKey::new(LineKey { server: ServerId::of_static("serialproxy doctor"), port: 0 });
    let target = format!("{}?resume={}", url.path, key.expose());
    let request = wire::handshake(&url.authority(), &url.origin(), &target);
    match wire::ask(&mut stream, &request).await {
        Ok(head) => judge(&url.origin(), &head, subject.is_drop_in()),
        Err(error) => vec![Finding::problem(
            Check::PublicUrl,
            format!("{} does not answer a WebSocket handshake: {error}", url.origin()),
            "check that base_url leads to the proxy, by http without TLS and by https with it",
        )],
    }
}

fn judge(origin: &str, head: &Head, drop_in: bool) -> Vec<Finding> {
    let cause = head.get("x-console-cause");
    let reason = head.get("x-console-reason").unwrap_or_default();
    let problem = |text: String, fix: &str| vec![Finding::problem(Check::PublicUrl, text, fix)];
    let deploy = "let the reverse proxy use HTTP/1.1 and forward the headers Upgrade and Connection \
                  (docs/proxies.md)";
    match (head.status, cause) {
        (101, Some("origin")) | (403, Some("origin")) => vec![Finding::problem(
            Check::Origin,
            format!("pages from {origin} may not open consoles there"),
            match drop_in {
                true => {
                    "let the reverse proxy forward the Host header and set X-Forwarded-Proto, or add \
                         the page's host to [console] allowed_origins"
                }
                false => {
                    "set [serial_console] base_url to the address that users see and restart the \
                          service, or add the origin to [console] allowed_origins"
                }
            },
        )],
        (101, Some(_)) => vec![
            Finding::ok(Check::PublicUrl, format!("a WebSocket handshake passes through {origin}")),
            Finding::ok(Check::Origin, format!("pages from {origin} may open consoles")),
        ],
        (101, None) => problem(
            format!("what answers at {origin} is not serialproxy"),
            "let base_url lead to the proxy",
        ),
        (status, Some("handshake")) => problem(
            format!(
                "a WebSocket handshake arrives incomplete through {origin} ({status}: {reason})"
            ),
            deploy,
        ),
        (status @ 300..=399, _) => problem(
            format!(
                "{origin} answers a WebSocket handshake with a redirect ({status}), which browsers do not follow"
            ),
            "set [serial_console] base_url to the address behind the redirect",
        ),
        (status @ (502..=504), _) => problem(
            format!("what listens at {origin} does not reach the proxy ({status})"),
            "correct the address of the proxy in the reverse proxy, and open its port between them",
        ),
        (status @ (401 | 407), None) => problem(
            format!("what listens at {origin} wants a login ({status})"),
            "let the reverse proxy pass console URLs on without a login of its own: their token is one",
        ),
        (status, _) => {
            problem(format!("{origin} answers a WebSocket handshake with status {status}"), deploy)
        }
    }
}
