//! The command line of the commands for API tokens and local users.

use clap::Args;
use clap::Subcommand;
use jiff::SignedDuration;
use jiff::Timestamp;
use serialproxy_proto::identity::Name;
use serialproxy_proto::identity::Role;

use crate::command::Call;
use crate::command::ClientArgs;
use crate::command::NoArguments;

pub(crate) const TOKEN_HELP: &str = "Examples:
  serialproxy token add ci --project demo --role member --expires 90d
  serialproxy token list
  serialproxy token revoke ci

A reader can list the project's servers and watch their consoles. A member can also type and control \
the servers. An administrator can do so in every project. A token is shown only once; its user sets it \
as SERIALPROXY_TOKEN. Only administrators can use these commands, and only if [api] auth_strategy is \
token or http_basic.";

pub(crate) const USER_HELP: &str = "Examples:
  serialproxy user add alice --project demo --role member
  serialproxy user list
  serialproxy user password alice < new-password
  serialproxy user remove alice

The command asks for the password twice, or reads it from the first line of stdin if stdin is not a \
terminal. OpenStack's clients log in with it: set OS_AUTH_URL to the API's address followed by /v3. If \
[api] auth_strategy is http_basic, clients can also send it with each call. Only administrators can use \
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

/// An operation on tokens.
#[derive(Debug)]
pub(crate) enum TokenAct<'a> {
    Add(&'a AddToken),
    List,
    Revoke(&'a Named),
}

impl TokenCommand {
    /// The common arguments, and the operation.
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

/// An operation on users.
#[derive(Debug)]
pub(crate) enum UserAct<'a> {
    Add(&'a Who),
    List,
    Password(&'a Name),
    Remove(&'a Name),
}

impl UserCommand {
    /// The common arguments, and the operation.
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
    pub(crate) who: Who,
    /// When the token expires: a number of days, such as 90d, or an RFC 3339 time [default: never]
    #[arg(long, value_name = "TIME", value_parser = end)]
    pub(crate) expires: Option<Timestamp>,
}

/// `user add`.
#[derive(Args, Debug)]
pub struct AddUser {
    #[command(flatten)]
    pub(crate) who: Who,
}

/// A name, a project and a role.
#[derive(Args, Debug)]
pub(crate) struct Who {
    /// Name, as shown in sessions and logs
    pub(crate) name: Name,
    /// Id of the project
    #[arg(long)]
    pub(crate) project: Name,
    /// Role: reader, member or admin
    #[arg(long)]
    pub(crate) role: Role,
}

/// A command on the token or user with this name.
#[derive(Args, Debug)]
pub struct Named {
    /// Name
    pub(crate) name: Name,
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
