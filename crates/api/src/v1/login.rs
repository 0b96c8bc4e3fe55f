//! Logging in by a link, whose code becomes a token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use serialproxy_proto::identity::LoggedIn;
use serialproxy_proto::identity::LoginByCode;
use serialproxy_proto::identity::LoginLink;

use crate::Api;
use crate::auth::Caller;
use crate::auth::Role;
use crate::client::Client;
use crate::fault::Fault;
use crate::request::Body;
use crate::route::Access;
use crate::route::Route;

pub(super) fn routes() -> [Route; 2] {
    [
        Route::post("/v1/login-links", add)
            .summary(
                "Creates a link to the servers page. If users are managed here, it logs in as \
                 administrator, once, within 10 minutes, and only the admin token can create it",
            )
            .answer("LoginLink")
            .success(StatusCode::CREATED),
        Route::post("/v1/login", log_in)
            .summary("Issues a token for the code of a login link, which is then used")
            .body("LoginByCode")
            .answer("LoggedIn")
            .others(&[401, 404, 429, 500, 503])
            .success(StatusCode::CREATED)
            .open_to(Access::Anyone),
    ]
}

async fn add(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Json<LoginLink>, Fault> {
    caller.require(Role::Admin, "serialproxy:login-links")?;
    // The login would outlive another token that is revoked.
    if api.auth.local().is_ok_and(|local| !local.is_by_admin_token(&headers)) {
        return Err(Fault::Forbidden("only the admin token can create a login link".into()));
    }
    let link = api.login_link().await?;
    tracing::info!(user = caller.user, "login link created");
    Ok(Json(link))
}

async fn log_in(
    State(api): State<Arc<Api>>,
    client: Client,
    body: Body,
) -> Result<Json<LoggedIn>, Fault> {
    let local = api.auth.local().map_err(|_| Fault::no_such_call())?;
    let LoginByCode { code } = body.read()?;
    let login = local.log_in_by_code(&code, api.trier(client)).await?;
    Ok(Json(LoggedIn {
        token: login.secret,
        user: login.token.identity.user,
        expires: login.token.expires.unwrap_or_else(|| local.end()),
    }))
}

impl Api {
    /// A new link for an administrator; the error is for people.
    ///
    /// # Errors
    ///
    /// When the grants cannot be changed now, or the system has no random numbers.
    pub async fn new_login_link(&self) -> Result<LoginLink, String> {
        self.login_link().await.map_err(|fault| fault.to_string())
    }

    async fn login_link(&self) -> Result<LoginLink, Fault> {
        let page = servers_page(&self.base_url);
        let Ok(local) = self.auth.local() else {
            return Ok(LoginLink { url: page, expires: None });
        };
        let (code, expires) = local.new_code().await?;
        Ok(LoginLink { url: format!("{page}#login={code}"), expires: Some(expires) })
    }
}

/// URL of the page with all servers, which is beside the console page that `base_url` names.
fn servers_page(base_url: &str) -> String {
    let directory = match base_url.rsplit_once('/') {
        // Not the slashes of `http://`.
        Some((before, _)) if !before.ends_with('/') => before,
        _ => base_url,
    };
    // A `ws:` URL is that of a page, too, as `http:`.
    let page = directory.strip_prefix("ws").map(|rest| format!("http{rest}"));
    format!("{}/", page.as_deref().unwrap_or(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_page_is_beside_the_console_page() {
        for (console, page) in [
            ("http://127.0.0.1:6083/serial.html", "http://127.0.0.1:6083/"),
            ("https://example.com/consoles/serial.html", "https://example.com/consoles/"),
            ("wss://example.com/", "https://example.com/"),
            ("ws://example.com", "http://example.com/"),
        ] {
            assert_eq!(servers_page(console), page);
        }
    }
}
