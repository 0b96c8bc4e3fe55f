//! Callers that Keystone authenticates. Its response for a token is kept for a minute at most: a
//! revoked token is refused after that time, and callers can go on for that time when Keystone does
//! not respond.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use axum::http::HeaderMap;
use jiff::Timestamp;
use serialproxy_config::values::KeystoneAuth;
use serialproxy_limits::seldom;
use serialproxy_openstack::Identity;
use serialproxy_openstack::PasswordLogin;
use serialproxy_openstack::Unavailable;
use serialproxy_proto::health::Health;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;
use tokio::time::Instant;

use super::Caller;
use super::failures::Trier;
use super::token;
use crate::fault::Fault;

/// How long the response for a valid token is kept; less where the token expires before.
const GOOD: Duration = Duration::from_secs(60);

/// How long the response for an invalid token is kept.
const BAD: Duration = Duration::from_secs(5);

/// How long nothing is asked again for a token after Keystone failed to respond.
const AWAY: Duration = Duration::from_secs(1);

/// Tokens whose responses are kept.
const MOST: usize = 10_000;

/// Keystone, with its latest responses.
#[derive(Debug)]
pub struct Keystone {
    keystone: serialproxy_openstack::Keystone,
    /// The URL of Keystone that users are told.
    uri: String,
    cache: Mutex<HashMap<TokenDigest, Arc<Cached>>>,
}

/// Keystone's response for one token. The holder of the lock asks; others wait for the same
/// response.
type Cached = tokio::sync::Mutex<Option<(Instant, Validation)>>;

#[derive(Clone, Debug)]
enum Validation {
    Good(Caller),
    /// A user without any role that counts here.
    Roleless,
    Unknown,
    Away(Unavailable),
}

impl Keystone {
    /// Keystone as `[keystone_authtoken]` names it. This makes no request.
    ///
    /// # Errors
    ///
    /// When `cafile` cannot be used.
    pub fn new(auth: &KeystoneAuth) -> Result<Self, Unavailable> {
        let uri = auth.www_authenticate_uri.as_ref().or(auth.auth_url.as_ref());
        Ok(Self {
            keystone: serialproxy_openstack::Keystone::new(auth)?,
            uri: uri.cloned().unwrap_or_default(),
            cache: Mutex::default(),
        })
    }

    /// Says there whether Keystone responds.
    #[must_use]
    pub fn with_health(self, health: Health) -> Self {
        Self { keystone: self.keystone.with_health(health), ..self }
    }

    pub(super) async fn caller(
        &self,
        headers: &HeaderMap,
        trier: Trier<'_>,
    ) -> Result<Caller, Fault> {
        let refused = || Fault::Authenticate { uri: self.uri.clone() };
        match self.known(token(headers).ok_or_else(refused)?).await? {
            Some(caller) => Ok(caller),
            None => {
                trier.unknown_token().await;
                Err(refused())
            }
        }
    }

    /// A new token for a user's password, and whose it is.
    pub(crate) async fn log_in(
        &self,
        login: PasswordLogin<'_>,
        trier: Trier<'_>,
    ) -> Result<(String, Caller), Fault> {
        let find = async {
            let token = self.keystone.log_in(&login).await.map_err(|error| {
                Fault::Unavailable(format!("your password cannot be verified now: {error}"))
            })?;
            let Some(token) = token else { return Ok(None) };
            match self.known(&token).await? {
                Some(caller) => Ok(Some((token, caller))),
                None => Err(Fault::BadRequest(
                    "your user has no default project: enter a project, too".into(),
                )),
            }
        };
        let whose = |(_, caller): &(String, Caller)| (caller.user.clone(), caller.project.clone());
        trier.by_password(login.user, find, whose).await
    }

    /// The caller whose token that is; none for an unknown one.
    async fn known(&self, token: &str) -> Result<Option<Caller>, Fault> {
        match self.validation(token).await {
            Validation::Good(caller) => Ok(Some(caller)),
            Validation::Unknown => Ok(None),
            Validation::Roleless => Err(Fault::Forbidden(
                "You have none of the roles reader, member and admin in this project.".into(),
            )),
            Validation::Away(error) => {
                Err(Fault::Unavailable(format!("your token cannot be validated now: {error}")))
            }
        }
    }

    async fn validation(&self, token: &str) -> Validation {
        let cached = self.cached(TokenDigest::of(token));
        let came = Instant::now();
        let mut cached = cached.lock().await;
        if let Some((until, validation)) = cached.as_ref()
            && came < *until
        {
            return validation.clone();
        }
        // Taken before the request: a token may be revoked while Keystone answers.
        let asked = Instant::now();
        let (validation, life) = self.ask(token).await;
        // However long the request took, its response counts for all callers that waited for it.
        *cached = Some(((asked + life).max(Instant::now()), validation.clone()));
        validation
    }

    async fn ask(&self, token: &str) -> (Validation, Duration) {
        let identity = match self.keystone.validate(token).await {
            Ok(Some(identity)) => identity,
            Ok(None) => return (Validation::Unknown, BAD),
            Err(error) => {
                if seldom::is_due("keystone") {
                    tracing::warn!(%error, "the tokens of users cannot be validated");
                }
                return (Validation::Away(error), AWAY);
            }
        };
        match Duration::try_from(identity.expires.duration_since(Timestamp::now())) {
            Ok(left) => match caller(identity) {
                Some(caller) => (Validation::Good(caller), GOOD.min(left)),
                None => (Validation::Roleless, BAD),
            },
            Err(_) => (Validation::Unknown, BAD),
        }
    }

    /// The cached response for a token; a new one is not kept where too many are.
    fn cached(&self, token: TokenDigest) -> Arc<Cached> {
        let mut all = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = all.get(&token) {
            return Arc::clone(cached);
        }
        if all.len() >= MOST {
            all.retain(|_, cached| is_in_use(cached));
        }
        let cached = Arc::default();
        if all.len() < MOST {
            all.insert(token, Arc::clone(&cached));
        }
        cached
    }
}

/// Whether a caller asks for the response now, or it is still valid.
fn is_in_use(cached: &Cached) -> bool {
    cached
        .try_lock()
        .map_or(true, |cached| cached.as_ref().is_some_and(|(until, _)| Instant::now() < *until))
}

/// The caller with the greatest of their roles that count here; none without such a role. Names of
/// roles are compared in any case, as OpenStack's policies compare them.
fn caller(identity: Identity) -> Option<Caller> {
    let has =
        |role: &Role| identity.roles.iter().any(|name| name.eq_ignore_ascii_case(role.as_str()));
    let role = Role::ALL.into_iter().rev().find(has)?;
    let Identity { user, user_id, project_id: project, project: project_name, .. } = identity;
    Some(Caller { user, user_id, project, project_name, role })
}
