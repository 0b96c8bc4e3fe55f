//! Validation of users' tokens.

use std::fmt;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use serialproxy_config::values::KeystoneAuth;
use serialproxy_proto::health::Health;

use crate::session::Session;
use crate::unavailable::Service;
use crate::unavailable::Unavailable;

/// Longest token in bytes; Fernet tokens have some 200.
const MAX_TOKEN: usize = 8 * 1024;

/// Keystone, called as a service user.
#[derive(Debug)]
pub struct Keystone(Session);

/// A user, and a project of theirs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Id of the user.
    pub user_id: String,
    /// Name of the user.
    pub user: String,
    /// Id of the project that the token is for.
    pub project_id: String,
    /// Its name.
    pub project: String,
    /// Names of the user's roles in it.
    pub roles: Vec<String>,
    /// When the token expires.
    pub expires: Timestamp,
}

/// A user's name and password, as they typed them.
#[derive(Clone, Copy)]
pub struct PasswordLogin<'a> {
    /// The user's name.
    pub user: &'a str,
    /// Their password.
    pub password: &'a str,
    /// The name of the project that the token is for; otherwise it is for the user's default one.
    pub project: Option<&'a str>,
    /// The name of the domain of both.
    pub domain: &'a str,
}

impl PasswordLogin<'_> {
    fn body(&self) -> Value {
        let domain = json!({ "name": self.domain });
        let user = json!({ "name": self.user, "domain": domain, "password": self.password });
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        match self.project {
            None => json!({ "auth": { "identity": identity } }),
            Some(name) => {
                let scope = json!({ "project": { "name": name, "domain": domain } });
                json!({ "auth": { "identity": identity, "scope": scope } })
            }
        }
    }
}

impl fmt::Debug for PasswordLogin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordLogin").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    user: Named,
    project: Option<Named>,
    #[serde(default)]
    roles: Vec<Role>,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

impl Keystone {
    /// Keystone as `[keystone_authtoken]` names it. This makes no request.
    ///
    /// # Errors
    ///
    /// When `cafile` cannot be used.
    pub fn new(auth: &KeystoneAuth) -> Result<Self, Unavailable> {
        Session::new(auth).map(Self)
    }

    /// Reports there whether Keystone responds.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.0.note_at(health);
        self
    }

    /// A new token for a user's password; none where Keystone refuses it.
    ///
    /// # Errors
    ///
    /// When Keystone gives no valid answer; then the password may be right or not.
    pub async fn log_in(&self, login: &PasswordLogin<'_>) -> Result<Option<String>, Unavailable> {
        let url = self.0.keystone("/auth/tokens?nocatalog")?;
        let request = self.0.request(Method::POST, &url).json(&login.body());
        let answer = self.0.send(request).await?;
        match answer.status {
            StatusCode::CREATED => {
                let token = answer.headers.get("x-subject-token");
                let token = token.and_then(|token| token.to_str().ok());
                token.map(|token| Some(token.to_owned())).ok_or_else(|| answer.strange())
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            _ => Err(answer.strange()),
        }
    }

    /// The user of a token; none where Keystone does not know the token (any more), or where the
    /// token is for no project.
    ///
    /// # Errors
    ///
    /// When Keystone gives no valid answer; then the token may be valid or not.
    pub async fn validate(&self, token: &str) -> Result<Option<Identity>, Unavailable> {
        let Some(subject) = subject(token) else { return Ok(None) };
        let url = self.0.keystone("/auth/tokens?nocatalog")?;
        let request = |_: &_| {
            Ok(self.0.request(Method::GET, &url).header("x-subject-token", subject.clone()))
        };
        let answer = self.0.call(Service::Keystone, request).await?;
        match answer.status {
            StatusCode::OK => Ok(identity(answer.read::<Answer>()?.token)),
            _ if answer.is_not_found() => Ok(None),
            StatusCode::FORBIDDEN => Err(Service::Keystone.failed(
                "does not let the service user validate tokens: give the user the role service \
                 or admin",
            )),
            _ => Err(answer.strange()),
        }
    }
}

fn subject(token: &str) -> Option<HeaderValue> {
    if token.is_empty() || token.len() > MAX_TOKEN {
        return None;
    }
    let mut subject = HeaderValue::from_str(token).ok()?;
    subject.set_sensitive(true);
    Some(subject)
}

fn identity(token: Token) -> Option<Identity> {
    let project = token.project?;
    Some(Identity {
        user_id: token.user.id,
        user: token.user.name,
        project_id: project.id,
        project: project.name,
        roles: token.roles.into_iter().map(|role| role.name).collect(),
        expires: token.expires_at,
    })
}
