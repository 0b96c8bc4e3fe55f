//! Who is asking.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
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

/// Who makes a call. In this version everyone who is let in is an administrator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Caller {
    pub(crate) user: String,
}

impl Auth {
    /// Who sent these headers, if they may come in.
    pub(crate) fn caller(self, headers: &HeaderMap) -> Result<Caller, Fault> {
        let user = match self {
            Self::Noauth => named(headers)?,
            Self::Token(admin) => {
                let token = token(headers).ok_or(Fault::Unauthorized)?;
                if !bool::from(TokenDigest::of(token).0.ct_eq(&admin.0)) {
                    return Err(Fault::Unauthorized);
                }
                "admin".into()
            }
        };
        Ok(Caller { user })
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
