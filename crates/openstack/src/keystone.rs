//! Validation of users' tokens.

use jiff::Timestamp;
use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde::Deserialize;
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
