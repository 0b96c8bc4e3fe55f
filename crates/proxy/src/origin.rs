//! Which pages may open a console. The check prevents that a foreign page uses the cookie or the token of its
//! visitor (CVE-2015-0259 was the lack of it).

use http::HeaderMap;
use http::header;
use serialproxy_config::Config;
use serialproxy_config::PageOrigin;

/// The rule that applies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    /// Ours, on a connection with or without TLS: pages of this proxy and of listed origins.
    Own { tls: bool },
    /// Nova's rule, when this proxy replaces Nova's: pages of the requested host and of listed hosts, with any
    /// port, and with the scheme of the console URLs. If that scheme is not configured, every scheme is allowed;
    /// Nova reads it from the token.
    Nova {
        /// Whether `X-Forwarded-Proto` is trusted.
        believes: bool,
    },
}

/// Checks the `Origin` header. A client without one is not a browser and passes.
///
/// # Errors
///
/// The reason for the refusal.
pub(crate) fn check(headers: &HeaderMap, config: &Config, rule: Rule) -> Result<(), String> {
    let Some(page) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let page = page.to_str().ok().and_then(PageOrigin::parse);
    let page = page.ok_or("the Origin header is not valid")?;
    let base_url = config.serial_console.base_url.as_deref();
    let listed = config.console.allowed_origins.iter().any(|allowed| allowed.covers(&page));
    match rule {
        Rule::Own { tls } if listed || is_own(&page, headers, tls, base_url) => Ok(()),
        Rule::Nova { believes } if listed || is_of_host(&page, headers) => {
            let forwarded = headers.get("x-forwarded-proto").filter(|_| believes);
            let forwarded = forwarded.and_then(|value| value.to_str().ok());
            let scheme = forwarded.unwrap_or_else(|| page.scheme());
            base_url.map_or(Ok(()), |base_url| check_scheme(scheme, base_url))
        }
        _ => Err(format!(
            "a page from {page} may not open consoles here: add it to [console] allowed_origins"
        )),
    }
}

/// Whether a page was loaded from this proxy: from the origin of the console URLs, or of this connection.
pub(crate) fn is_own(
    page: &PageOrigin,
    headers: &HeaderMap,
    tls: bool,
    base_url: Option<&str>,
) -> bool {
    let own = [of_connection(headers, tls), base_url.and_then(PageOrigin::of_url)];
    own.iter().flatten().any(|own| own == page)
}

fn is_of_host(page: &PageOrigin, headers: &HeaderMap) -> bool {
    of_connection(headers, false).is_some_and(|here| here.host() == page.host())
}

/// The origin of pages that are loaded over this connection.
fn of_connection(headers: &HeaderMap, tls: bool) -> Option<PageOrigin> {
    PageOrigin::of_connection(tls, headers.get(header::HOST)?.to_str().ok()?)
}

/// A TLS terminator in front of the proxy reports the scheme in this header; a page cannot set it.
fn check_scheme(scheme: &str, base_url: &str) -> Result<(), String> {
    let secure = base_url.starts_with("https:") || base_url.starts_with("wss:");
    let wanted = if secure { "https" } else { "http" };
    let scheme = match scheme {
        scheme if scheme == wanted => return Ok(()),
        scheme @ ("http" | "https") => scheme,
        _ => "another scheme",
    };
    Err(format!("the page was loaded over {scheme}, but consoles here require {wanted}"))
}

#[cfg(test)]
mod tests {
    use serialproxy_config::AllowedOrigin;

    use super::*;

    const PLAIN: Rule = Rule::Own { tls: false };
    const TLS: Rule = Rule::Own { tls: true };
    const NOVA: Rule = Rule::Nova { believes: true };

    fn checked(rule: Rule, origin: &str, host: &str, base_url: &str) -> Result<(), String> {
        checked_with(rule, &[("origin", origin), ("host", host)], base_url)
    }

