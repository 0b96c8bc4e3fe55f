//! Authentication of callers.

mod attempt;
pub(crate) mod failures;
mod keystone;
mod local;
pub(crate) mod page;
mod password;
mod recent;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serialproxy_audit::Event;
use serialproxy_audit::EventName;
use serialproxy_proto::api::ADMIN_PROJECT;
use serialproxy_proto::api::Server;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Password;
pub(crate) use serialproxy_proto::identity::Role;

use self::failures::Trier;
pub use self::keystone::Keystone;
pub use self::local::Local;
pub(crate) use self::local::Login;
pub(crate) use self::local::Made;
pub use self::local::end_admin_logins;
pub use self::local::end_admin_token;
pub use self::local::share_admin_token;
use crate::evidence::event;
use crate::fault::Fault;
use crate::fault::echo;

/// Longest user name, in characters.
const NAME: usize = 64;

/// The authentication backend.
#[derive(Debug)]
pub enum Auth {
    /// Everyone is let in and is an administrator; `X-User` names them.
    Noauth,
    /// Tokens and, under `http_basic`, passwords in serialproxy's own store.
    Local(Box<Local>),
    /// Tokens that Keystone validates.
    Keystone(Box<Keystone>),
}

/// The authenticated caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Caller {
    /// The name that people are shown.
    pub(crate) user: String,
    pub(crate) user_id: String,
    /// Id of the project whose servers the caller sees.
    pub(crate) project: String,
    pub(crate) project_name: String,
    pub(crate) role: Role,
}

impl Caller {
    fn admin(user: String) -> Self {
        let (project, project_name) = (ADMIN_PROJECT.into(), ADMIN_PROJECT.into());
        Self { user_id: user.clone(), user, project, project_name, role: Role::Admin }
    }

    /// An event that the caller causes with the present call.
    pub(crate) fn event(&self, name: EventName) -> Event {
        event(name).user(&*self.user).project(Some(self.project.clone()))
    }

    /// The same, of a server.
    pub(crate) fn event_at(&self, name: EventName, server: &Server) -> Event {
        self.event(name).server(server.id).server_name(Some(server.name.clone()))
    }

    pub(crate) fn owns(&self, server: &Server) -> bool {
        self.scope().is_none_or(|project| *project == server.project)
    }

    /// The project whose servers the caller sees; none where they see all.
    pub(crate) fn scope(&self) -> Option<&String> {
        Some(&self.project).filter(|_| self.role != Role::Admin)
    }

    /// Refuses callers of a lesser role, in the words of Nova's policies.
    pub(crate) fn require(&self, role: Role, policy: &str) -> Result<(), Fault> {
        if self.role >= role {
            return Ok(());
        }
        Err(Fault::Forbidden(format!("Policy doesn't allow {policy} to be performed.")))
    }
}

impl Auth {
    /// The caller who sent these headers.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        trier: Trier<'_>,
    ) -> Result<Caller, Fault> {
        match self {
            Self::Noauth => Ok(Caller::admin(named(headers)?)),
            Self::Local(local) => local.caller(headers, trier).await,
            Self::Keystone(keystone) => keystone.caller(headers, trier).await,
        }
    }

    /// Refuses the calls of the identity service where Keystone authenticates callers.
    pub(crate) fn serves_identity(&self) -> Result<(), Fault> {
        match self {
            Self::Noauth | Self::Local(_) => Ok(()),
            Self::Keystone(_) => Err(Fault::no_such_call()),
        }
    }

    /// The local users and tokens, if the backend has them.
    pub(crate) fn local(&self) -> Result<&Local, Fault> {
        match self {
            Self::Local(local) => Ok(local),
            Self::Noauth => Err(Fault::Conflict(
                "there are no users and tokens, because [api] auth_strategy is noauth: set it to \
                 token or http_basic"
                    .into(),
            )),
            Self::Keystone(_) => Err(Fault::Conflict(
                "users and tokens are managed in Keystone, because [api] auth_strategy is keystone"
                    .into(),
            )),
        }
    }

    /// Refuses a path that names another project than the caller's. This counts only with Keystone;
    /// with the other backends that part of a path may be anything.
    pub(crate) fn check_project(&self, caller: &Caller, project: &str) -> Result<(), Fault> {
        match self {
            Self::Keystone(_) if project != caller.project => Err(Fault::BadRequest(format!(
                "Malformed request URL: URL's project_id '{}' doesn't match Context's project_id \
                 '{}'",
                echo(project),
                caller.project
            ))),
            _ => Ok(()),
        }
    }
}

impl From<Local> for Auth {
    fn from(local: Local) -> Self {
        Self::Local(Box::new(local))
    }
}

impl From<Keystone> for Auth {
    fn from(keystone: Keystone) -> Self {
        Self::Keystone(Box::new(keystone))
    }
}

impl From<Identity> for Caller {
    fn from(identity: Identity) -> Self {
        let Identity { user, user_id, project, role } = identity;
        Self { user, user_id, project_name: project.clone(), project, role }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        parts.extensions.get().cloned().ok_or(Fault::Unauthorized)
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    match headers.get("x-auth-token") {
        Some(token) => token.to_str().ok(),
        None => authorization(headers, "bearer"),
    }
}

/// Name and password of `Authorization: Basic`; none where a token in another header takes
/// precedence.
fn basic(headers: &HeaderMap) -> Option<(String, Password)> {
    if headers.contains_key("x-auth-token") {
        return None;
    }
    let text = STANDARD.decode(authorization(headers, "basic")?.trim_end()).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), Password::from_person(password.to_owned())))
}

/// The text after this scheme in `Authorization`.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(rest.trim_start())
}

fn named(headers: &HeaderMap) -> Result<String, Fault> {
    let Some(name) = headers.get("x-user") else {
        return Ok("anonymous".into());
    };
    // `to_str` also accepts spaces and tabs beside visible ASCII.
    let name = name.to_str().ok().filter(|name| {
        (1..=NAME).contains(&name.len()) && !name.contains(|c: char| c.is_ascii_control())
    });
    name.map(str::to_owned).ok_or_else(|| {
        Fault::BadRequest(format!(
            "X-User must be a name of 1 to {NAME} printable ASCII characters"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_lesser_may() {
        let of = |role| Caller { role, ..Caller::admin("a".into()) };
        for (index, role) in Role::ALL.into_iter().enumerate() {
            for (needed, policy) in Role::ALL.into_iter().enumerate() {
                assert_eq!(of(role).require(policy, "x").is_ok(), index >= needed, "{role:?}");
            }
        }
        let refused = of(Role::Reader).require(Role::Member, "os_compute_api:x").unwrap_err();
        assert_eq!(refused.to_string(), "Policy doesn't allow os_compute_api:x to be performed.");
    }
}
