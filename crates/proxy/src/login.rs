//! The login of a page, which its browser keeps in a cookie.
//!
//! The API knows no cookies: it makes a secret when a page logs in, and takes it as a header. So every rule about
//! cookies is here, where it is known which page calls, and whether over TLS. A browser sends the cookie with every
//! call to this host, also with those that a page of another port or subdomain makes. So a call that changes
//! something counts as the user's only if its Origin says that a page of this proxy makes it.

use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::StatusCode;
use http::header;
use http::response;
use serialproxy_config::PageOrigin;
use serialproxy_proto::relayed::NEW_PAGE_LOGIN;
use serialproxy_proto::relayed::PAGE_LOGIN;

use crate::client::Client;

/// The call that logs in, tells who is logged in, and logs out.
const LOGIN: &str = "/v1/login";

/// Name of the cookie over TLS. By this prefix, a browser accepts it only over TLS, for this host alone: neither a
/// subdomain nor a connection without TLS can set it.
const SECURE: &str = "__Host-serialproxy-login";

/// Name of the cookie where this proxy is used without TLS.
const PLAIN: &str = "serialproxy-login";

/// Length of a login's secret, in hexadecimal digits.
const SECRET: usize = 64;

/// Why a call does not count as that of a page's user.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(
        "a call that changes something and comes with the login cookie needs the Origin header \
         of a page of this proxy: outside of a browser, send a token in X-Auth-Token instead"
    )]
    NoOrigin,
    #[error(
        "this site is used over https: open the page at its https address, so that nobody on the \
         way reads the login"
    )]
    Insecure,
}

/// How the pages are reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Site {
    secure: bool,
}

/// What a call says about the login of its page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Login {
    /// Nothing: it has other credentials or none.
    None,
    /// The page logs in.
    New,
    /// The page is logged in with this secret.
    Secret(String),
    /// The page logs out, with its secret if it has one.
    Out(Option<String>),
}

impl Site {
    /// The site as this client reaches it. A site with an https `base_url` has no other logins, even if the proxy is
    /// not told that a reverse proxy uses TLS.
    pub(crate) fn of(client: Client, base_url: Option<&str>) -> Self {
        let base_url = base_url.and_then(PageOrigin::of_url);
        Self { secure: client.secure || base_url.is_some_and(|base| base.scheme() == "https") }
    }

    /// The login of a call, which a page of this origin makes.
    pub(crate) fn login<B>(
        self,
        request: &Request<B>,
        page: Option<&PageOrigin>,
    ) -> Result<Login, Fault> {
        let (method, is_login) = (request.method(), request.uri().path() == LOGIN);
        if is_login && *method == Method::POST {
            return match page {
                None => Ok(Login::None),
                Some(page) if self.secure && page.scheme() != "https" => Err(Fault::Insecure),
                Some(_) => Ok(Login::New),
            };
        }
        if [header::AUTHORIZATION.as_str(), "x-auth-token"]
            .iter()
            .any(|name| request.headers().contains_key(*name))
        {
            return Ok(Login::None);
        }
        let secret = self.secret(request.headers());
        if is_login && *method == Method::DELETE && page.is_some() {
            return Ok(Login::Out(secret));
        }
        let Some(secret) = secret else { return Ok(Login::None) };
        match [Method::GET, Method::HEAD].contains(method) || page.is_some() {
            true => Ok(Login::Secret(secret)),
            false => Err(Fault::NoOrigin),
        }
    }

    /// The cookie that the answer to a call sets.
    pub(crate) fn cookie(self, login: &Login, answer: &response::Parts) -> Option<HeaderValue> {
        let (secret, age) = match login {
            Login::New if answer.status == StatusCode::CREATED => {
                answer.headers.get(PAGE_LOGIN)?.to_str().ok()?.split_once(' ')?
            }
            Login::Out(_) if answer.status.is_success() => ("", "0"),
            _ => return None,
        };
        let (name, secure) = if self.secure { (SECURE, "; Secure") } else { (PLAIN, "") };
        let cookie =
            format!("{name}={secret}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
        let mut cookie = HeaderValue::try_from(cookie).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    /// The secret in the cookie. Without TLS, a subdomain can add a second cookie of the name; then neither counts.
    fn secret(self, headers: &HeaderMap) -> Option<String> {
        let wanted = if self.secure { SECURE } else { PLAIN };
        let cookies = headers.get_all(header::COOKIE).into_iter();
        let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
        let mut secrets = cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == wanted)
            .map(|(_, secret)| secret);
        let secret = secrets.next().filter(|_| secrets.next().is_none())?;
        let sound = secret.len() == SECRET && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        sound.then(|| secret.to_owned())
    }
}

impl Login {
    /// The header that tells the API.
    pub(crate) fn told(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::None | Self::Out(None) => return None,
            Self::New => NEW_PAGE_LOGIN,
            Self::Secret(secret) | Self::Out(Some(secret)) => secret,
        };
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECURE_SITE: Site = Site { secure: true };
    const PLAIN_SITE: Site = Site { secure: false };

