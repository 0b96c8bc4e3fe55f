//! Logins at the page. The proxy that serves the page keeps the secret of a login in a cookie, and
//! sends it with the page's calls. It is not a token: only the digest of the secret is stored, and
//! where somebody logged in with a token, that token is stored encrypted with the secret, and has to
//! be valid at each call.

use std::time::Duration;

use aws_lc_rs::aead::AES_256_GCM;
use aws_lc_rs::aead::Aad;
use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::aead::NONCE_LEN;
use aws_lc_rs::aead::Nonce;
use aws_lc_rs::aead::UnboundKey;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_grants::ApiToken;
use serialproxy_openstack::PasswordLogin;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::LogIn;
use serialproxy_proto::identity::Password;
use serialproxy_proto::relayed::NEW_PAGE_LOGIN;
use serialproxy_proto::relayed::PAGE_LOGIN;
use serialproxy_proto::token::TokenDigest;

use super::Auth;
use super::Caller;
use super::Login;
use super::Made;
use super::failures::Trier;
use super::local::digest_of_page;
use crate::Api;
use crate::fault::Fault;
use crate::secret;

const TOKEN: &str = "x-auth-token";

/// Longest token that is kept for a login; Keystone's Fernet tokens have some 200 bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// A way to log in.
pub(crate) enum Way {
    Code(Password),
    Token(Password),
    Password { user: String, password: Password, project: Option<String>, domain: Option<String> },
}

/// Whether a page logs in, whose proxy keeps the login.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(PAGE_LOGIN).is_some_and(|value| value == NEW_PAGE_LOGIN)
}

/// The secret of the page's login; none where the call has credentials of its own.
pub(crate) fn secret_in(headers: &HeaderMap) -> Option<&str> {
    if headers.contains_key(TOKEN) || headers.contains_key(AUTHORIZATION) {
        return None;
    }
    headers.get(PAGE_LOGIN)?.to_str().ok().filter(|secret| *secret != NEW_PAGE_LOGIN)
}

impl TryFrom<LogIn> for Way {
    type Error = Fault;

    fn try_from(login: LogIn) -> Result<Self, Fault> {
        match login {
            LogIn { code: Some(code), token: None, user: None, password: None, .. } => {
                Ok(Self::Code(code))
            }
            LogIn { code: None, token: Some(token), user: None, password: None, .. } => {
                Ok(Self::Token(token))
            }
            LogIn {
                code: None,
                token: None,
                user: Some(user),
                password: Some(password),
                project,
                domain,
            } => Ok(Self::Password { user, password, project, domain }),
            _ => Err(Fault::BadRequest(
                "expected either code, or token, or user and password".into(),
            )),
        }
    }
}

impl Api {
    /// The caller who sent these headers.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        trier: Trier<'_>,
    ) -> Result<Caller, Fault> {
        match secret_in(headers) {
            Some(secret) if !matches!(self.auth, Auth::Noauth) => {
                self.caller_of_page(secret, trier).await
            }
            _ => self.auth.caller(headers, trier).await,
        }
    }

    async fn caller_of_page(&self, secret: &str, trier: Trier<'_>) -> Result<Caller, Fault> {
        let known = self.grants.api_token(digest_of_page(secret), Timestamp::now()).await?;
        match (known, &self.auth) {
            (Some(ApiToken { sealed: Some(sealed), .. }), _) => {
                let token = open(secret, &sealed).unwrap_or_default();
                self.auth.caller(&with_token(&token)?, trier).await
            }
            (Some(ApiToken { identity, .. }), Auth::Local(_)) => Ok(identity.into()),
            // A login from before another backend was configured counts no more.
            _ => {
                trier.unknown_token().await;
                self.auth.caller(&HeaderMap::new(), trier).await
            }
        }
    }

    /// Logs somebody in at the page.
    pub(crate) async fn log_in_page(&self, way: Way, trier: Trier<'_>) -> Result<Login, Fault> {
        let made = Made::Page(self.page_lifetime);
        match (way, &self.auth) {
            (Way::Code(code), Auth::Local(local)) => {
                local.log_in_by_code(code.expose(), made, trier).await
            }
            (Way::Password { user, password, .. }, Auth::Local(local)) => {
                local.log_in(&user, password, made, trier).await.map_err(wrong_password)
            }
            (Way::Password { user, password, project, domain }, Auth::Keystone(keystone)) => {
                let login = PasswordLogin {
                    user: &user,
                    password: password.expose(),
                    project: project.as_deref().filter(|project| !project.is_empty()),
                    domain: domain
                        .as_deref()
                        .filter(|domain| !domain.is_empty())
                        .unwrap_or("Default"),
                };
                let (token, caller) =
                    keystone.log_in(login, trier).await.map_err(wrong_password)?;
                self.keep(&token, caller).await
            }
            (Way::Token(token), Auth::Local(_) | Auth::Keystone(_)) => {
                let token = token.expose();
                let caller = self.auth.caller(&with_token(token)?, trier).await;
                let caller = caller.map_err(wrong_token)?;
                trier.audit.record(caller.event(EventName::LoginSucceeded).cause("token"));
                self.keep(token, caller).await
            }
            (Way::Code(_), Auth::Keystone(_)) | (_, Auth::Noauth) => Err(Fault::no_such_call()),
        }
    }

    /// Keeps a login that is valid while this token is.
    async fn keep(&self, token: &str, caller: Caller) -> Result<Login, Fault> {
        let (secret, created) = (secret::random()?, Timestamp::now());
        let expires = created.checked_add(self.page_lifetime).unwrap_or(created);
        let Caller { user, user_id, project, role, .. } = caller;
        let sealed = seal(&secret, token)?;
        let token = ApiToken {
            name: None,
            identity: Identity { user, user_id, project, role },
            created,
            expires: Some(expires),
            sealed: Some(sealed),
        };
        self.grants.add_api_token(digest_of_page(&secret), token.clone()).await?;
        tracing::info!(user = token.identity.user, "logged in at the page");
        Ok(Login { secret, token })
    }

    /// Ends the page's login.
    pub(crate) async fn log_out_page(&self, secret: &str) -> Result<(), Fault> {
        let digest = digest_of_page(secret);
        let Some(known) = self.grants.api_token(digest, Timestamp::now()).await? else {
            return Ok(());
        };
        if self.grants.revoke_api_token(digest).await? {
            let user = known.identity.user.clone();
            let event = Caller::from(known.identity).event(EventName::ApiTokenChanged);
            self.audit.record(event.cause("revoked").target(user));
        }
        Ok(())
    }
}

