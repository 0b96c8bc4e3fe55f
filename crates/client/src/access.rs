//! Commands for API tokens and local users.

use reqwest::Method;
use serde_json::json;
use serialproxy_proto::identity::MadeToken;
use serialproxy_proto::identity::NewPassword;
use serialproxy_proto::identity::NewToken;
use serialproxy_proto::identity::NewUser;
use serialproxy_proto::identity::Token;
use serialproxy_proto::identity::Tokens;
use serialproxy_proto::identity::User;
use serialproxy_proto::identity::UserAnswer;
use serialproxy_proto::identity::Users;
use serialproxy_proto::times::rfc3339;

use crate::api::Api;
use crate::command::Format;
use crate::command::access::AddToken;
use crate::command::access::Named;
use crate::command::access::TokenAct;
use crate::command::access::UserAct;
use crate::command::access::Who;
use crate::failure::Failure;
use crate::password;
use crate::queries::show;
use crate::text::say;
use crate::text::table;

/// Adds, lists or revokes API tokens.
pub(crate) async fn tokens(
    api: &Api,
    act: TokenAct<'_>,
    format: Format,
) -> Result<String, Failure> {
    match act {
        TokenAct::Add(command) => add_token(api, command, format).await,
        TokenAct::List => list_tokens(api, format).await,
        TokenAct::Revoke(Named { name }) => {
            let name = name.as_str();
            api.call(Method::DELETE, &format!("/v1/tokens/{name}"), &[], None).await?;
            say(&format!("revoked token {name}"));
            Ok(String::new())
        }
    }
}

async fn add_token(api: &Api, command: &AddToken, format: Format) -> Result<String, Failure> {
    let Who { name, project, role } = &command.who;
    let body = NewToken {
        name: name.clone(),
        project: project.clone(),
        role: *role,
        expires: command.expires,
    };
    let answer = api.call(Method::POST, "/v1/tokens", &[], Some(json!(body))).await?;
    show(format, answer, |answer| Ok(api.read::<MadeToken>(answer)?.secret + "\n"))
}

async fn list_tokens(api: &Api, format: Format) -> Result<String, Failure> {
    let answer = api.call(Method::GET, "/v1/tokens", &[], None).await?;
    show(format, answer, |answer| {
        let tokens = api.read::<Tokens>(answer)?.tokens;
        let rows = tokens.into_iter().map(|token| {
            let Token { name, project, role, created, expires } = token;
            let expires = expires.map_or_else(|| "never".to_owned(), rfc3339);
            [name, project, role.as_str().into(), rfc3339(created), expires]
        });
        Ok(table(["Name", "Project", "Role", "Created", "Expires"], rows.collect()))
    })
}

/// Adds, lists, changes or removes local users.
pub(crate) async fn users(api: &Api, act: UserAct<'_>, format: Format) -> Result<String, Failure> {
    match act {
        UserAct::Add(who) => add_user(api, who, format).await,
        UserAct::List => list_users(api, format).await,
        UserAct::Password(name) => {
            let name = name.as_str();
            let body = NewPassword { password: password::new(name)? };
            let path = format!("/v1/users/{name}/password");
            api.call(Method::PUT, &path, &[], Some(json!(body))).await?;
            say(&format!("changed the password of {name}"));
            Ok(String::new())
        }
        UserAct::Remove(name) => {
            let name = name.as_str();
            api.call(Method::DELETE, &format!("/v1/users/{name}"), &[], None).await?;
            say(&format!("removed user {name}"));
            Ok(String::new())
        }
    }
}

async fn add_user(api: &Api, who: &Who, format: Format) -> Result<String, Failure> {
    let Who { name, project, role } = who;
    let body = NewUser {
        name: name.clone(),
        project: project.clone(),
        role: *role,
        password: password::new(name.as_str())?,
    };
    let answer = api.call(Method::POST, "/v1/users", &[], Some(json!(body))).await?;
    show(format, answer, |answer| Ok(user_table(vec![api.read::<UserAnswer>(answer)?.user])))
}

async fn list_users(api: &Api, format: Format) -> Result<String, Failure> {
    let answer = api.call(Method::GET, "/v1/users", &[], None).await?;
    show(format, answer, |answer| Ok(user_table(api.read::<Users>(answer)?.users)))
}

fn user_table(users: Vec<User>) -> String {
    let rows = users.into_iter().map(|user| {
        let User { id, name, project, role, created } = user;
        [id, name, project, role.as_str().into(), rfc3339(created)]
    });
    table(["ID", "Name", "Project", "Role", "Created"], rows.collect())
}
