//! Callers that serialproxy authenticates itself: the admin token, API tokens, and local users with
//! a password.

use std::io;
use std::time::Duration;

use axum::http::HeaderMap;
use jiff::SignedDuration;
use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_grants::ApiToken;
use serialproxy_grants::Grants;
use serialproxy_grants::GrantsError;
use serialproxy_limits::seldom;
use serialproxy_proto::api::ADMIN_PROJECT;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::Password;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;
use subtle::ConstantTimeEq;

use super::Caller;
use super::basic;
use super::failures::Trier;
use super::password::Passwords;
use super::recent::Recent;
use super::token;
use crate::client::Client;
use crate::evidence::event;
use crate::fault::Fault;
use crate::secret;

/// The pause between attempts to share the admin token.
const RETRY: Duration = Duration::from_secs(5);

/// The administrator who has the admin token, as name and id. No user's id is a name.
const ADMIN: &str = "admin";

/// How long the code of a login link is good.
const CODE: SignedDuration = SignedDuration::from_mins(10);

/// The users and tokens of this serialproxy.
#[derive(Debug)]
pub struct Local {
    admin: TokenDigest,
    grants: Grants,
    /// How long the token of a login is valid.
    lifetime: Duration,
    passwords: Passwords,
    /// Passwords that were right lately; some where a call may send a name and password itself.
    basic: Option<Recent>,
}

/// A token and what it stands for.
pub(crate) struct Login {
    pub(crate) secret: String,
    pub(crate) token: ApiToken,
}

/// What a login makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Made {
    /// A token, which is valid for `[api] token_lifetime`.
    Token,
    /// A login at the page, which is valid for this time.
    Page(Duration),
}

/// A user whose password was right.
struct Verified {
    identity: Identity,
    /// The hash that their password was verified against.
    hash: String,
}

impl Local {
    /// Accepts the admin token, and the tokens and users in `grants`. The tokens of logins are
    /// valid for `lifetime`.
    pub fn new(admin: TokenDigest, grants: Grants, lifetime: Duration) -> Self {
        Self { admin, grants, lifetime, passwords: Passwords::default(), basic: None }
    }

    /// The same, and accepts a name and password with each call.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub fn with_basic(self) -> io::Result<Self> {
        Ok(Self { basic: Some(Recent::new()?), ..self })
    }

    pub(super) async fn caller(
        &self,
        headers: &HeaderMap,
        trier: Trier<'_>,
    ) -> Result<Caller, Fault> {
        if let (Some(recent), Some((user, password))) = (&self.basic, basic(headers)) {
            return self.by_basic(recent, &user, password, trier).await.map(Caller::from);
        }
        let token = token(headers).ok_or(Fault::Unauthorized)?;
        Ok(self.by_token(token, trier).await?.identity.into())
    }

    /// The token that a caller sends to authenticate.
    pub(crate) async fn by_token(&self, token: &str, trier: Trier<'_>) -> Result<ApiToken, Fault> {
        match self.known(token).await? {
            Some(known) => Ok(known),
            None => {
                trier.unknown_token().await;
                Err(Fault::Unauthorized)
            }
        }
    }

    async fn by_basic(
        &self,
        recent: &Recent,
        user: &str,
        password: Password,
        trier: Trier<'_>,
    ) -> Result<Identity, Fault> {
        match recent.find(user, &password) {
            Ok(identity) => Ok(identity),
            Err(before) => {
                let identity = self.verify(user, password.clone(), trier).await?.identity;
                recent.keep(before, user, &password, &identity);
                Ok(identity)
            }
        }
    }

    /// Forgets the passwords that were right, because a user has changed.
    pub(crate) fn forget_recent(&self) {
        if let Some(recent) = &self.basic {
            recent.forget();
        }
    }

    /// Whether a caller sent the admin token itself.
    pub(crate) fn is_by_admin_token(&self, headers: &HeaderMap) -> bool {
        let sent = token(headers).map(TokenDigest::of);
        sent.is_some_and(|sent| bool::from(sent.0.ct_eq(&self.admin.0)))
    }

    /// The record of a token, if the token is valid.
    pub(crate) async fn known(&self, token: &str) -> Result<Option<ApiToken>, Fault> {
        let (digest, now) = (TokenDigest::of(token), Timestamp::now());
        if bool::from(digest.0.ct_eq(&self.admin.0)) {
            return Ok(Some(of_admin(now)));
        }
        Ok(self.grants.api_token(digest, now).await?)
    }

    /// Revokes a token. It does not revoke the admin token, which is a file.
    pub(crate) async fn revoke(&self, token: &str) -> Result<bool, Fault> {
        Ok(self.grants.revoke_api_token(TokenDigest::of(token)).await?)
    }

    /// When a token that is made now expires.
    pub(crate) fn end(&self) -> Timestamp {
        self.end_of(Made::Token)
    }

    fn end_of(&self, made: Made) -> Timestamp {
        let lifetime = match made {
            Made::Token => self.lifetime,
            Made::Page(lifetime) => lifetime,
        };
        let now = Timestamp::now();
        now.checked_add(lifetime).unwrap_or(now)
    }

    /// Makes a token for a user, named by name or id, if the password is right.
    pub(crate) async fn log_in(
        &self,
        user: &str,
        password: Password,
        made: Made,
        trier: Trier<'_>,
    ) -> Result<Login, Fault> {
        let Verified { identity, hash } = self.verify(user, password, trier).await?;
        let secret = secret::random()?;
        let (created, expires) = (Timestamp::now(), self.end_of(made));
        let (digest, times) = (made.digest(&secret), [created, expires]);
        if !self.grants.log_in(digest, &identity.user_id, hash, times).await? {
            return Err(Fault::Unauthorized);
        }
        tracing::info!(user = identity.user, "logged in");
        let token =
            ApiToken { name: None, identity, created, expires: Some(expires), sealed: None };
        Ok(Login { secret, token })
    }

    /// A code that logs an administrator in, once, and when it ends. It is kept as an API token is, by its
    /// digest, so that every api host that shares the grants takes it.
    pub(crate) async fn new_code(&self) -> Result<(String, Timestamp), Fault> {
        let (code, now) = (secret::random()?, Timestamp::now());
        let expires = now.checked_add(CODE).unwrap_or(now);
        let kept = ApiToken { name: None, expires: Some(expires), ..of_admin(now) };
        self.grants.add_api_token(digest_of_code(&code), kept).await?;
        Ok((code, expires))
    }

    /// Makes a token for a code, which is then used.
    pub(crate) async fn log_in_by_code(
        &self,
        code: &str,
        made: Made,
        trier: Trier<'_>,
    ) -> Result<Login, Fault> {
        let digest = digest_of_code(code);
        let known = self.grants.api_token(digest, Timestamp::now()).await?;
        // Two callers may send one code: the one that removes it is logged in.
        let known = match known {
            Some(known) if self.grants.revoke_api_token(digest).await? => known,
            _ => {
                trier.unknown_token().await;
                return Err(Fault::UnknownCode);
            }
        };
        let secret = secret::random()?;
        let (created, expires) = (Timestamp::now(), Some(self.end_of(made)));
        let token = ApiToken { created, expires, ..known };
        self.grants.add_api_token(made.digest(&secret), token.clone()).await?;
        tracing::info!(user = token.identity.user, "logged in by a link");
        let Identity { user, project, .. } = &token.identity;
        let event = event(EventName::LoginSucceeded).user(user).project(Some(project.clone()));
        trier.audit.record(event.cause("link"));
        Ok(Login { secret, token })
    }

    /// The hash of a new password that a client sets.
    pub(crate) async fn hash(&self, password: Password, client: Client) -> Result<String, Fault> {
        if !password.will_do() {
            let (least, most) = (Password::LEAST, Password::MOST);
            return Err(Fault::BadRequest(format!("a password has {least} to {most} characters")));
        }
        self.passwords.hash(self.passwords.enter(client)?, password).await
    }

    async fn verify(
        &self,
        user: &str,
        password: Password,
        trier: Trier<'_>,
    ) -> Result<Verified, Fault> {
        let find = self.find(user, password, trier.client);
        let whose = |Verified { identity, .. }: &Verified| {
            (identity.user.clone(), identity.project.clone())
        };
        trier.by_password(user, find, whose).await
    }

    /// The user of that name, if the password is right.
    async fn find(
        &self,
        user: &str,
        password: Password,
        client: Client,
    ) -> Result<Option<Verified>, Fault> {
        let turn = self.passwords.enter(client)?;
        let found = self.grants.user(user).await?;
        let hash = found.as_ref().map(|(_, hash)| hash.clone());
        let right = self.passwords.is_right(turn, password, hash).await?;
        Ok(found.filter(|_| right).map(|(user, hash)| Verified { identity: user.identity, hash }))
    }
}

