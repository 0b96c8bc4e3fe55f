//! Calls to the API: one authenticated HTTP client, with limits on time and size.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Client;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serialproxy_proto::api::Fault;
use serialproxy_proto::api::SerialConsoleAnswer;
use serialproxy_proto::api::Servers;
use serialproxy_proto::id::LineKey;
use serialproxy_proto::id::ServerId;
use serialproxy_proto::identity::LoginState;
use serialproxy_proto::identity::WhoAmI;
use serialproxy_proto::token::Mode;
use serialproxy_proto::token::TokenDigest;
use tokio_rustls::rustls::ClientConfig;
use uuid::Uuid;

use crate::command::ClientArgs;
use crate::failure::Failure;
use crate::failure::is_no_tls;
use crate::failure::is_only_tls;
use crate::failure::root_cause;

/// How long an answer may take. Booting a guest copies no disk, so no call is slow.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How Nova's words for a role that is not enough begin.
const POLICY: &str = "Policy doesn't allow ";
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// 16 MiB: a list of some 50,000 servers.
const ANSWER_SIZE: usize = 16 << 20;

/// Calls the API as one user.
#[derive(Debug)]
pub(crate) struct Api {
    http: Client,
    base: Url,
    token: Option<HeaderValue>,
    /// CA bundle that verifies it and the proxy, instead of the system's CA store.
    cacert: Option<PathBuf>,
    /// What to do when the API refuses the token.
    remedy: String,
}

/// A server in a list. The status is text, so that statuses of a newer API can be shown.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ServerRow {
    pub(crate) id: ServerId,
    pub(crate) name: String,
    pub(crate) status: String,
}

/// The parameters of a console URL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsoleRequest {
    pub(crate) server: ServerId,
    pub(crate) port: u8,
    pub(crate) mode: Mode,
    /// Whether to create a URL even if the server is off.
    pub(crate) wait: bool,
}

/// A piece of a line's output.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// The line of these offsets.
    pub(crate) line: Uuid,
    /// Offset of the first byte.
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
    /// The offset of the line's next output; none from an older API.
    pub(crate) end: Option<u64>,
}

impl Api {
    /// The API at the address in `args`, called with `token` or else with the one in the state
    /// directory.
    pub(crate) fn new(args: &ClientArgs, token: Option<String>) -> Result<Self, Failure> {
        let base = api_url(&args.api_url)?;
        let mut http = Client::builder().connect_timeout(CONNECT_TIME).redirect(Policy::none());
        http = match base.scheme() {
            "https" => http.tls_backend_preconfigured(trust(args.cacert.as_deref())?),
            // The system may have no certificates; here, none are needed.
            _ => http.tls_certs_only([]),
        };
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        let http = http
            .build()
            .map_err(|error| Failure::Api { api: origin(&base), cause: root_cause(&error) })?;
        let (token, remedy) = match token {
            Some(text) => (
                Some(secret(&text, "SERIALPROXY_TOKEN")?),
                "the token was taken from SERIALPROXY_TOKEN: check it".to_owned(),
            ),
            None => admin_token(&args.state_dir.join("admin-token"))?,
        };
        Ok(Self { http, base, token, cacert: args.cacert.clone(), remedy })
    }

    /// The TLS configuration that verifies the proxy.
    pub(crate) fn trust(&self) -> Result<ClientConfig, Failure> {
        trust(self.cacert.as_deref())
    }

    /// A digest of the address and of who asks, so that nobody sees what another was answered.
    pub(crate) fn account(&self) -> [u8; 32] {
        let token = self.token.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let token = String::from_utf8_lossy(token);
        TokenDigest::of(&format!("{}\n{token}", self.base)).0
    }

