//! How long a console that nobody uses stays open through the public URL (`--idle`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use serde_json::Value;
use serialproxy_config::values::AuthStrategy;
use serialproxy_tls::Certificate;
use serialproxy_tls::Files;
use tokio::net::lookup_host;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_websockets::ClientBuilder;

use super::PATIENCE;
use super::Subject;
use super::finding::Check;
use super::finding::Finding;
use super::public;
use super::url::Url;
use super::wire;
use super::wire::Stream;
use super::wire::Tls;
use crate::listen::reachable;

/// Watches a console for that long, as a browser does that nobody touches.
pub(super) async fn check(subject: &Subject, long: Duration) -> Vec<Finding> {
    let watched = timeout(2 * PATIENCE, watch(subject)).await;
    let watched = watched.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
    vec![match watched {
        Ok(stream) => wait(stream, long).await,
        Err(error) => Finding::warning(
            Check::IdleTimeout,
            format!(
                "the idle timeout of {} is not known: {error:#}",
                subject.config().serial_console.console_url()
            ),
            "run this on the host of the API, with its admin token, while a guest with a console runs",
        ),
    }]
}

async fn wait(stream: Stream, long: Duration) -> Finding {
    let (began, mut socket) = (Instant::now(), ClientBuilder::new().take_over(stream));
    let ended = async {
        // It answers pings by itself.
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                let (code, reason) =
                    message.as_close().map_or((0, ""), |(code, reason)| (u16::from(code), reason));
                return format!("the service ended it ({code} {reason})");
            }
        }
        "the connection was cut".to_owned()
    };
    match timeout(long, ended).await {
        Err(_) => Finding::ok(
            Check::IdleTimeout,
            format!("a console that nobody used stayed open for {} s", long.as_secs()),
        ),
        Ok(how) => Finding::problem(
            Check::IdleTimeout,
            format!(
                "a console that nobody used stayed open for {} s only: {how}",
                began.elapsed().as_secs()
            ),
            "set the idle timeouts of the reverse proxy to more than [session] ping_interval, at which the \
             service pings (docs/proxies.md)",
        ),
    }
}

/// A session that watches the first console there is.
async fn watch(subject: &Subject) -> anyhow::Result<Stream> {
    let token = token(subject).await?;
    let base = Url::parse(&subject.config().serial_console.console_url()).context("base_url")?;
    let addresses = public::resolve(&base).await?;
    let opened = public::open(subject, &base, &addresses).await;
    let mut stream = opened.map_err(|finding| anyhow::anyhow!("{}", finding.text()))?;
    let target = format!("{}?token={token}&mode=watch", base.path);
    let request = wire::handshake(&base.authority(), &base.origin(), &target);
    let head = wire::ask(&mut stream, &request).await?;
    anyhow::ensure!(
        head.status == 101,
        "a WebSocket handshake is answered with status {}",
        head.status
    );
    if let Some(cause) = head.get("x-console-cause") {
        anyhow::bail!("the console is refused ({cause})");
    }
    Ok(stream)
}

/// A console token from the API of this host, in the administrator's name.
async fn token(subject: &Subject) -> anyhow::Result<String> {
    anyhow::ensure!(subject.has_api(), "the {} role has no API", subject.role.name());
    let lines = call(subject, "GET", "/v1/lines?limit=100").await?;
    let lines = lines.pointer("/lines").and_then(Value::as_array).context("no list of consoles")?;
    let connected =
        |line: &&Value| line.pointer("/state").and_then(Value::as_str) == Some("connected");
    let line = lines.iter().find(connected).context("no guest with a console runs")?;
    let server = line.pointer("/server/id").and_then(Value::as_str).context("no server")?;
    let port = line.pointer("/port").and_then(Value::as_u64).context("no port")?;
    let path = format!("/v3/servers/{server}/get-serial-console?port={port}&mode=watch");
    let made = call(subject, "POST", &path).await?;
    let url = made.pointer("/serial_console/url").and_then(Value::as_str).unwrap_or_default();
    let token = url.split_once("token=").map(|(_, token)| token.to_owned());
    token.context("the API returned no console URL")
}

async fn call(subject: &Subject, method: &str, path: &str) -> anyhow::Result<Value> {
    let config = subject.config();
    let listen = &config.api.listen;
    let found = lookup_host((listen.host.as_str(), listen.port)).await?;
    let addresses: Vec<_> = found.map(reachable).collect();
    let secret = match config.api.auth_strategy {
        AuthStrategy::Noauth => String::new(),
        AuthStrategy::Keystone => anyhow::bail!("the API takes tokens of Keystone only"),
        _ => serialproxy_api::read_admin_token(&config.state_dir).context("the admin token")?,
    };
    let mut stream = wire::connect(&addresses, api_tls(subject)?).await.context("the API")?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nX-Auth-Token: {}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n",
        listen.port,
        secret.trim()
    );
    let head = wire::ask(&mut stream, &request).await.context("the API")?;
    anyhow::ensure!(
        (200..300).contains(&head.status),
        "the API answers with status {}",
        head.status
    );
    Ok(serde_json::from_slice(&wire::body(&mut stream, &head).await?)?)
}

/// The API of this host is known by its own certificate: nobody else gets the admin token.
fn api_tls(subject: &Subject) -> anyhow::Result<Option<Tls>> {
    let api = &subject.config().api;
    let Some(cert) = api.cert.clone() else { return Ok(None) };
    let own = Certificate::load(Files { cert, key: api.key.clone() }).context("[api] cert")?;
    let trust = serialproxy_tls::trusting_only(Arc::new(own))?;
    let any = std::net::Ipv4Addr::LOCALHOST.into();
    Ok(Some((Arc::new(trust), rustls::pki_types::ServerName::IpAddress(any))))
}
