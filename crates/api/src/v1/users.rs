//! Local users, for sites without Keystone.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serialproxy_audit::EventName;
use serialproxy_grants::User;
use serialproxy_proto::identity;
use serialproxy_proto::identity::Identity;
use serialproxy_proto::identity::NewPassword;
use serialproxy_proto::identity::NewUser;
use serialproxy_proto::identity::UserAnswer;
use serialproxy_proto::identity::Users;
use uuid::Uuid;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Local;
use crate::auth::Role;
use crate::client::Client;
use crate::fault::Fault;
use crate::fault::echo;
use crate::request::Body;
use crate::request::NamePath;
use crate::route::Route;

pub(super) fn routes() -> [Route; 4] {
    [
        Route::get("/v1/users", users)
            .summary("Lists local users. Administrators only")
            .answer("Users")
            .others(&[409]),
        Route::post("/v1/users", add)
            .summary("Adds a local user. Administrators only")
            .body("NewUser")
            .answer("UserAnswer")
            .success(StatusCode::CREATED)
            .others(&[409]),
        Route::put("/v1/users/{user_name}/password", set_password)
            .summary("Changes a local user's password, and ends their logins and the links that they shared. Administrators only")
            .body("NewPassword")
            .success(StatusCode::NO_CONTENT)
            .others(&[404, 409]),
        Route::delete("/v1/users/{user_name}", remove)
            .summary("Removes a local user and ends their logins. Administrators only")
            .success(StatusCode::NO_CONTENT)
            .others(&[404, 409]),
    ]
}

async fn users(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Users>, Fault> {
    administer(&api, &caller)?;
    let users = api.grants.users().await?;
    Ok(Json(Users { users: users.into_iter().map(shown).collect() }))
}

async fn add(
    State(api): State<Arc<Api>>,
    caller: Caller,
    client: Client,
    body: Body,
) -> Result<Json<UserAnswer>, Fault> {
    let local = administer(&api, &caller)?;
    api.require_audit()?;
    let NewUser { name, project, role, password } = body.read()?;
    let hash = local.hash(password, client).await?;
    let identity = Identity {
        user: name.into(),
        user_id: Uuid::new_v4().simple().to_string(),
        project: project.into(),
        role,
    };
    let user = User { identity, created: Timestamp::now() };
    let name = &user.identity.user;
    if !api.grants.add_user(user.clone(), hash).await? {
        return Err(Fault::Conflict(format!("a user named {name} exists already")));
    }
    let event = caller.event(EventName::UserChanged).target(&**name);
    api.audit.record(event.cause("added"));
    tracing::info!(user = caller.user, added = name, %role, "user added");
    Ok(Json(UserAnswer { user: shown(user) }))
}

async fn set_password(
    State(api): State<Arc<Api>>,
    caller: Caller,
    client: Client,
    NamePath(name): NamePath,
    body: Body,
) -> Result<(), Fault> {
    let local = administer(&api, &caller)?;
    api.require_audit()?;
    let NewPassword { password } = body.read()?;
    let hash = local.hash(password, client).await?;
    let found = api.grants.user(&name).await?.ok_or_else(|| no_such_user(&name))?;
    let maker = &found.0.identity.user_id;
    // Whoever knew the old password may have shared consoles. Before and after, as when a user is removed.
    api.revoke_links_of(maker).await?;
    if !api.grants.set_password(&name, hash).await? {
        return Err(no_such_user(&name));
    }
    local.forget_recent();
    api.revoke_links_of(maker).await?;
    let event = caller.event(EventName::UserChanged).target(&*name);
    api.audit.record(event.cause("password"));
    tracing::info!(user = caller.user, changed = name, "password changed");
    Ok(())
}

async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    NamePath(name): NamePath,
) -> Result<(), Fault> {
    let local = administer(&api, &caller)?;
    api.require_audit()?;
    let found = api.grants.user(&name).await?.ok_or_else(|| no_such_user(&name))?;
    let maker = &found.0.identity.user_id;
    // Before, so that a failure can be tried again, and after, for links that were made meanwhile.
    api.revoke_links_of(maker).await?;
    if !api.grants.remove_user(&name).await? {
        return Err(no_such_user(&name));
    }
    local.forget_recent();
    api.revoke_links_of(maker).await?;
    let event = caller.event(EventName::UserChanged).target(&*name);
    api.audit.record(event.cause("removed"));
    tracing::info!(user = caller.user, removed = name, "user removed");
    Ok(())
}

fn administer<'a>(api: &'a Api, caller: &Caller) -> Result<&'a Local, Fault> {
    caller.require(Role::Admin, "serialproxy:users")?;
    api.auth.local()
}

fn no_such_user(name: &str) -> Fault {
    Fault::NotFound(format!("User {} could not be found.", echo(name)))
}

fn shown(user: User) -> identity::User {
    let User { identity: Identity { user: name, user_id: id, project, role }, created } = user;
    identity::User { id, name, project, role, created }
}
