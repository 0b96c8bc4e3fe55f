//! The login of a service user at Keystone: its token, which is kept and renewed, and the catalog.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::StatusCode;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use serialproxy_config::values::AuthType;
use serialproxy_config::values::Domain;
use serialproxy_config::values::KeystoneAuth;
use serialproxy_config::values::Secret;
use serialproxy_proto::health::Health;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::http::Answer;
use crate::http::Http;
use crate::reach::Reach;
use crate::unavailable::Service;
use crate::unavailable::Unavailable;

/// A token that expires within this time is renewed first.
const MARGIN: Duration = Duration::from_secs(60);

/// The pause after a refused login: Keystone locks out a user after too many attempts, and any
/// user's attach can cause one.
const PAUSE: Duration = Duration::from_secs(5);

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const SUBJECT: &str = "x-subject-token";

/// Logs in when necessary, and makes calls as that user.
#[derive(Debug)]
pub(crate) struct Session {
    http: Http,
    auth: KeystoneAuth,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Out,
    In(Arc<Own>),
    /// Calls that began before this time get this error, too.
    Failed {
        until: Instant,
        why: Unavailable,
    },
}

/// The result of a login.
#[derive(Debug)]
pub(crate) struct Own {
    token: HeaderValue,
    expires: Timestamp,
    pub(crate) catalog: Vec<CatalogService>,
}

/// A service of the catalog.
#[derive(Debug, Deserialize)]
pub(crate) struct CatalogService {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) endpoints: Vec<CatalogEndpoint>,
}

/// One of its URLs.
#[derive(Debug, Deserialize)]
pub(crate) struct CatalogEndpoint {
    pub(crate) interface: String,
    pub(crate) region_id: Option<String>,
    pub(crate) url: String,
}

#[derive(Deserialize)]
struct LoginAnswer {
    token: LoginToken,
}

#[derive(Deserialize)]
struct LoginToken {
    expires_at: Timestamp,
    #[serde(default)]
    catalog: Vec<CatalogService>,
}

impl Session {
    pub(crate) fn new(auth: &KeystoneAuth) -> Result<Self, Unavailable> {
        let http = Http::new(auth)?;
        Ok(Self { http, auth: auth.clone(), state: Mutex::new(State::Out) })
    }

    /// Notes there whether Keystone and Nova respond.
    pub(crate) fn note_at(&mut self, health: Health) {
        self.http.reach = Reach::at(health);
    }

    pub(crate) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Makes a call to Keystone as nobody.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Unavailable> {
        self.http.send(Service::Keystone, request).await
    }

    /// A URL of Keystone's API version 3.
    pub(crate) fn keystone(&self, path: &str) -> Result<String, Unavailable> {
        let Some(url) = &self.auth.auth_url else {
            return Err(Service::Keystone.failed("has no URL: set auth_url"));
        };
        Ok(format!("{}/v3{path}", url.strip_suffix("/v3").unwrap_or(url)))
    }

    /// Makes a call as the service user. If the token is no longer valid, repeats it with a new one.
    pub(crate) async fn call(
        &self,
        service: Service,
        request: impl Fn(&Own) -> Result<RequestBuilder, Unavailable>,
    ) -> Result<Answer, Unavailable> {
        for _ in 0..2 {
            let own = self.own().await?;
            let request = request(&own)?.header(TOKEN, own.token.clone());
            let answer = self.http.send(service, request).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            self.forget(&own).await;
        }
        Err(service.failed("also rejects the service user's new token"))
    }

