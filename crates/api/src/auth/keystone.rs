//! Callers whom Keystone knows. Its word on a token is kept for a minute at most, so that a token
//! which is revoked is refused by then, and callers go on for as long when Keystone is away.

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
use serialproxy_openstack::Unavailable;
use serialproxy_proto::identity::Role;
use serialproxy_proto::token::TokenDigest;
use tokio::time::Instant;

use super::Caller;
use super::failures::Trier;
use super::token;
use crate::fault::Fault;

/// How long the word on a good token is kept; less where the token ends before.
const GOOD: Duration = Duration::from_secs(60);

/// How long the word on another is kept.
const BAD: Duration = Duration::from_secs(5);

/// How long nobody else asks when Keystone gave no answer.
const AWAY: Duration = Duration::from_secs(1);

/// Tokens whose word is kept.
const MOST: usize = 10_000;

/// Keystone, and what it said a moment ago.
#[derive(Debug)]
pub struct Keystone {
    keystone: serialproxy_openstack::Keystone,
    /// Where users find it.
    uri: String,
    said: Mutex<HashMap<TokenDigest, Arc<Said>>>,
}

/// Keystone's response for one token. The holder of the lock asks; others wait for the same response.
type Said = tokio::sync::Mutex<Option<(Instant, Word)>>;

#[derive(Clone, Debug)]
enum Word {
    Good(Caller),
    /// Somebody without any role that counts here.
    Roleless,
    Unknown,
    Away(Unavailable),
}

impl Keystone {
    /// Keystone as `[keystone_authtoken]` names it. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// When `cafile` cannot be used.
    pub fn new(auth: &KeystoneAuth) -> Result<Self, Unavailable> {
        let uri = auth.www_authenticate_uri.as_ref().or(auth.auth_url.as_ref());
        Ok(Self {
            keystone: serialproxy_openstack::Keystone::new(auth)?,
            uri: uri.cloned().unwrap_or_default(),
            said: Mutex::default(),
        })
    }

    pub(super) async fn caller(
        &self,
        headers: &HeaderMap,
        trier: Trier<'_>,
    ) -> Result<Caller, Fault> {
        let refused = || Fault::Authenticate { uri: self.uri.clone() };
        match self.word(token(headers).ok_or_else(refused)?).await {
            Word::Good(caller) => Ok(caller),
            Word::Roleless => Err(Fault::Forbidden(
                "You have none of the roles reader, member and admin in this project.".into(),
            )),
            Word::Unknown => {
                trier.unknown_token().await;
                Err(refused())
            }
            Word::Away(error) => {
                Err(Fault::Unavailable(format!("your token cannot be validated now: {error}")))
            }
        }
    }

    async fn word(&self, token: &str) -> Word {
        let said = self.said_of(TokenDigest::of(token));
        let came = Instant::now();
        let mut said = said.lock().await;
        if let Some((until, word)) = said.as_ref()
            && came < *until
        {
            return word.clone();
        }
        // From before the question: a token may be revoked while it is answered.
        let asked = Instant::now();
        let (word, life) = self.ask(token).await;
        // However long the answer took, it is that of all who waited for it.
        *said = Some(((asked + life).max(Instant::now()), word.clone()));
        word
    }

    async fn ask(&self, token: &str) -> (Word, Duration) {
        let identity = match self.keystone.validate(token).await {
            Ok(Some(identity)) => identity,
            Ok(None) => return (Word::Unknown, BAD),
            Err(error) => {
                if seldom::is_due("keystone") {
                    tracing::warn!(%error, "Keystone's response does not name the token's user");
                }
                return (Word::Away(error), AWAY);
            }
        };
        match Duration::try_from(identity.expires.duration_since(Timestamp::now())) {
            Ok(left) => match caller(identity) {
                Some(caller) => (Word::Good(caller), GOOD.min(left)),
                None => (Word::Roleless, BAD),
            },
            Err(_) => (Word::Unknown, BAD),
        }
    }

    /// The place of what is said of a token; not kept where there are too many.
    fn said_of(&self, token: TokenDigest) -> Arc<Said> {
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = all.get(&token) {
            return Arc::clone(said);
        }
        if all.len() >= MOST {
            all.retain(|_, said| is_in_use(said));
        }
        let said = Arc::default();
        if all.len() < MOST {
            all.insert(token, Arc::clone(&said));
        }
        said
    }
}

/// Whether somebody asks, or what was said still counts.
fn is_in_use(said: &Said) -> bool {
    said.try_lock()
        .map_or(true, |said| said.as_ref().is_some_and(|(until, _)| Instant::now() < *until))
}

/// Who it is here, if they have a role that counts. Names of roles are the same in any case, as
/// they are to OpenStack's policies.
fn caller(identity: Identity) -> Option<Caller> {
    let has =
        |role: &Role| identity.roles.iter().any(|name| name.eq_ignore_ascii_case(role.as_str()));
    let role = Role::ALL.into_iter().rev().find(has)?;
    let Identity { user, user_id, project_id: project, .. } = identity;
    Some(Caller { user, user_id, project, role })
}
