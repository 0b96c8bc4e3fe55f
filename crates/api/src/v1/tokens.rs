//! API tokens with a name, for people and programs. Each has a project and a role.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_grants::ApiToken;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::MadeToken;
use serialproxy_proto::identity::NewToken;
use serialproxy_proto::identity::Token;
use serialproxy_proto::identity::Tokens;
use serialproxy_proto::token::TokenDigest;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::fault::Fault;
use crate::fault::echo;
use crate::request::Body;
use crate::request::NamePath;
use crate::route::Route;
use crate::secret;

pub(super) fn routes() -> [Route; 3] {
    [
        Route::get("/v1/tokens", tokens)
            .summary("Lists API tokens by name, without their secrets. Administrators only")
            .answer("Tokens")
            .others(&[409]),
        Route::post("/v1/tokens", add)
            .summary(
                "Creates an API token; only this response contains its secret. \
                     Administrators only",
            )
            .body("NewToken")
            .answer("MadeToken")
            .others(&[409])
            .success(StatusCode::CREATED),
        Route::delete("/v1/tokens/{token_name}", revoke)
            .summary("Revokes an API token. Administrators only")
            .others(&[404, 409])
            .success(StatusCode::NO_CONTENT),
    ]
}

async fn tokens(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Tokens>, Fault> {
    administer(&api, &caller)?;
    let tokens = api.grants.named_api_tokens().await?;
    Ok(Json(Tokens { tokens: tokens.into_iter().map(shown).collect() }))
}

async fn add(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Body,
) -> Result<Json<MadeToken>, Fault> {
    administer(&api, &caller)?;
    api.require_audit()?;
    let NewToken { name, project, role, expires } = body.read()?;
    let (user, project) = (String::from(name), String::from(project));
    let identity = Identity { user_id: user.clone(), user: user.clone(), project, role };
    let token = ApiToken {
        name: Some(user.clone()),
        identity,
        created: Timestamp::now(),
        expires,
        sealed: None,
    };
    let secret = secret::random()?;
    if !api.grants.add_api_token(TokenDigest::of(&secret), token.clone()).await? {
        return Err(Fault::Conflict(format!(
            "a token named {user} exists already: revoke it, or choose another name"
        )));
    }
    let event = caller.event(EventName::ApiTokenChanged).target(&*user);
    api.audit.record(event.cause("created"));
    tracing::info!(user = caller.user, token = user, %role, "API token created");
    Ok(Json(MadeToken { token: shown(token), secret }))
}

async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NamePath(name): NamePath,
) -> Result<(), Fault> {
    administer(&api, &caller)?;
    api.require_audit()?;
    // Before, so that a failure can be tried again, and after, for links that were made meanwhile.
    api.revoke_links_of(&name).await?;
    if !api.grants.revoke_named_api_token(&name).await? {
        return Err(Fault::NotFound(format!("Token {} could not be found.", echo(&name))));
    }
    api.revoke_links_of(&name).await?;
    let event = caller.event(EventName::ApiTokenChanged).target(&*name);
    api.audit.record(event.cause("revoked"));
    tracing::info!(user = caller.user, token = name, "API token revoked");
    Ok(())
}

fn administer(api: &Api, caller: &Caller) -> Result<(), Fault> {
    caller.require(Role::Admin, "serialproxy:tokens")?;
    api.auth.local().map(drop)
}

fn shown(token: ApiToken) -> Token {
    let ApiToken { name, identity, created, expires, .. } = token;
    let Identity { project, role, .. } = identity;
    Token { name: name.unwrap_or_default(), project, role, created, expires }
}
