//! The login of a service user at Keystone.

use std::path::PathBuf;

/// The credentials of a service user, and the services that they are for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeystoneAuth {
    /// The kind of credentials.
    pub auth_type: AuthType,
    /// Keystone's URL, with or without `/v3`.
    pub auth_url: Option<String>,
    /// The URL of Keystone for users, which a 401 names.
    pub www_authenticate_uri: Option<String>,
    /// Id of the user; takes precedence over the name.
    pub user_id: Option<String>,
    /// The user's name.
    pub username: Option<String>,
    /// Their password.
    pub password: Option<Secret>,
    /// The domain of the user's name.
    pub user_domain: Domain,
    /// Id of the user's project; takes precedence over its name.
    pub project_id: Option<String>,
    /// The name of that project; an application credential has its own.
    pub project_name: Option<String>,
    /// The domain of the project's name.
    pub project_domain: Domain,
    /// Id of the application credential.
    pub application_credential_id: Option<String>,
    /// Its name, which is unique only for its user and their domain; used where there is no id.
    pub application_credential_name: Option<String>,
    /// Its secret.
    pub application_credential_secret: Option<Secret>,
    /// The region whose endpoints are used.
    pub region_name: Option<String>,
    /// CA bundle that verifies the services (PEM); else the system's CA store.
    pub cafile: Option<PathBuf>,
    /// Whether certificates are not verified.
    pub insecure: bool,
}

/// The plugins of keystoneauth that are supported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AuthType {
    /// Name and password: `password` or `v3password`.
    #[default]
    Password,
    /// `v3applicationcredential`
    ApplicationCredential,
}

/// A domain of Keystone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Domain {
    /// By its id.
    Id(String),
    /// By its name.
    Name(String),
}

/// A text that the debug form hides.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(pub(crate) String);

impl KeystoneAuth {
    /// The first missing option of the login.
    pub fn missing(&self) -> Option<&'static str> {
        if self.auth_url.is_none() { Some("auth_url") } else { self.lacks() }
    }

    /// Whether the login names a user or an application credential.
    pub(crate) fn names_somebody(&self) -> bool {
        match self.auth_type {
            AuthType::Password => self.has_user(),
            AuthType::ApplicationCredential => {
                self.application_credential_id.is_some()
                    || self.application_credential_name.is_some()
            }
        }
    }

    fn has_user(&self) -> bool {
        self.user_id.is_some() || self.username.is_some()
    }

    /// The first missing part of the credentials.
    pub(crate) fn lacks(&self) -> Option<&'static str> {
        let needed = match self.auth_type {
            AuthType::Password => {
                [("username", self.has_user()), ("password", self.password.is_some())]
            }
            AuthType::ApplicationCredential if self.application_credential_id.is_some() => {
                let secret = self.application_credential_secret.is_some();
                [("application_credential_id", true), ("application_credential_secret", secret)]
            }
            AuthType::ApplicationCredential => {
                if self.application_credential_name.is_none() {
                    return Some("application_credential_id");
                }
                let secret = self.application_credential_secret.is_some();
                [("username", self.has_user()), ("application_credential_secret", secret)]
            }
        };
        needed.into_iter().find_map(|(option, is_set)| (!is_set).then_some(option))
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::Id("default".into())
    }
}

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