/// The header that a login answers with: the secret, and for how many seconds it is good.
pub(crate) fn header_of(login: &Login, lifetime: Duration) -> Result<HeaderValue, Fault> {
    let text = format!("{} {}", login.secret, lifetime.as_secs());
    let mut value = HeaderValue::from_str(&text).map_err(|_| not_sealed())?;
    value.set_sensitive(true);
    Ok(value)
}

fn with_token(token: &str) -> Result<HeaderMap, Fault> {
    let unfit = || Fault::WrongToken;
    if token.is_empty() || token.len() > MAX_TOKEN {
        return Err(unfit());
    }
    let mut value = HeaderValue::from_str(token).map_err(|_| unfit())?;
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(TOKEN, value);
    Ok(headers)
}

fn wrong_password(fault: Fault) -> Fault {
    match fault {
        Fault::Unauthorized => Fault::WrongPassword,
        fault => fault,
    }
}

fn wrong_token(fault: Fault) -> Fault {
    match fault {
        Fault::Unauthorized | Fault::Authenticate { .. } => Fault::WrongToken,
        fault => fault,
    }
}

/// The token, encrypted with a key that follows from the secret.
fn seal(secret: &str, token: &str) -> Result<String, Fault> {
    let mut text = token.as_bytes().to_vec();
    let key = key(secret).ok_or_else(not_sealed)?;
    key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut text).map_err(|_| not_sealed())?;
    Ok(STANDARD.encode(text))
}

fn open(secret: &str, sealed: &str) -> Option<String> {
    let mut text = STANDARD.decode(sealed).ok()?;
    let token = key(secret)?.open_in_place(nonce(), Aad::empty(), &mut text).ok()?;
    String::from_utf8(token.to_vec()).ok()
}

/// Not the digest by which the login is found, which is stored.
fn key(secret: &str) -> Option<LessSafeKey> {
    let TokenDigest(key) = TokenDigest::of(&format!("page key\n{secret}"));
    UnboundKey::new(&AES_256_GCM, &key).ok().map(LessSafeKey::new)
}

/// Each secret is random, so its key encrypts one text.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn not_sealed() -> Fault {
    Fault::Failed("the login could not be stored: try again".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_opened_with_the_secret_that_it_was_sealed_with_alone() {
        let sealed = seal("secret", "gAAAA token").unwrap();
        assert!(!String::from_utf8_lossy(&STANDARD.decode(&sealed).unwrap()).contains("gAAAA"));
        assert_eq!(open("secret", &sealed).as_deref(), Some("gAAAA token"));
        assert_eq!(open("other", &sealed), None);
        assert_eq!(open("secret", &sealed.replacen(&sealed[..1], "/", 1)), None);
        assert_eq!(open("secret", "no base64"), None);
    }
}
