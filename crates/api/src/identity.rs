//! The part of Keystone's API that a site without Keystone needs: tokens for the passwords of local
//! users, so that OpenStack's clients log in as usual.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use serialproxy_audit::EventName;
use serialproxy_grants::ApiToken;
use serialproxy_proto::identity::Password;
use serialproxy_proto::identity::Role;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Local;
use crate::auth::Login;
use crate::auth::Made;
use crate::auth::failures::Trier;
use crate::client::Client;
use crate::fault::Fault;
use crate::openstack::links::Links;
use crate::request::Body;
use crate::route::Access;
use crate::route::Route;

const SUBJECT: HeaderName = HeaderName::from_static("x-subject-token");

/// The only domain: Keystone's default.
const DOMAIN: (&str, &str) = ("default", "Default");

const REGION: &str = "RegionOne";

pub(crate) fn routes() -> Vec<Route> {
    let version = |path| {
        Route::get(path, version)
            .summary("Version of the identity API")
            .answer("Document")
            .open_to(Access::Anyone)
    };
    vec![
        version("/v3"),
        version("/v3/"),
        Route::post("/v3/auth/tokens", log_in)
            .summary(
                "Issues a token for a local user's password, or returns the token that was \
                     sent; the token is in X-Subject-Token",
            )
            .body("Login")
            .answer("LoginAnswer")
            .success(StatusCode::CREATED)
            .others(&[401, 404, 429, 500, 503])
            .open_to(Access::Anyone),
        Route::get("/v3/auth/tokens", show)
            .summary(
                "Validates the token in X-Subject-Token: the caller's own, or any token for \
                     administrators",
            )
            .answer("LoginAnswer")
            .others(&[404]),
        Route::delete("/v3/auth/tokens", revoke)
            .summary(
                "Revokes the token in X-Subject-Token: the caller's own, or any token for \
                     administrators",
            )
            .success(StatusCode::NO_CONTENT)
            .others(&[404, 409]),
    ]
}

#[derive(Deserialize)]
struct Request {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    identity: Methods,
    scope: Option<Value>,
}

/// The first method counts: a second factor does not exist here.
#[derive(Deserialize)]
struct Methods {
    methods: Vec<String>,
    password: Option<ByPassword>,
    token: Option<ByToken>,
}

#[derive(Deserialize)]
struct ByPassword {
    user: User,
}

#[derive(Deserialize)]
struct User {
    id: Option<String>,
    name: Option<String>,
    domain: Option<Domain>,
    password: Password,
}

#[derive(Deserialize)]
struct ByToken {
    id: Password,
}

#[derive(Deserialize)]
struct Domain {
    id: Option<String>,
    name: Option<String>,
}

type Answer = ([(HeaderName, String); 1], Json<Value>);

async fn version(State(api): State<Arc<Api>>, links: Links) -> Result<Json<Value>, Fault> {
    api.auth.serves_identity()?;
    Ok(Json(json!({"version": {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": links.to("/v3/")}],
        "media-types": [{
            "base": "application/json",
            "type": "application/vnd.openstack.identity-v3+json",
        }],
    }})))
}

async fn log_in(
    State(api): State<Arc<Api>>,
    client: Client,
    links: Links,
    body: Body,
) -> Result<Answer, Fault> {
    let local = api.auth.local().map_err(|_| Fault::no_such_call())?;
    api.require_audit()?;
    let Request { auth } = body.read()?;
    let method = auth.identity.methods.first().map(String::as_str).unwrap_or_default();
    let refused = || Fault::Authenticate { uri: links.to("/v3") };
    let login = match (method, auth.identity.password, auth.identity.token) {
        ("password", Some(ByPassword { user }), _) => {
            by_password(local, user, api.trier(client)).await
        }
        ("token", _, Some(ByToken { id })) => by_token(local, id, api.trier(client)).await,
        _ => Err(Fault::BadRequest(
            "auth.identity.methods: expected password or token, and the object of that name \
             beside it"
                .into(),
        )),
    };
    let Login { secret, token } = login.map_err(|fault| match fault {
        Fault::Unauthorized => refused(),
        fault => fault,
    })?;
    if !scope_fits(auth.scope.as_ref(), &token.identity.project) {
        if token.name.is_none() && method == "password" {
            local.revoke(&secret).await?;
        }
        return Err(refused());
    }
    Ok(answer(&links, local, secret, &token, method))
}