    fn secret() -> String {
        "0123456789abcdef".repeat(4)
    }

    fn login(
        site: Site,
        call: (&str, &str),
        headers: &[(&str, &str)],
        page: Option<&str>,
    ) -> Result<Login, Fault> {
        let mut request = Request::builder().method(call.0).uri(call.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let page = page.map(|page| PageOrigin::parse(page).unwrap());
        site.login(&request.body(()).unwrap(), page.as_ref())
    }

    #[test]
    fn a_page_that_logs_in_gets_a_cookie_that_scripts_and_other_sites_do_not_get() {
        let mut answer = http::Response::builder().status(201);
        answer = answer.header(PAGE_LOGIN, format!("{} 60", secret()));
        let (answer, ()) = answer.body(()).unwrap().into_parts();
        let expected = format!(
            "__Host-serialproxy-login={}; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure",
            secret()
        );
        assert_eq!(SECURE_SITE.cookie(&Login::New, &answer).unwrap(), expected);
        let plain = PLAIN_SITE.cookie(&Login::New, &answer).unwrap();
        assert!(!plain.to_str().unwrap().contains("Secure"));
        assert_eq!(PLAIN_SITE.cookie(&Login::Secret(secret()), &answer), None);
        let page = Some("https://a.example");
        assert_eq!(login(SECURE_SITE, ("POST", "/v1/login"), &[], page), Ok(Login::New));
    }

    #[test]
    fn a_client_that_is_no_page_gets_no_cookie() {
        assert_eq!(login(SECURE_SITE, ("POST", "/v1/login"), &[], None), Ok(Login::None));
    }

    #[test]
    fn nobody_logs_in_without_tls_where_the_site_has_it() {
        let page = Some("http://a.example");
        assert_eq!(login(SECURE_SITE, ("POST", "/v1/login"), &[], page), Err(Fault::Insecure));
        assert_eq!(login(PLAIN_SITE, ("POST", "/v1/login"), &[], page), Ok(Login::New));
    }

    #[test]
    fn what_changes_something_needs_the_origin_of_a_page_and_what_reads_does_not() {
        let cookie = format!("a=b; __Host-serialproxy-login={}", secret());
        let headers = [("cookie", cookie.as_str())];
        let known = Ok(Login::Secret(secret()));
        for (call, page, expected) in [
            (("GET", "/v1/servers"), None, known.clone()),
            (("POST", "/v1/servers/a/stop"), None, Err(Fault::NoOrigin)),
            (("DELETE", "/v1/sessions/a"), None, Err(Fault::NoOrigin)),
            (("DELETE", "/v1/login"), None, Err(Fault::NoOrigin)),
            (("POST", "/v1/servers/a/stop"), Some("https://a.example"), known),
            (("DELETE", "/v1/login"), Some("https://a.example"), Ok(Login::Out(Some(secret())))),
        ] {
            assert_eq!(login(SECURE_SITE, call, &headers, page), expected, "{call:?} {page:?}");
        }
    }

    #[test]
    fn credentials_of_the_call_itself_take_precedence() {
        let cookie = format!("serialproxy-login={}", secret());
        for name in ["x-auth-token", "authorization"] {
            let headers = [("cookie", cookie.as_str()), (name, "x")];
            let found = login(PLAIN_SITE, ("POST", "/v1/servers/a/stop"), &headers, None);
            assert_eq!(found, Ok(Login::None));
        }
    }

    #[test]
    fn over_tls_only_the_cookie_counts_that_no_subdomain_can_set() {
        let plain = format!("serialproxy-login={}", secret());
        let secure = format!("__Host-serialproxy-login={}", secret());
        for (site, cookie, counts) in [
            (SECURE_SITE, plain.clone(), false),
            (SECURE_SITE, secure.clone(), true),
            (PLAIN_SITE, plain.clone(), true),
            (PLAIN_SITE, secure.clone(), false),
            (PLAIN_SITE, format!("{plain}; {plain}"), false),
            (SECURE_SITE, format!("{secure}; {plain}"), true),
            (PLAIN_SITE, "serialproxy-login=new".into(), false),
            (PLAIN_SITE, format!("{plain}0"), false),
            (PLAIN_SITE, "serialproxy-login=".into(), false),
        ] {
            let found = login(site, ("GET", "/v1/servers"), &[("cookie", &cookie)], None).unwrap();
            assert_eq!(found != Login::None, counts, "{site:?} {cookie}");
        }
    }

    #[test]
    fn logging_out_removes_the_cookie() {
        let (answer, ()) = http::Response::builder().status(204).body(()).unwrap().into_parts();
        let cookie = PLAIN_SITE.cookie(&Login::Out(None), &answer).unwrap();
        assert!(cookie.to_str().unwrap().starts_with("serialproxy-login=; Path=/; Max-Age=0;"));
    }
}
