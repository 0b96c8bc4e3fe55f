//! Who someone is and what they may: roles, and the users and API tokens of a serialproxy that
//! does without Keystone.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error as _;
use serde_json::Value;

use crate::times::optional_time;
use crate::times::time;

/// Most characters of the name of a user, token or project.
const MAX_NAME: usize = 64;

/// What someone may do within a project, as OpenStack has it; each may all that the one before
/// may.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees the project's servers, lines and sessions, and watches.
    Reader,
    /// Types, disconnects others, and changes the project's servers.
    Member,
    /// All of that in every project, and what concerns the hypervisor.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Member, Self::Admin];

    /// `reader`, `member` or `admin`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|role| role.as_str() == text);
        named.ok_or("expected reader, member or admin")
    }
}

/// Who someone is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The name that people are shown.
    pub user: String,
    /// What stays when the name changes.
    pub user_id: String,
    /// Id of the project whose servers they see.
    pub project: String,
    /// What they may do there.
    pub role: Role,
}

/// The name of a user, token or project: 1 to 64 of `A-Z a-z 0-9 . _ @ -`, so that it needs no
/// escaping in a URL, an `Authorization` header or a table.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
        // `.` and `..` would not arrive as part of a URL's path.
        let sound = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(allowed)
            && text.contains(|c: char| c != '.');
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err("a name has 1 to 64 of the characters A-Z a-z 0-9 . _ @ -")
        }
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// Body of `POST /v1/tokens`: an API token to make.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name, which also is the name of its user.
    pub name: Name,
    /// Its project.
    pub project: Name,
    /// What its user may do there.
    pub role: Role,
    /// When it ends, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "optional_time")]
    pub expires: Option<Timestamp>,
}

/// An API token, without its secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Token {
    /// Its name.
    pub name: String,
    /// Its project.
    pub project: String,
    /// What its user may do there.
    pub role: Role,
    /// When it was made.
    #[serde(serialize_with = "time")]
    pub created: Timestamp,
    /// When it ends, if ever.
    #[serde(serialize_with = "optional_time")]
    pub expires: Option<Timestamp>,
}

/// `{"tokens": […]}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tokens {
    /// All tokens, ordered by name.
    pub tokens: Vec<Token>,
}

/// `{"token": …, "secret": …}`: the one answer that holds a token's secret.
#[derive(Clone, Deserialize, Serialize)]
pub struct MadeToken {
    /// The token.
    pub token: Token,
    /// What its user sends as `X-Auth-Token`.
    pub secret: String,
}

impl fmt::Debug for MadeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeToken").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Answer of `POST /v1/login-links`.
#[derive(Clone, Deserialize, Serialize)]
pub struct LoginLink {
    /// URL of the servers page. If users are managed here, its fragment holds a code that is good once.
    pub url: String,
    /// Until when the code is good; none without a code.
    #[serde(serialize_with = "optional_time")]
    pub expires: Option<Timestamp>,
}

impl fmt::Debug for LoginLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginLink").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Body of `POST /v1/login`: a code, or a token, or a name and password.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogIn {
    /// The code of a login link.
    pub code: Option<Password>,
    /// The API token or Keystone's token with which somebody logs in at the page.
    pub token: Option<Password>,
    /// The name of a user.
    pub user: Option<String>,
    /// Their password.
    pub password: Option<Password>,
    /// With Keystone: the name of the project.
    pub project: Option<String>,
    /// With Keystone: the name of the domain of both, if it is not `Default`.
    pub domain: Option<String>,
}

/// Who made a call.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WhoAmI {
    /// Their name.
    pub user: String,
    /// Id of their project.
    pub project: String,
    /// Its name.
    pub project_name: String,
    /// What they may do there.
    pub role: Role,
}

/// Answer of `GET /v1/login`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LoginState {
    /// Who made the call; none where somebody has to log in first.
    pub caller: Option<WhoAmI>,
    /// How one can log in.
    pub methods: Vec<LoginMethod>,
    /// Whether a password is one of Keystone's, which asks for a project, too.
    pub keystone: bool,
}