    /// The result of the last login, while it is valid. Only one login runs at a time, and its
    /// failure counts for all who waited for it.
    pub(crate) async fn own(&self) -> Result<Arc<Own>, Unavailable> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        match &*state {
            State::In(own) if own.expires > Timestamp::now() + MARGIN => {
                return Ok(Arc::clone(own));
            }
            State::Failed { until, why } if asked < *until => return Err(why.clone()),
            _ => {}
        }
        let answer = self.log_in().await;
        let pause = match &answer {
            Ok(answer) if is_refusal(answer.status) => PAUSE,
            _ => Duration::ZERO,
        };
        match answer.and_then(|answer| own(&answer, self.auth.auth_type)) {
            Ok(own) => {
                let own = Arc::new(own);
                *state = State::In(Arc::clone(&own));
                Ok(own)
            }
            Err(why) => {
                *state = State::Failed { until: Instant::now() + pause, why: why.clone() };
                Err(why)
            }
        }
    }

    async fn forget(&self, old: &Arc<Own>) {
        let mut state = self.state.lock().await;
        if matches!(&*state, State::In(own) if Arc::ptr_eq(own, old)) {
            *state = State::Out;
        }
    }

    async fn log_in(&self) -> Result<Answer, Unavailable> {
        let url = self.keystone("/auth/tokens")?;
        self.send(self.http.request(Method::POST, &url).json(&login(&self.auth))).await
    }
}

fn is_refusal(status: StatusCode) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
}

fn own(answer: &Answer, auth_type: AuthType) -> Result<Own, Unavailable> {
    if is_refusal(answer.status) {
        return Err(Service::Keystone.failed(match auth_type {
            AuthType::Password => {
                "rejects the service user: check username, password, project_name and both domains"
            }
            AuthType::ApplicationCredential => {
                "rejects the application credential: check its id (or its name and user), its \
                 secret, and whether it has expired"
            }
        }));
    }
    if answer.status != StatusCode::CREATED {
        return Err(answer.strange());
    }
    let LoginAnswer { token } = answer.read()?;
    let subject = answer.headers.get(SUBJECT).cloned();
    let mut header = subject.ok_or_else(|| Service::Keystone.failed("sent no token"))?;
    header.set_sensitive(true);
    Ok(Own { token: header, expires: token.expires_at, catalog: token.catalog })
}

/// The body of a login (Identity API v3, "Password authentication with scoped authorization" and
/// "Authenticating with an Application Credential"; the latter has its own project).
fn login(auth: &KeystoneAuth) -> Value {
    let user = named(auth.user_id.as_ref(), auth.username.as_ref(), &auth.user_domain);
    let identity = match auth.auth_type {
        AuthType::Password => {
            let mut user = user;
            user.insert("password".into(), exposed(auth.password.as_ref()).into());
            json!({ "methods": ["password"], "password": { "user": user } })
        }
        AuthType::ApplicationCredential => {
            let secret = exposed(auth.application_credential_secret.as_ref());
            let credential = match &auth.application_credential_id {
                Some(id) => json!({ "id": id, "secret": secret }),
                None => json!({
                    "name": auth.application_credential_name,
                    "user": user,
                    "secret": secret,
                }),
            };
            let methods = ["application_credential"];
            json!({ "methods": methods, "application_credential": credential })
        }
    };
    let (id, name) = (auth.project_id.as_ref(), auth.project_name.as_ref());
    let is_scoped = auth.auth_type == AuthType::Password && (id.is_some() || name.is_some());
    if !is_scoped {
        return json!({ "auth": { "identity": identity } });
    }
    let project = named(id, name, &auth.project_domain);
    json!({ "auth": { "identity": identity, "scope": { "project": project } } })
}

/// A user or a project: by id, or else by its name in a domain.
fn named(id: Option<&String>, name: Option<&String>, within: &Domain) -> Map<String, Value> {
    match id {
        Some(id) => Map::from_iter([("id".into(), json!(id))]),
        None => Map::from_iter([("name".into(), json!(name)), ("domain".into(), domain(within))]),
    }
}

fn domain(domain: &Domain) -> Value {
    match domain {
        Domain::Id(id) => json!({ "id": id }),
        Domain::Name(name) => json!({ "name": name }),
    }
}

fn exposed(secret: Option<&Secret>) -> &str {
    secret.map(Secret::expose).unwrap_or_default()
}