    fn checked_with(
        rule: Rule,
        headers: &[(&'static str, &str)],
        base_url: &str,
    ) -> Result<(), String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let mut config = Config::default();
        config.serial_console.base_url = (!base_url.is_empty()).then(|| base_url.into());
        let whole = PageOrigin::parse("https://portal.example:8443").unwrap();
        config.console.allowed_origins =
            vec![AllowedOrigin::Host("dashboard.example".into()), AllowedOrigin::Origin(whole)];
        check(&headers.collect(), &config, rule)
    }

    #[test]
    fn a_client_without_an_origin_passes() {
        for rule in [PLAIN, TLS, NOVA] {
            assert_eq!(checked_with(rule, &[("host", "a")], "http://x/"), Ok(()));
        }
    }

    #[test]
    fn a_page_of_the_connection_itself_passes_by_its_scheme_and_port() {
        let (host, base) = ("proxy.example:6083", "http://x/");
        assert_eq!(checked(PLAIN, "http://proxy.example:6083", host, base), Ok(()));
        assert_eq!(checked(TLS, "https://Proxy.example:6083", host, base), Ok(()));
        assert_eq!(checked(TLS, "https://proxy.example", "proxy.example:443", base), Ok(()));
        assert_eq!(checked(PLAIN, "http://[::1]:6083", "[::1]:6083", base), Ok(()));
        for (rule, page) in [
            (PLAIN, "https://proxy.example:6083"),
            (TLS, "http://proxy.example:6083"),
            (PLAIN, "http://proxy.example"),
            (PLAIN, "http://proxy.example:6084"),
            (PLAIN, "http://a.proxy.example:6083"),
        ] {
            assert!(checked(rule, page, host, base).is_err(), "{page}");
        }
    }

    #[test]
    fn a_page_of_the_console_urls_passes() {
        let (page, host) = ("https://console.example", "10.0.0.1:6083");
        for base in ["https://console.example/serial.html", "wss://console.example:443/"] {
            assert_eq!(checked(PLAIN, page, host, base), Ok(()), "{base}");
        }
        assert!(checked(PLAIN, page, host, "http://console.example/").is_err());
        assert!(checked(PLAIN, page, host, "https://console.example:444/").is_err());
    }

    #[test]
    fn a_listed_page_passes() {
        for page in ["http://dashboard.example:1", "https://portal.example:8443"] {
            assert_eq!(checked(PLAIN, page, "a", "http://x/"), Ok(()), "{page}");
        }
        assert!(checked(PLAIN, "https://portal.example", "a", "http://x/").is_err());
    }

    #[test]
    fn what_forwards_a_connection_is_not_believed() {
        let headers = [("origin", "https://a"), ("host", "a"), ("x-forwarded-proto", "https")];
        assert!(checked_with(PLAIN, &headers, "http://x/").is_err());
    }

    #[test]
    fn a_foreign_page_is_refused_by_name() {
        let refused = checked(PLAIN, "http://evil.example", "proxy.example", "http://x/");
        assert!(refused.unwrap_err().contains("http://evil.example"));
    }

    #[test]
    fn by_nova_s_rule_the_host_counts_and_the_scheme_of_the_console_urls() {
        let checked = |page, base| checked(NOVA, page, "proxy.example:6083", base);
        for base in ["http://x/", "ws://x/"] {
            assert_eq!(checked("http://proxy.example:1", base), Ok(()));
        }
        assert_eq!(checked("https://Dashboard.example", "wss://x/"), Ok(()));
        assert!(checked("http://evil.example", "http://x/").is_err());
        assert!(checked("http://proxy.example", "wss://x/").is_err());
        assert!(checked("https://proxy.example", "http://x/").is_err());
    }

    #[test]
    fn by_nova_s_rule_every_scheme_will_do_where_no_console_url_is_known() {
        for (page, allowed) in [
            ("http://proxy.example:1", true),
            ("https://proxy.example", true),
            ("https://dashboard.example", true),
            ("https://evil.example", false),
        ] {
            assert_eq!(checked(NOVA, page, "proxy.example:6083", "").is_ok(), allowed, "{page}");
        }
    }

    #[test]
    fn by_nova_s_rule_what_ends_tls_before_us_says_how_a_page_was_loaded() {
        let headers = [
            ("host", "proxy.example"),
            ("origin", "http://proxy.example"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(checked_with(NOVA, &headers, "wss://x/"), Ok(()));
        assert!(checked_with(NOVA, &headers, "ws://x/").is_err());
        let strict = Rule::Nova { believes: false };
        assert!(checked_with(strict, &headers, "wss://x/").is_err());
        assert_eq!(checked_with(strict, &headers, "ws://x/"), Ok(()));
    }

    #[test]
    fn an_origin_that_does_not_parse_is_refused() {
        for page in ["null", "", "file://", "a", "http://a/", "http://a:80.evil.example"] {
            for rule in [PLAIN, TLS, NOVA] {
                assert!(checked(rule, page, "a", "http://a/").is_err(), "{page}");
            }
        }
    }
}