/// A way to log in at the page.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginMethod {
    /// With a name and password.
    Password,
    /// With a token.
    Token,
    /// With a login link.
    Link,
}

/// Answer of `POST /v1/login`.
#[derive(Clone, Deserialize, Serialize)]
pub struct LoggedIn {
    /// What the user sends as `X-Auth-Token`; none for a page, whose proxy keeps the login in a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Their name.
    pub user: String,
    /// When the login ends.
    #[serde(serialize_with = "time")]
    pub expires: Timestamp,
}

impl fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedIn").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A password as someone typed it.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Fewest characters of a new one.
    pub const LEAST: usize = 8;
    /// Most characters of a new one.
    pub const MOST: usize = 1024;

    /// Takes what someone typed, whatever it is.
    pub fn from_person(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for those who hash it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it will do as a new one, by its length.
    pub fn will_do(&self) -> bool {
        (Self::LEAST..=Self::MOST).contains(&self.0.chars().count())
    }
}

impl<'de> Deserialize<'de> for Password {
    /// An error does not repeat what stood there, as a derived one would.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("a password is a string")),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// Body of `POST /v1/users`: a local user to add.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Their name.
    pub name: Name,
    /// Their project.
    pub project: Name,
    /// What they may do there.
    pub role: Role,
    /// Their password.
    pub password: Password,
}

/// Body of `PUT /v1/users/{name}/password`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password from now on.
    pub password: Password,
}

/// A local user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct User {
    /// Their id, which is random.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Their project.
    pub project: String,
    /// What they may do there.
    pub role: Role,
    /// When they were added.
    #[serde(serialize_with = "time")]
    pub created: Timestamp,
}

/// `{"user": …}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct UserAnswer {
    /// The user.
    pub user: User,
}

/// `{"users": […]}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Users {
    /// All users, ordered by name.
    pub users: Vec<User>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert!("Admin".parse::<Role>().is_err());
        assert!(Role::ALL.is_sorted());
    }

    #[test]
    fn the_length_of_a_password_is_counted_in_characters() {
        let will_do = |text: &str| Password::from_person(text.into()).will_do();
        assert!(will_do("äöüäöüäö") && will_do(&"ä".repeat(Password::MOST)));
        assert!(!will_do("äöüäöüä") && !will_do(&"ä".repeat(Password::MOST + 1)));
    }

    #[test]
    fn a_name_needs_no_escaping_anywhere() {
        let long = "x".repeat(MAX_NAME);
        for name in ["a", "alice@example.org", "0fe7c1b2", "a.b_c-d", &long] {
            assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        }
        for text in ["", ".", "..", "a b", "a/b", "a:b", "ä", "a\n", &format!("{long}x")] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<Name>(text.into()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_secret_of_a_token_is_not_in_its_debug_form() {
        let created = Timestamp::UNIX_EPOCH;
        let token = Token {
            name: "ci".into(),
            project: "demo".into(),
            role: Role::Member,
            created,
            expires: None,
        };
        let made = MadeToken { token, secret: "hush".into() };
        assert!(!format!("{made:?}").contains("hush"));
        let json = serde_json::to_value(&made).unwrap();
        assert_eq!(json["token"]["created"], "1970-01-01T00:00:00Z");
        assert!(json["token"]["expires"].is_null());
    }

    #[test]
    fn a_password_is_in_no_debug_form_and_no_error() {
        let text = r#"{"password": "correct horse"}"#;
        let new: NewPassword = serde_json::from_str(text).unwrap();
        assert!(new.password.will_do());
        assert!(!format!("{new:?}").contains("horse"));
        let error = serde_json::from_str::<NewPassword>(r#"{"password": 12345678}"#).unwrap_err();
        assert!(!error.to_string().contains("1234"), "{error}");
    }
}
