//! Commands on who may come in: API tokens and local users.

use clap::Args;
use clap::Subcommand;
use jiff::SignedDuration;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;
use serialproxy_proto::identity::MadeToken;
use serialproxy_proto::identity::Name;
use serialproxy_proto::identity::NewPassword;
use serialproxy_proto::identity::NewToken;
use serialproxy_proto::identity::NewUser;
use serialproxy_proto::identity::Role;
use serialproxy_proto::identity::Token;
use serialproxy_proto::identity::Tokens;
use serialproxy_proto::identity::User;
use serialproxy_proto::identity::UserAnswer;
use serialproxy_proto::identity::Users;
use serialproxy_proto::refusal::rfc3339;

use crate::api::Api;
use crate::command::Call;
use crate::command::ClientArgs;
use crate::command::Format;
use crate::command::NoArguments;
use crate::failure::Failure;
use crate::password;
use crate::queries::show;
use crate::text::say;
use crate::text::table;

pub(crate) const TOKEN_HELP: &str = "Examples:
  serialproxy token add ci --project demo --role member --expires 90d
  serialproxy token list
  serialproxy token revoke ci

A reader can list the project's servers and watch their consoles. A member can also type and control
the servers. An administrator can do so in every project. A token is shown only once; its user sets it
as SERIALPROXY_TOKEN. Only administrators can use these commands, and only if [api] auth_strategy is
token or http_basic.";

pub(crate) const USER_HELP: &str = "Examples:
  serialproxy user add alice --project demo --role member
  serialproxy user list
  serialproxy user password alice < new-password
  serialproxy user remove alice

The command asks for the password twice, or reads it from the first line of stdin if stdin is not a
terminal. OpenStack's clients log in with it: set OS_AUTH_URL to the API's address followed by /v3. If
[api] auth_strategy is http_basic, clients can also send it with each call. Only administrators can use
these commands, and only if auth_strategy is token or http_basic.";

/// `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create a token, and print it; it is not shown again
    Add(Call<AddToken>),
    /// List the tokens
    List(Call<NoArguments>),
    /// Revoke a token
    Revoke(Call<Named>),
}

/// What is done about tokens.
#[derive(Debug)]
pub(crate) enum TokenAct<'a> {
    Add(&'a AddToken),
    List,
    Revoke(&'a Named),
}

impl TokenCommand {
    /// The arguments that all commands have, and the rest.
    pub(crate) fn apart(&self) -> (&ClientArgs, TokenAct<'_>) {
        match self {
            Self::Add(call) => (&call.client, TokenAct::Add(&call.command)),
            Self::List(call) => (&call.client, TokenAct::List),
            Self::Revoke(call) => (&call.client, TokenAct::Revoke(&call.command)),
        }
    }
}

/// `user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    Add(Call<AddUser>),
    /// List the users
    List(Call<NoArguments>),
    /// Change a user's password; this ends their logins
    Password(Call<Named>),
    /// Remove a user; this ends their logins
    Remove(Call<Named>),
}

/// What is done about users.
#[derive(Debug)]
pub(crate) enum UserAct<'a> {
    Add(&'a Who),
    List,
    Password(&'a Name),
    Remove(&'a Name),
}

impl UserCommand {
    /// The arguments that all commands have, and the rest.
    pub(crate) fn apart(&self) -> (&ClientArgs, UserAct<'_>) {
        match self {
            Self::Add(call) => (&call.client, UserAct::Add(&call.command.who)),
            Self::List(call) => (&call.client, UserAct::List),
            Self::Password(call) => (&call.client, UserAct::Password(&call.command.name)),
            Self::Remove(call) => (&call.client, UserAct::Remove(&call.command.name)),
        }
    }
}

/// `token add`.
#[derive(Args, Debug)]
pub struct AddToken {
    #[command(flatten)]
    who: Who,
    /// When the token expires: a number of days, such as 90d, or an RFC 3339 time [default: never]
    #[arg(long, value_name = "TIME", value_parser = end)]
    expires: Option<Timestamp>,
}

/// `user add`.
#[derive(Args, Debug)]
pub struct AddUser {
    #[command(flatten)]
    who: Who,
}

/// A name, a project and a role.
#[derive(Args, Debug)]
pub(crate) struct Who {
    /// Name, as shown in sessions and logs
    name: Name,
    /// Id of the project
    #[arg(long)]
    project: Name,
    /// Role: reader, member or admin
    #[arg(long)]
    role: Role,
}

/// A command on what has that name.
#[derive(Args, Debug)]
pub struct Named {
    /// Name
    name: Name,
}

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

fn end(text: &str) -> Result<Timestamp, String> {
    let after = |days: i64| {
        let hours = days.checked_mul(24).filter(|hours| *hours > 0)?;
        Timestamp::now().checked_add(SignedDuration::from_hours(hours)).ok()
    };
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    let end = if let Some(days) = days { after(days) } else { text.parse().ok() };
    end.ok_or_else(|| {
        "expected a number of days, such as 90d, or a time, such as 2027-01-31T12:00:00Z".into()
    })
}