    /// Finds a server by its UUID or name.
    pub(crate) async fn find(&self, name_or_id: &str) -> Result<ServerId, Failure> {
        if let Ok(id) = name_or_id.parse() {
            return Ok(id);
        }
        let answer = self.servers(Some(name_or_id)).await?;
        let servers = self.read::<Servers<ServerRow>>(answer)?.servers;
        // The API finds the name anywhere in a server's name.
        let named = servers.into_iter().filter(|server| server.name == name_or_id);
        let ids: Vec<ServerId> = named.map(|server| server.id).collect();
        match ids.as_slice() {
            [] => Err(Failure::NoSuchServer(name_or_id.to_owned())),
            [id] => Ok(*id),
            _ => Err(Failure::Ambiguous { name: name_or_id.to_owned(), ids }),
        }
    }

    /// `{"servers": […]}` with all pages; with `name`, only servers whose name contains it.
    pub(crate) async fn servers(&self, name: Option<&str>) -> Result<Value, Failure> {
        let mut all: Vec<Value> = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let marked = marker.as_deref().map(|marker| ("marker", marker));
            let query: Vec<_> = name.map(|name| ("name", name)).into_iter().chain(marked).collect();
            let page = self.call(Method::GET, "/v2.1/servers/detail", &query, None).await?;
            let servers = page.get("servers").and_then(Value::as_array).cloned();
            let Some(servers) = servers else {
                return Err(self.strange(&"a response without servers"));
            };
            let last = servers.last().and_then(|server| server.get("id")?.as_str());
            let next = last.map(str::to_owned).filter(|_| page.get("servers_links").is_some());
            all.extend(servers);
            // A marker that does not change would request the same page again and again.
            if next.is_none() || next == marker {
                return Ok(serde_json::json!({ "servers": all }));
            }
            marker = next;
        }
    }

    /// One server.
    pub(crate) async fn server(&self, id: ServerId) -> Result<ServerRow, Failure> {
        let answer = self.call(Method::GET, &format!("/v2.1/servers/{id}"), &[], None).await?;
        self.read(answer.get("server").cloned().unwrap_or_default())
    }

    /// A new URL for a console. It contains a secret.
    pub(crate) async fn console_url(&self, request: ConsoleRequest) -> Result<String, Failure> {
        let path = format!("/v3/servers/{}/get-serial-console", request.server);
        let port = request.port.to_string();
        let mut query = vec![("port", port.as_str())];
        if request.mode == Mode::Watch {
            query.push(("mode", Mode::Watch.as_str()));
        }
        if request.wait {
            query.push(("wait", "1"));
        }
        let answer = self.call(Method::POST, &path, &query, None).await?;
        Ok(self.read::<SerialConsoleAnswer>(answer)?.serial_console.url)
    }

    /// One call; an answer without a body is `null`.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        self.call_within(ANSWER_TIME, method, path, query, body).await
    }

    /// A call whose answer may take this long, because a guest must act first.
    pub(crate) async fn call_within(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let request = self.request(method, path, query).timeout(limit);
        let request = request.header("Accept", "application/json");
        let answer = self.send(match body {
            Some(body) => request.json(&body),
            None => request,
        });
        let body = match answer.await {
            Ok((_, body)) => body,
            Err(Failure::Fault { status: 403, message }) if message.starts_with(POLICY) => {
                return Err(self.forbidden(path, message).await);
            }
            Err(failure) => return Err(failure),
        };
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| self.strange(&error))
    }

    /// The refusal of a call that the caller's role does not permit.
    async fn forbidden(&self, path: &str, message: String) -> Failure {
        let request = self.request(Method::GET, "/v1/login", &[]).timeout(ANSWER_TIME);
        let body = self.send(request).await.map(|(_, body)| body).unwrap_or_default();
        let caller =
            serde_json::from_slice::<LoginState>(&body).ok().and_then(|state| state.caller);
        match caller {
            Some(WhoAmI { role, project_name: project, .. }) => {
                Failure::Role { role, project, path: path.to_owned() }
            }
            None => Failure::Fault { status: 403, message },
        }
    }

    /// A line's output: a piece from this offset on, or from the next byte that is still kept.
    pub(crate) async fn output(&self, line: LineKey, from: Option<u64>) -> Result<Output, Failure> {
        let path = format!("/v1/lines/{}/{}/output", line.server, line.port);
        let offset = from.map(|from| from.to_string());
        let query: Vec<_> = offset.iter().map(|from| ("from", from.as_str())).collect();
        let request = self.request(Method::GET, &path, &query).timeout(ANSWER_TIME);
        let (headers, bytes) = self.send(request).await?;
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let place = || {
            let line = header("X-Console-Line")?.parse().ok()?;
            let offset = header("X-Console-Offset")?.parse().ok()?;
            (from <= Some(offset)).then_some((line, offset))
        };
        let (line, offset) = place().ok_or_else(|| self.strange(&"output without its offset"))?;
        let end = header("X-Console-End").and_then(|end| end.parse().ok());
        Ok(Output { line, offset, bytes, end })
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.header("X-Auth-Token", token.clone()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = self.body(response).await?;
        if !status.is_success() {
            return Err(self.fault(status, &body));
        }
        Ok((headers, body))
    }

    /// Parses an answer.
    pub(crate) fn read<T: DeserializeOwned>(&self, answer: Value) -> Result<T, Failure> {
        serde_json::from_value(answer).map_err(|error| self.strange(&error))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > ANSWER_SIZE {
                return Err(self.strange(&"a response of more than 16 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn fault(&self, status: StatusCode, body: &[u8]) -> Failure {
        let faults = serde_json::from_slice::<BTreeMap<String, Fault>>(body).unwrap_or_default();
        let message = match faults.into_values().next() {
            Some(fault) => fault.message,
            None if status == StatusCode::BAD_REQUEST && self.base.scheme() == "http" => {
                return self.strange(&"HTTP status 400; if the port speaks only TLS, use https");
            }
            None => return self.strange(&format_args!("HTTP status {status}")),
        };
        match status {
            StatusCode::UNAUTHORIZED => {
                Failure::Unauthorized { message, remedy: self.remedy.clone() }
            }
            _ => Failure::Fault { status: status.as_u16(), message },
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let address = origin(&self.base);
        if is_no_tls(error) {
            return Failure::NoTls { address };
        }
        if is_only_tls(error) {
            return Failure::OnlyTls { address };
        }
        Failure::Api { api: address, cause: root_cause(error) }
    }

    fn strange(&self, what: &dyn Display) -> Failure {
        Failure::Answer { api: origin(&self.base), what: what.to_string() }
    }
}

fn api_url(text: &str) -> Result<Url, Failure> {
    let unusable = |reason| Failure::ApiUrl { url: text.to_owned(), reason };
    let url =
        Url::parse(text).map_err(|_| unusable("it is not a URL; write it like http://h:8774"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(unusable("it must start with http:// or https://")),
    }
}

fn trust(cacert: Option<&Path>) -> Result<ClientConfig, Failure> {
    serialproxy_tls::trusting(cacert).map_err(|error| Failure::Trust(error.to_string()))
}

/// The address without its path and without credentials.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether `url` is on this machine, for which the environment's proxies do not apply.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The admin token that `serve` left in the state directory. If there is none, no token is sent:
/// the API may not require one.
fn admin_token(path: &Path) -> Result<(Option<HeaderValue>, String), Failure> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((
            Some(secret(text.trim(), &shown.to_string())?),
            format!("the token was read from {shown}; set SERIALPROXY_TOKEN to use another"),
        )),
        Err(error) => Ok((
            None,
            format!(
                "no token was sent, because {shown} cannot be read: {error}; set \
                 SERIALPROXY_TOKEN, or run this command as the file's owner"
            ),
        )),
    }
}

fn secret(token: &str, origin: &str) -> Result<HeaderValue, Failure> {
    let mut value =
        HeaderValue::from_str(token).map_err(|_| Failure::Token { origin: origin.to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}
