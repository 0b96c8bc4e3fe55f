//! Relays the servers page's calls to the API: listed calls below `/v1/`, and the call that creates a console
//! URL. Other calls need `[proxy] admin_calls`, and only pages of this proxy may call. The API is told the user's
//! address and the requested `Host`, and checks both under `noauth`. The login of a page is in a cookie (`login.rs`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::header;
use http::uri::Authority;
use http_body_util::BodyExt;
use http_body_util::Either;
use http_body_util::Full;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use serialproxy_config::Config;
use serialproxy_config::PageOrigin;
use serialproxy_config::values::ApiAddress;
use serialproxy_limits::Place;
use serialproxy_limits::Places;
use serialproxy_limits::Source;
use serialproxy_limits::seldom;
use serialproxy_proto::relayed::PAGE_LOGIN;
use serialproxy_proto::relayed::RELAYED_USER;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::client::Client;
use crate::login;
use crate::login::Site;
use crate::origin;

/// Maximum number of concurrent calls. Each has its own connection to the API, which accepts 1024: the rest is
/// left for direct clients of the API.
const CALLS: usize = 256;

/// Maximum number of concurrent calls of one address.
const PER_ADDRESS: usize = 32;

/// Maximum length of a request's body, in bytes. The calls of the servers page have few fields.
const BODY: usize = 4 * 1024;

/// The same for other calls, which are relayed with `[proxy] admin_calls`.
const ADMIN_BODY: usize = 64 * 1024;

/// Timeout for the body of a request.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Timeout for connecting to the API.
const CONNECT: Duration = Duration::from_secs(5);

/// Timeout for the API's answer: a little more than its slowest usual call, a boot, takes.
const ANSWER: Duration = Duration::from_secs(310);

/// The header fields of a request that are relayed. Not `X-User`, which names the user under `noauth`, and no
/// cookies, of which only the page's login counts.
const ASKED: [HeaderName; 3] =
    [HeaderName::from_static("x-auth-token"), header::AUTHORIZATION, header::CONTENT_TYPE];

/// The header fields of the API's answer that are relayed.
const TOLD: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::ALLOW,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("x-console-offset"),
    HeaderName::from_static("x-console-next"),
    HeaderName::from_static("x-console-end"),
    HeaderName::from_static("x-console-epoch"),
    HeaderName::from_static("x-console-line"),
];

/// A response with a body of the proxy, or with one that is streamed from the API.
pub(crate) type Relayed = Response<Either<Full<Bytes>, Incoming>>;

/// The way to the API.
#[derive(Debug)]
pub(crate) struct Relay {
    api: Option<ApiAddress>,
    /// Verifies an API with TLS.
    trust: Option<Arc<ClientConfig>>,
    /// Whether all calls of the API are relayed.
    admin_calls: bool,
    /// `base_url`, if it is configured: the pages of this proxy are loaded from there.
    base_url: Option<String>,
    room: Arc<Semaphore>,
    addresses: Places<Source>,
    /// Timeout for the API's answer.
    patience: Duration,
}

/// The place of a call among all, and among those of its address.
type CallPlace = (OwnedSemaphorePermit, Place<Source>);

/// Why a call was not relayed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum Fault {
    #[error("the Host header is missing or not valid")]
    NoHost,
    #[error(transparent)]
    Login(#[from] login::Fault),
    #[error(
        "only this proxy's own pages may make calls here: open the page at the proxy's own \
         address, or set [serial_console] base_url to the address of the reverse proxy"
    )]
    Foreign,
    #[error(
        "this call is not available at the proxy's port: send it to the API's own address, or \
         set [proxy] admin_calls = true"
    )]
    NotOffered,
    #[error("The resource could not be found: /v1/openapi.json lists all calls.")]
    NoSuchCall,
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the request body did not arrive within {} s", BODY_TIME.as_secs())]
    NoBody,
    #[error("too many calls are in progress: try again later")]
    Full,
    #[error(
        "{PER_ADDRESS} calls from your address are in progress, which is the maximum: try again \
         later"
    )]
    AddressFull,
    #[error(
        "the API cannot be reached: try again later; check that it is running, and that [proxy] \
         api_url is right"
    )]
    Unreachable,
    #[error(
        "no response from the API within {} s: the call may still succeed, so check its result",
        ANSWER.as_secs()
    )]
    Silent,
}

/// Whether a request is a call of the API.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    path.starts_with("/v1/") || is_console_call(request.method(), path)
}

