//! Clients' credentials: the environment variables that their users set.

/// The environment variables of a client.
#[derive(Clone, Debug)]
pub struct Login(pub(super) Vec<(String, String)>);

impl Login {
    /// For an API without authentication.
    pub fn none(api: &str) -> Self {
        Self::endpoint(api, "none")
    }

    /// A token that the API accepts.
    pub fn admin_token(api: &str, token: &str) -> Self {
        Self::endpoint(api, "admin_token").with("OS_TOKEN", token)
    }

    /// User and password, with each call.
    pub fn http_basic(api: &str, user: &str, password: &str) -> Self {
        Self::endpoint(api, "http_basic").with("OS_USERNAME", user).with("OS_PASSWORD", password)
    }

    /// User and password, once, at the identity service of this URL (`…/v3`).
    pub fn password(identity: &str, user: &str, password: &str, project: &str) -> Self {
        Self(Vec::new())
            .with("OS_AUTH_URL", identity)
            .with("OS_USERNAME", user)
            .with("OS_PASSWORD", password)
            .with("OS_PROJECT_NAME", project)
            .with("OS_USER_DOMAIN_ID", "default")
            .with("OS_PROJECT_DOMAIN_ID", "default")
            .with("OS_IDENTITY_API_VERSION", "3")
    }

    /// No identity service: the API at `http://H:P` itself, which answers `GET /v3` too.
    fn endpoint(api: &str, auth_type: &str) -> Self {
        Self(Vec::new())
            .with("OS_AUTH_TYPE", auth_type)
            .with("OS_ENDPOINT", &format!("{api}/v2.1"))
            .with("OS_IDENTITY_API_VERSION", "3")
            .with("OS_IDENTITY_ENDPOINT_OVERRIDE", &format!("{api}/v3"))
    }

    /// The same at this microversion.
    #[must_use]
    pub fn at(self, microversion: &str) -> Self {
        self.with("OS_COMPUTE_API_VERSION", microversion)
    }

    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }
}