/// The name of the API token by which other hosts know the admin token of `host`.
fn shared_name(host: &str) -> String {
    format!("admin-{host}")
}

/// Ends the admin token of `host` at the other hosts, and the logins by links, which are of no host.
///
/// # Errors
///
/// When the grants cannot be changed now.
pub async fn end_admin_token(grants: &Grants, host: &str) -> Result<(), GrantsError> {
    grants.revoke_named_api_token(&shared_name(host)).await?;
    end_admin_logins(grants).await
}

/// Ends all logins by links. Whoever had an admin token that is not valid any more may have made them.
///
/// # Errors
///
/// When the grants cannot be changed now.
pub async fn end_admin_logins(grants: &Grants) -> Result<(), GrantsError> {
    grants.end_logins(ADMIN).await
}

/// Makes the admin token of this host valid at every api host that shares the grants. Tries again
/// until the grants can be changed.
pub async fn share_admin_token(grants: Grants, admin: TokenDigest, host: String) {
    let name = shared_name(&host);
    let share = async || {
        let token = ApiToken { name: Some(name.clone()), ..of_admin(Timestamp::now()) };
        if grants.api_token(admin, Timestamp::now()).await?.is_some() {
            return Ok(());
        }
        // This host had another admin token, or its state directory is new.
        end_admin_token(&grants, &host).await?;
        grants.add_api_token(admin, token).await.map(drop)
    };
    while let Err::<(), GrantsError>(error) = share().await {
        if seldom::is_due("admin token") {
            tracing::warn!(%error, "other api hosts do not know this host's admin token yet");
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Made {
    fn digest(self, secret: &str) -> TokenDigest {
        match self {
            Self::Token => TokenDigest::of(secret),
            Self::Page(_) => digest_of_page(secret),
        }
    }
}

/// The digest of a text that no header can hold, so the secret of a login at the page is not a token.
pub(super) fn digest_of_page(secret: &str) -> TokenDigest {
    TokenDigest::of(&format!("page\n{secret}"))
}

/// The digest of a text that no header can hold, so a code is not itself a token.
fn digest_of_code(code: &str) -> TokenDigest {
    TokenDigest::of(&format!("login\n{code}"))
}

fn of_admin(now: Timestamp) -> ApiToken {
    let identity = Identity {
        user: ADMIN.into(),
        user_id: ADMIN.into(),
        project: ADMIN_PROJECT.into(),
        role: Role::Admin,
    };
    ApiToken { name: Some("admin".into()), identity, created: now, expires: None, sealed: None }
}
