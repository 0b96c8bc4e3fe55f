//! Which pages may open a console: the check that keeps a foreign page from using the cookie or
//! the token of whoever looks at it (CVE-2015-0259 is what happens without).

use http::HeaderMap;
use http::Uri;
use http::header;

/// Checks the `Origin` header as Nova does: without one the client is not a browser and passes.
/// With one, its host must be the host that the client asked for, or listed, whatever the port;
/// and its scheme, or that which `X-Forwarded-Proto` says, must be that of the console URLs.
///
/// # Errors
///
/// Why the page may not, in words.
pub(crate) fn check(headers: &HeaderMap, base_url: &str, allowed: &[String]) -> Result<(), String> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin: Uri = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.parse().ok())
        .ok_or_else(|| "the Origin header is not valid".to_owned())?;
    let (Some(scheme), Some(page)) = (origin.scheme_str(), origin.host()) else {
        return Err("the Origin header is not valid".into());
    };
    let own = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<http::uri::Authority>().ok())
        .ok_or_else(|| "the Host header is missing or not valid".to_owned())?;
    let listed = allowed.iter().any(|host| host.eq_ignore_ascii_case(page));
    if !listed && !own.host().eq_ignore_ascii_case(page) {
        return Err(format!(
            "a page from {page} may not open consoles here: add it to [console] allowed_origins"
        ));
    }
    // What ends TLS before us says how the page was loaded; no page can set that header itself.
    let forwarded = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    let scheme = forwarded.unwrap_or(scheme);
    let wanted = if is_secure(base_url) { "https" } else { "http" };
    if scheme != wanted {
        return Err(format!("the page was loaded by {scheme}, consoles here want {wanted}"));
    }
    Ok(())
}

fn is_secure(base_url: &str) -> bool {
    base_url.starts_with("https:") || base_url.starts_with("wss:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(origin: Option<&str>, host: &str, base_url: &str) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(&headers, base_url, &["dashboard.example".into()])
    }

    #[test]
    fn a_client_without_an_origin_passes() {
        assert_eq!(checked(None, "proxy.example:6083", "http://x/"), Ok(()));
    }

    #[test]
    fn a_page_of_the_proxy_itself_passes_whatever_its_port() {
        for base in ["http://x/", "ws://x/"] {
            assert_eq!(checked(Some("http://proxy.example:1"), "proxy.example:6083", base), Ok(()));
        }
        assert_eq!(checked(Some("http://[::1]:80"), "[::1]:6083", "http://x/"), Ok(()));
    }

    #[test]
    fn a_listed_page_passes() {
        let origin = Some("https://Dashboard.example");
        assert_eq!(checked(origin, "proxy.example", "wss://x/"), Ok(()));
    }

    #[test]
    fn a_foreign_page_is_refused_by_name() {
        let refused = checked(Some("http://evil.example"), "proxy.example", "http://x/");
        assert!(refused.unwrap_err().contains("evil.example"));
    }

    #[test]
    fn a_page_by_another_scheme_is_refused() {
        assert!(checked(Some("http://proxy.example"), "proxy.example", "wss://x/").is_err());
        assert!(checked(Some("https://proxy.example"), "proxy.example", "http://x/").is_err());
    }

    #[test]
    fn what_ends_tls_before_us_says_how_a_page_was_loaded() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "proxy.example".parse().unwrap());
        headers.insert(header::ORIGIN, "http://proxy.example".parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        assert_eq!(check(&headers, "wss://x/", &[]), Ok(()));
        assert!(check(&headers, "ws://x/", &[]).is_err());
    }

    #[test]
    fn an_origin_without_a_host_is_refused() {
        for origin in ["null", "", "file://", "proxy.example"] {
            assert!(checked(Some(origin), "proxy.example", "http://x/").is_err(), "{origin}");
        }
    }
}
