//! Who is asking.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serialproxy_proto::api::ADMIN_PROJECT;
use serialproxy_proto::api::Server;
use serialproxy_proto::token::TokenDigest;
use subtle::ConstantTimeEq;

use crate::fault::Fault;

/// Longest user name, in characters.
const NAME: usize = 64;

/// How callers are told apart.
#[derive(Clone, Copy, Debug)]
pub enum Auth {
    /// Everyone is let in and is an administrator; `X-User` names them.
    Noauth,
    /// Whoever has the admin token is let in.
    Token(TokenDigest),
}

/// Who makes a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Caller {
    /// The name that people are shown.
    pub(crate) user: String,
    #[allow(dead_code, reason = "the compute API and the strategies to come show it")]
    pub(crate) user_id: String,
    /// Id of the project whose servers the caller sees.
    pub(crate) project: String,
    pub(crate) role: Role,
}

/// What a caller may do within a project, as OpenStack has it; each may all that the one before
/// may.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Role {
    /// Sees the project's servers, lines and sessions, and watches.
    #[allow(dead_code, reason = "the strategies to come tell readers apart")]
    Reader,
    /// Types, disconnects others, and changes the project's servers.
    Member,
    /// All of that in every project, and what concerns the hypervisor.
    Admin,
}

impl Caller {
    fn admin(user: String) -> Self {
        Self { user_id: user.clone(), user, project: ADMIN_PROJECT.into(), role: Role::Admin }
    }

    pub(crate) fn owns(&self, server: &Server) -> bool {
        self.role == Role::Admin || self.project == server.project
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
    /// Who sent these headers, if they may come in.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Fault> {
        match self {
            Self::Noauth => Ok(Caller::admin(named(headers)?)),
            Self::Token(admin) => {
                let token = token(headers).ok_or(Fault::Unauthorized)?;
                if !bool::from(TokenDigest::of(token).0.ct_eq(&admin.0)) {
                    return Err(Fault::Unauthorized);
                }
                Ok(Caller::admin("admin".into()))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        parts.extensions.get().cloned().ok_or(Fault::Unauthorized)
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    if let Some(token) = headers.get("x-auth-token") {
        return token.to_str().ok();
    }
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start())
}

fn named(headers: &HeaderMap) -> Result<String, Fault> {
    let Some(name) = headers.get("x-user") else {
        return Ok("anonymous".into());
    };
    // `to_str` lets visible ASCII, spaces and tabs pass.
    let name = name.to_str().ok().filter(|name| {
        (1..=NAME).contains(&name.len()) && !name.contains(|c: char| c.is_ascii_control())
    });
    name.map(str::to_owned).ok_or_else(|| {
        Fault::BadRequest(format!("X-User takes a name of 1 to {NAME} printable ASCII characters"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_lesser_may() {
        let of = |role| Caller { role, ..Caller::admin("a".into()) };
        let roles = [Role::Reader, Role::Member, Role::Admin];
        for (index, role) in roles.into_iter().enumerate() {
            for (needed, policy) in roles.into_iter().enumerate() {
                assert_eq!(of(role).require(policy, "x").is_ok(), index >= needed, "{role:?}");
            }
        }
        let refused = of(Role::Reader).require(Role::Member, "os_compute_api:x").unwrap_err();
        assert_eq!(refused.to_string(), "Policy doesn't allow os_compute_api:x to be performed.");
    }
}