/// `POST /v3/servers/{server}/get-serial-console`
fn is_console_call(method: &Method, path: &str) -> bool {
    let server =
        path.strip_prefix("/v3/servers/").and_then(|rest| rest.strip_suffix("/get-serial-console"));
    *method == Method::POST && server.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

impl Relay {
    pub(crate) fn new(config: &Config, trust: Option<Arc<ClientConfig>>) -> Self {
        Self {
            api: config.proxy.api.clone(),
            trust,
            admin_calls: config.proxy.admin_calls,
            base_url: config.serial_console.base_url.clone(),
            room: Arc::new(Semaphore::new(CALLS)),
            addresses: Places::new(PER_ADDRESS),
            patience: ANSWER,
        }
    }

    /// The API's answer, or why there is none.
    pub(crate) async fn answer<B>(&self, client: Client, request: Request<B>) -> Relayed
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut answer = match self.call(client, request).await {
            Ok(answer) => answer.map(Either::Right),
            Err(fault) => fault.into(),
        };
        protect(answer.headers_mut());
        answer
    }

    async fn call<B>(
        &self,
        client: Client,
        request: Request<B>,
    ) -> Result<Response<Incoming>, Fault>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let page = self.admit(client, request.headers())?;
        if !is_plain(request.uri().path()) {
            return Err(Fault::NoSuchCall);
        }
        let most = match is_offered(request.method(), request.uri().path()) {
            true => BODY,
            false if self.admin_calls => ADMIN_BODY,
            false => return Err(Fault::NotOffered),
        };
        let api = self.api.as_ref().ok_or(Fault::Unreachable)?;
        let site = Site::of(client, self.base_url.as_deref());
        let login = site.login(&request, page.as_ref())?;
        let (head, body) = request.into_parts();
        // Before the body is read, so that the number of places bounds the memory for bodies.
        let place = self.enter(client)?;
        let body = read(body, most).await?;
        let mut call = Request::new(Full::from(body));
        *call.method_mut() = head.method;
        *call.uri_mut() = origin_form(&head.uri)?;
        *call.headers_mut() = asked(&head.headers, &api.authority, client)?;
        if let Some(value) = login.told() {
            call.headers_mut().insert(PAGE_LOGIN, value);
        }
        let answer = self.ask(api, call, place).await?;
        let (head, body) = answer.into_parts();
        let mut answer = Response::new(body);
        *answer.status_mut() = head.status;
        *answer.headers_mut() = selected(&head.headers, &TOLD);
        if let Some(cookie) = site.cookie(&login, &head) {
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(answer)
    }

    fn enter(&self, client: Client) -> Result<CallPlace, Fault> {
        let address = Source::from(client.address.ip());
        let of_address = self.addresses.enter(address).ok_or(Fault::AddressFull)?;
        let of_all = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Fault::Full)?;
        Ok((of_all, of_address))
    }

    async fn ask(
        &self,
        ApiAddress { tls, authority: api }: &ApiAddress,
        call: Request<Full<Bytes>>,
        place: CallPlace,
    ) -> Result<Response<Incoming>, Fault> {
        let stream = connect(api).await.map_err(|error| unreachable(api, &error))?;
        match tls {
            false => self.ask_over(stream, api, call, place).await,
            true => {
                let secure = self.secure(stream, api).await;
                let stream = secure.map_err(|error| unreachable(api, &error))?;
                self.ask_over(stream, api, call, place).await
            }
        }
    }

    async fn secure(&self, stream: TcpStream, api: &str) -> io::Result<TlsStream<TcpStream>> {
        let trust = self.trust.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let (host, _) = api.rsplit_once(':').unwrap_or((api, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(trust));
        tokio::time::timeout(CONNECT, connector.connect(name, stream)).await?
    }

    /// Makes one call on its own connection. The connection keeps its place until the answer's body was read or
    /// dropped.
    async fn ask_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        api: &str,
        call: Request<Full<Bytes>>,
        place: CallPlace,
    ) -> Result<Response<Incoming>, Fault> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(api, &error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the API broke");
            }
            drop(place);
        });
        match tokio::time::timeout(self.patience, sender.send_request(call)).await {
            Ok(answer) => answer.map_err(|error| unreachable(api, &error)),
            Err(_) => {
                if seldom::is_due("silent") {
                    let seconds = self.patience.as_secs();
                    tracing::warn!(%api, seconds, "the API does not respond");
                }
                Err(Fault::Silent)
            }
        }
    }

    /// Admits clients that are not browsers, and pages of this proxy; returns the page's origin.
    fn admit(&self, client: Client, headers: &HeaderMap) -> Result<Option<PageOrigin>, Fault> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        host.and_then(|host| host.parse::<Authority>().ok()).ok_or(Fault::NoHost)?;
        let own = |page: &HeaderValue| {
            let page = page.to_str().ok().and_then(PageOrigin::parse).ok_or(Fault::Foreign)?;
            let base_url = self.base_url.as_deref();
            match origin::is_own(&page, headers, client.secure, base_url) {
                true => Ok(page),
                false => Err(Fault::Foreign),
            }
        };
        let pages: Vec<_> =
            headers.get_all(header::ORIGIN).iter().map(own).collect::<Result<_, _>>()?;
        Ok(pages.into_iter().next())
    }
}

