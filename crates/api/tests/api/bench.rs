//! A router above a simulated compute role, and calls to it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use serde_json::Value;
use serde_json::json;
use serialproxy_api::Api;
use serialproxy_api::Auth;
use serialproxy_api::Local;
use serialproxy_config::Config;
use serialproxy_grants::Grants;
use serialproxy_proto::token::TokenDigest;
use tower::ServiceExt;

use crate::fake::Fake;

/// The admin token of every bench.
pub(crate) const ADMIN: &str = "correct-horse-battery-staple";

/// The beginning of console URLs.
pub(crate) const BASE: &str = "http://console.example:6083/serial.html";

pub(crate) struct Bench {
    pub(crate) fake: Arc<Fake>,
    pub(crate) grants: Grants,
    pub(crate) router: Router,
    pub(crate) directory: tempfile::TempDir,
    /// Whether requests without a `Host` header get one: under noauth they need it.
    pub(crate) named: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

fn known(config: &Config, grants: &Grants) -> Local {
    Local::new(TokenDigest::of(ADMIN), grants.clone(), config.api.token_lifetime)
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::local(Fake::default(), &config())
    }

    /// Accepts [`ADMIN`], and the tokens and users of its grants.
    pub(crate) fn local(fake: Fake, config: &Config) -> Self {
        Self::made(fake, config, |grants| known(config, grants).into())
    }

    /// The same, which also accepts a name and password with each call.
    pub(crate) fn with_basic() -> Self {
        let config = config();
        let auth = |grants: &_| known(&config, grants).with_basic().unwrap().into();
        Self::made(Fake::default(), &config, auth)
    }

    pub(crate) fn with(fake: Fake, config: &Config, auth: Auth) -> Self {
        Self::made(fake, config, |_| auth)
    }

    fn made(fake: Fake, config: &Config, auth: impl FnOnce(&Grants) -> Auth) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let grants = Grants::open(&directory.path().join("store.sqlite")).unwrap();
        let fake = Arc::new(fake);
        let auth = auth(&grants);
        let named = matches!(auth, Auth::Noauth);
        let (servers, lines) = (Arc::clone(&fake) as _, Arc::clone(&fake) as _);
        let api = Api::new(servers, lines, grants.clone(), config, auth);
        Self { fake, grants, router: serialproxy_api::router(&Arc::new(api)), directory, named }
    }

    /// A call by the administrator.
    pub(crate) async fn call(&self, call: &str, body: impl Into<Body>) -> Answer {
        self.call_as(ADMIN, call, body).await
    }

    /// A call with this token, in the newest microversion.
    pub(crate) async fn call_as(&self, token: &str, call: &str, body: impl Into<Body>) -> Answer {
        let (method, uri) = call.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("x-auth-token", token).header("host", "api.example:8774");
        let request = request.header("openstack-api-version", "compute latest");
        let request = request.header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.call(&format!("GET {uri}"), "").await
    }

    /// Sends a request from this machine as it is.
    pub(crate) async fn send(&self, mut request: Request) -> Answer {
        let peer = SocketAddr::from(([127, 0, 0, 1], 40000));
        request.extensions_mut().get_or_insert(ConnectInfo(peer));
        if self.named && !request.headers().contains_key("host") {
            request.headers_mut().insert("host", HeaderValue::from_static("127.0.0.1:8774"));
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Name and message of a fault, whose code is the status.
    #[track_caller]
    pub(crate) fn fault(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), "application/json");
        let json = self.json();
        let (name, fault) = json.as_object().unwrap().iter().next().unwrap();
        assert_eq!(json.as_object().unwrap().len(), 1);
        assert_eq!(fault["code"], self.status.as_u16());
        (name.clone(), fault["message"].as_str().unwrap().to_owned())
    }

    #[track_caller]
    pub(crate) fn is_fault(&self, status: u16, name: &str, message: &str) {
        let (found, text) = self.fault();
        assert_eq!((self.status.as_u16(), found.as_str()), (status, name), "{text}");
        assert!(text.contains(message), "{text}");
    }

    /// A 401 of Keystone's middleware, which names this Keystone.
    #[track_caller]
    pub(crate) fn is_refused_as_by(&self, keystone: &str) {
        assert_eq!(self.status, 401, "{self:?}");
        let error = json!({
            "code": 401,
            "title": "Unauthorized",
            "message": "The request you have made requires authentication.",
        });
        assert_eq!(self.json(), json!({"error": error}));
        assert_eq!(self.header("www-authenticate"), format!("Keystone uri=\"{keystone}\""));
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.serial_console.enabled = true;
    config.serial_console.base_url = Some(BASE.into());
    config.api.allowed_hosts = vec!["api.example".into()];
    // Tests get many refusals on purpose, all from one address.
    config.limits.failures_per_minute = 0;
    config
}
