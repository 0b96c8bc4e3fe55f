//! Checks that a request is a valid WebSocket handshake (RFC 6455 section 4.2.1).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::StatusCode;
use http::Version;
use http::header;
use serialproxy_config::PageOrigin;
use serialproxy_proto::api::Protocol;
use serialproxy_proto::console::SUBPROTOCOL;

/// Appended to the client's key before hashing (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a client's key.
const KEY: usize = 16;

/// The version of RFC 6455. Nova's proxy accepts the drafts 7 and 8 too, which no client uses.
const VERSION: &str = "13";

/// What the response to a handshake has to contain.
pub(crate) struct Offer {
    /// For `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    /// The chosen subprotocol; none if the client offers none.
    pub(crate) subprotocol: Option<&'static str>,
    pub(crate) protocol: Protocol,
}

/// Why a request is not a valid handshake.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Violation {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
    /// Whether a reverse proxy seems to have removed headers that it has to forward.
    pub(crate) stripped: bool,
    /// Header that names what is supported.
    pub(crate) instead: Option<(HeaderName, &'static str)>,
}

/// Whether a request asks for a WebSocket, valid or not. Another `Upgrade`, such as curl's to HTTP/2, is ignored
/// (RFC 9110 section 7.8).
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    lists(headers, &header::UPGRADE, "websocket")
        || headers.contains_key(header::SEC_WEBSOCKET_KEY)
        || headers.contains_key(header::SEC_WEBSOCKET_VERSION)
}

/// Checks a handshake, and chooses one of the offered subprotocols.
pub(crate) fn read<B>(request: &Request<B>) -> Result<Offer, Violation> {
    let headers = request.headers();
    if *request.method() != Method::GET {
        return Err(Violation {
            status: StatusCode::METHOD_NOT_ALLOWED,
            reason: "a WebSocket handshake must use GET",
            stripped: false,
            instead: Some((header::ALLOW, "GET")),
        });
    }
    if request.version() != Version::HTTP_11 {
        return Err(
            "a WebSocket handshake must use HTTP/1.1: a reverse proxy must use it too".into()
        );
    }
    check_host(request)?;
    if !lists(headers, &header::UPGRADE, "websocket") {
        return Err(stripped(
            "the header Upgrade: websocket is missing: a reverse proxy must \
                 forward it",
        ));
    }
    if !lists(headers, &header::CONNECTION, "upgrade") {
        return Err(stripped(
            "the header Connection: Upgrade is missing: a reverse proxy must \
                 forward it",
        ));
    }
    let key = read_key(headers)?;
    if single(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(Violation {
            status: StatusCode::UPGRADE_REQUIRED,
            reason: "Sec-WebSocket-Version is not 13",
            stripped: false,
            instead: Some((header::SEC_WEBSOCKET_VERSION, VERSION)),
        });
    }
    if headers.get_all(header::ORIGIN).iter().count() > 1 {
        return Err("the request has more than one Origin header".into());
    }
    let (subprotocol, protocol) = choose_subprotocol(headers)?;
    Ok(Offer { accept: accept(key), subprotocol, protocol })
}

/// Checks that there is exactly one `Host`, with a host and optionally a port (RFC 9112 section 3.2). Before
/// HTTP/1.1 it may be missing.
pub(crate) fn check_host<B>(request: &Request<B>) -> Result<(), &'static str> {
    let headers = request.headers();
    if !headers.contains_key(header::HOST) && request.version() < Version::HTTP_11 {
        return Ok(());
    }
    let host = single(headers, &header::HOST).and_then(|host| host.to_str().ok());
    // The port after the colon may be empty (RFC 3986 section 3.2.3).
    let host = host.map(|host| host.strip_suffix(':').unwrap_or(host));
    match host.and_then(|host| PageOrigin::of_connection(false, host)) {
        Some(_) => Ok(()),
        None => Err("the Host header is missing, repeated or not valid"),
    }
}

fn stripped(reason: &'static str) -> Violation {
    Violation { stripped: true, ..reason.into() }
}

fn read_key(headers: &HeaderMap) -> Result<&HeaderValue, &'static str> {
    let key = single(headers, &header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or("Sec-WebSocket-Key is missing or repeated")?;
    match BASE64_STANDARD.decode(key.as_bytes()) {
        Ok(bytes) if bytes.len() == KEY => Ok(key),
        _ => Err("Sec-WebSocket-Key is not 16 bytes in base64"),
    }
}

fn accept(key: &HeaderValue) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    BASE64_STANDARD.encode(hash.digest().bytes())
}

fn choose_subprotocol(
    headers: &HeaderMap,
) -> Result<(Option<&'static str>, Protocol), &'static str> {
    let offered: Vec<&str> = words(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
    if offered.contains(&SUBPROTOCOL) {
        Ok((Some(SUBPROTOCOL), Protocol::ConsoleV1))
    } else if offered.contains(&"binary") {
        Ok((Some("binary"), Protocol::Raw))
    } else if offered.is_empty() {
        Ok((None, Protocol::Raw))
    } else {
        Err("Invalid protocol selected: supported are binary and console.v1")
    }
}

/// The value of a header that occurs exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a list header contains this word, in upper or lower case.
fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    words(headers, name).any(|word| word.eq_ignore_ascii_case(wanted))
}

fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

impl From<&'static str> for Violation {
    fn from(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, stripped: false, instead: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offers: &[&str]) -> Result<Option<&'static str>, &'static str> {
        let mut headers = HeaderMap::new();
        for offer in offers {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, offer.parse().unwrap());
        }
        choose_subprotocol(&headers).map(|(name, _)| name)
    }

    #[test]
    fn every_offer_seen_in_the_wild_gets_binary_or_nothing() {
        assert_eq!(chosen(&[]), Ok(None));
        for offer in ["binary", "binary, base64", "binary,base64", "base64, binary"] {
            assert_eq!(chosen(&[offer]), Ok(Some("binary")), "{offer}");
        }
        assert!(chosen(&["base64"]).is_err());
    }

    #[test]
    fn console_v1_is_preferred() {
        assert_eq!(chosen(&["binary", "console.v1"]), Ok(Some("console.v1")));
    }

    #[test]
    fn a_host_may_end_with_the_colon_of_a_port() {
        let check = |host: &str| {
            check_host(&Request::get("/").header(header::HOST, host).body(()).unwrap()).is_ok()
        };
        assert!(["a", "a:", "a:1", "[::1]:"].into_iter().all(check));
        assert!(!["", ":", "a::", "a:x"].into_iter().any(check));
    }

    #[test]
    fn the_accept_value_is_that_of_the_rfc_s_example() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
