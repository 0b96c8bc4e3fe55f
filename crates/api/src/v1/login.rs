//! Logging in: by a link, whose code becomes a token, and at the page, which also takes tokens and
//! passwords.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use serialproxy_proto::identity::LogIn;
use serialproxy_proto::identity::LoggedIn;
use serialproxy_proto::identity::LoginLink;
use serialproxy_proto::identity::LoginMethod;
use serialproxy_proto::identity::LoginState;
use serialproxy_proto::identity::WhoAmI;
use serialproxy_proto::relayed::PAGE_LOGIN;

use crate::Api;
use crate::auth::Auth;
use crate::auth::Caller;
use crate::auth::Login;
use crate::auth::Made;
use crate::auth::Role;
use crate::auth::page;
use crate::auth::page::Way;
use crate::client::Client;
use crate::fault::Fault;
use crate::request::Body;
use crate::route::Access;
use crate::route::Route;

pub(super) fn routes() -> [Route; 4] {
    [
        Route::post("/v1/login-links", add)
            .summary(
                "Creates a link to the servers page. If users are managed here, it logs in as \
                 administrator, once, within 10 minutes, and only the admin token can create it",
            )
            .answer("LoginLink")
            .success(StatusCode::CREATED),
        Route::post("/v1/login", log_in)
            .summary(
                "Issues a token for the code of a login link, which is then used, or for a local \
                 user's password. At the proxy's port, a page logs in with that or a token, and \
                 gets a cookie",
            )
            .body("LogIn")
            .answer("LoggedIn")
            .others(&[401, 404, 429, 500, 503])
            .success(StatusCode::CREATED)
            .open_to(Access::Anyone),
        Route::get("/v1/login", who)
            .summary("Who the caller is, if anybody is logged in, and how to log in")
            .answer("LoginState")
            .others(&[400, 500, 503])
            .open_to(Access::Anyone),
        Route::delete("/v1/login", log_out)
            .summary("Ends the login of the page that makes the call")
            .others(&[500, 503])
            .success(StatusCode::NO_CONTENT)
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
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    api.require_audit()?;
    let (way, trier) = (Way::try_from(body.read::<LogIn>()?)?, api.trier(client));
    if page::is_asked_for(&headers) {
        // Boxed, because of the time that a password takes.
        let login = Box::pin(api.log_in_page(way, trier)).await?;
        let kept = page::header_of(&login, api.page_lifetime)?;
        return Ok(([(PAGE_LOGIN, kept)], Json(logged_in(login, false))).into_response());
    }
    let local = api.auth.local().map_err(|_| Fault::no_such_call())?;
    let login = match way {
        Way::Code(code) => local.log_in_by_code(code.expose(), Made::Token, trier).await?,
        Way::Password { user, password, .. } => {
            local.log_in(&user, password, Made::Token, trier).await?
        }
        Way::Token(_) => {
            return Err(Fault::BadRequest(
                "a token is exchanged for a cookie, which only a page gets: send the token itself \
                 with your calls"
                    .into(),
            ));
        }
    };
    Ok(Json(logged_in(login, true)).into_response())
}

fn logged_in(Login { secret, token }: Login, shows_token: bool) -> LoggedIn {
    LoggedIn {
        token: shows_token.then_some(secret),
        user: token.identity.user,
        expires: token.expires.unwrap_or(token.created),
    }
}

async fn who(
    State(api): State<Arc<Api>>,
    client: Client,
    headers: HeaderMap,
) -> Result<Json<LoginState>, Fault> {
    let caller = match api.caller(&headers, api.trier(client)).await {
        Ok(Caller { user, project, project_name, role, .. }) => {
            Some(WhoAmI { user, project, project_name, role })
        }
        Err(Fault::Unauthorized | Fault::Authenticate { .. } | Fault::WrongToken) => None,
        Err(fault) => return Err(fault),
    };
    let methods = match api.auth {
        Auth::Noauth => vec![],
        Auth::Local(_) => vec![LoginMethod::Password, LoginMethod::Token, LoginMethod::Link],
        Auth::Keystone(_) => vec![LoginMethod::Password, LoginMethod::Token],
    };
    let keystone = matches!(api.auth, Auth::Keystone(_));
    Ok(Json(LoginState { caller, methods, keystone }))
}

async fn log_out(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<(), Fault> {
    match page::secret_in(&headers) {
        Some(secret) => api.log_out_page(secret).await,
        None => Ok(()),
    }
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