/// The calls of the pages and similar ones; none is for administrators only.
fn is_offered(method: &Method, path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let place: [Option<&str>; 7] = std::array::from_fn(|_| parts.next());
    let (reads, method) = ([Method::GET, Method::HEAD].contains(method), method.as_str());
    match place {
        [Some("v1"), Some("servers" | "lines" | "sessions" | "openapi.json"), None, ..]
        | [Some("v1"), Some("servers"), Some(_), None, ..]
        | [Some("v1"), Some("lines"), Some(_), Some(_), None | Some("output"), None, ..] => reads,
        [Some("v1"), Some("servers"), Some(_), Some(power), None, ..] => {
            method == "POST"
                && ["start", "stop", "reboot", "reset", "nmi", "pause", "resume"].contains(&power)
        }
        [Some("v1"), Some("lines"), Some(_), Some(_), Some("break" | "sysrq"), None, ..]
        | [Some("v3"), Some("servers"), Some(_), Some("get-serial-console"), None, ..] => {
            method == "POST"
        }
        [Some("v1"), Some("lines"), Some(_), Some(_), Some("links"), None, ..] => {
            reads || method == "POST"
        }
        [Some("v1"), Some("lines"), Some(_), Some(_), Some("links"), Some(_), None] => {
            method == "DELETE"
        }
        [Some("v1"), Some("login"), None, ..] => reads || ["POST", "DELETE"].contains(&method),
        [Some("v1"), Some("sessions"), Some(_), None, ..] => method == "DELETE",
        _ => false,
    }
}

/// Whether all readers understand the path in the same way: no path of the API's calls has escapes or `..`.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
        && !path.split('/').any(|segment| segment == "." || segment == "..")
}

async fn read<B>(body: B, most: usize) -> Result<Bytes, Fault>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.size_hint().lower() > most as u64 {
        return Err(Fault::TooLarge(most));
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Fault::TooLarge(most)),
        Ok(Err(_)) | Err(_) => Err(Fault::NoBody),
    }
}

/// Path and query only (RFC 9112 section 3.2.1).
fn origin_form(uri: &Uri) -> Result<Uri, Fault> {
    let path = uri.path_and_query().ok_or(Fault::NoSuchCall)?;
    Ok(Uri::from(path.clone()))
}

fn asked(headers: &HeaderMap, api: &str, client: Client) -> Result<HeaderMap, Fault> {
    let mut asked = selected(headers, &ASKED);
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).ok_or(Fault::NoHost)?;
    let user = client.relayed(host, true).header();
    asked.insert(RELAYED_USER, HeaderValue::from_str(&user).map_err(|_| Fault::NoHost)?);
    for value in asked.values_mut() {
        value.set_sensitive(true);
    }
    asked.insert(header::HOST, HeaderValue::from_str(api).map_err(|_| Fault::Unreachable)?);
    Ok(asked)
}

fn selected(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut selected = HeaderMap::new();
    for name in names {
        if let Some(value) = headers.get(name) {
            selected.insert(name.clone(), value.clone());
        }
    }
    selected
}

async fn connect(api: &str) -> io::Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(api)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn unreachable(api: &str, error: &dyn std::error::Error) -> Fault {
    if seldom::is_due("unreachable") {
        tracing::warn!(%api, %error, "the API cannot be reached");
    }
    Fault::Unreachable
}

/// The browser must treat the API's answers as data, never as a page.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

impl Fault {
    /// The fault's name in Nova, which the body has.
    fn status(self) -> (StatusCode, &'static str) {
        match self {
            Self::NoHost | Self::NoBody => (StatusCode::BAD_REQUEST, "badRequest"),
            Self::Foreign | Self::NotOffered | Self::Login(_) => {
                (StatusCode::FORBIDDEN, "forbidden")
            }
            Self::NoSuchCall => (StatusCode::NOT_FOUND, "itemNotFound"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "overLimit"),
            Self::AddressFull => (StatusCode::TOO_MANY_REQUESTS, "overLimit"),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "serviceUnavailable"),
            Self::Unreachable => (StatusCode::BAD_GATEWAY, "computeFault"),
            Self::Silent => (StatusCode::GATEWAY_TIMEOUT, "computeFault"),
        }
    }
}

impl From<Fault> for Relayed {
    fn from(fault: Fault) -> Self {
        let (status, name) = fault.status();
        let body = json!({ name: { "code": status.as_u16(), "message": fault.to_string() } });
        let mut answer = Self::new(Either::Left(Full::from(body.to_string())));
        *answer.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}

#[cfg(test)]
mod tests;