async fn by_password(local: &Local, user: User, trier: Trier<'_>) -> Result<Login, Fault> {
    let User { id, name, domain, password } = user;
    let named = id.or(name).ok_or_else(|| {
        Fault::BadRequest("auth.identity.password.user: expected a name or an id".into())
    })?;
    if !domain.is_none_or(|domain| domain.is_ours()) {
        return Err(Fault::Unauthorized);
    }
    local.log_in(&named, password, Made::Token, trier).await
}

/// Returns the same token again, which is for its only project already.
async fn by_token(local: &Local, token: Password, trier: Trier<'_>) -> Result<Login, Fault> {
    let secret = token.expose().to_owned();
    let token = local.by_token(&secret, trier).await?;
    Ok(Login { secret, token })
}

async fn show(
    State(api): State<Arc<Api>>,
    caller: Caller,
    links: Links,
    headers: HeaderMap,
) -> Result<Answer, Fault> {
    let (local, secret, token) = subject(&api, &caller, &headers).await?;
    Ok(answer(&links, local, secret, &token, "password"))
}

async fn revoke(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<(), Fault> {
    let (local, secret, token) = subject(&api, &caller, &headers).await?;
    api.require_audit()?;
    if !local.revoke(&secret).await? {
        return Err(Fault::Conflict(
            "the admin token cannot be revoked: remove its file and restart serialproxy".into(),
        ));
    }
    let event = caller.event(EventName::ApiTokenChanged).cause("revoked");
    api.audit.record(event.target(token.name.unwrap_or(token.identity.user)));
    Ok(())
}

/// The token that a call is about, if the caller may ask about it.
async fn subject<'a>(
    api: &'a Api,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<(&'a Local, String, ApiToken), Fault> {
    let local = api.auth.local().map_err(|_| Fault::no_such_call())?;
    let secret = headers.get(SUBJECT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = local.known(secret).await?;
    let is_theirs = |token: &ApiToken| token.identity.user_id == caller.user_id;
    match token {
        Some(token) if is_theirs(&token) || caller.role == Role::Admin => {
            Ok((local, secret.to_owned(), token))
        }
        _ => Err(Fault::NotFound(
            "Token could not be found: X-Subject-Token must name a valid token.".into(),
        )),
    }
}

fn answer(links: &Links, local: &Local, secret: String, token: &ApiToken, method: &str) -> Answer {
    let who = &token.identity;
    let roles = Role::ALL.into_iter().filter(|role| *role <= who.role);
    let roles: Vec<_> = roles.map(|role| json!({"id": role, "name": role})).collect();
    let domain = json!({"id": DOMAIN.0, "name": DOMAIN.1});
    let body = json!({"token": {
        "methods": [method],
        "user": {
            "id": who.user_id,
            "name": who.user,
            "domain": domain,
            "password_expires_at": null,
        },
        "project": {"id": who.project, "name": who.project, "domain": domain},
        "is_domain": false,
        "roles": roles,
        "issued_at": instant(token.created),
        "expires_at": instant(token.expires.unwrap_or_else(|| local.end())),
        "audit_ids": [],
        "catalog": [
            service("compute", "nova", &links.to("/v2.1")),
            service("identity", "keystone", &links.to("/v3")),
        ],
    }});
    ([(SUBJECT, secret)], Json(body))
}

fn service(kind: &str, name: &str, url: &str) -> Value {
    let endpoint = |interface| {
        json!({
            "id": format!("{kind}-{interface}"),
            "interface": interface,
            "region": REGION,
            "region_id": REGION,
            "url": url,
        })
    };
    let endpoints = ["public", "internal", "admin"].map(endpoint);
    json!({"id": kind, "type": kind, "name": name, "endpoints": endpoints})
}

/// A time in Keystone's format.
fn instant(time: Timestamp) -> String {
    format!("{time:.6}")
}

impl Domain {
    fn is_ours(&self) -> bool {
        let fits = |given: &Option<String>, ours: &str| {
            given.as_ref().is_none_or(|given| given.eq_ignore_ascii_case(ours))
        };
        fits(&self.id, DOMAIN.0) && fits(&self.name, DOMAIN.1)
    }
}

/// Whether the requested scope is the user's only project, or no scope is requested.
fn scope_fits(scope: Option<&Value>, project: &str) -> bool {
    let Some(Value::Object(scope)) = scope else { return true };
    scope.iter().all(|(kind, wanted)| {
        let of_ours =
            |domain: &Value| Domain::deserialize(domain).is_ok_and(|domain| domain.is_ours());
        let names = |key| wanted.get(key).is_none_or(|given| given == project);
        kind == "project"
            && wanted.is_object()
            && names("id")
            && names("name")
            && wanted.get("domain").is_none_or(of_ours)
    })
}
