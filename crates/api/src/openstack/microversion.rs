//! Microversions: the version of the compute API that a caller requests.

use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::header::VARY;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::fault::Fault;
use crate::fault::echo;

/// The minor number of the oldest microversion, 2.1.
const OLDEST: u32 = 1;

/// The minor number of the newest: it has every call of consoles, and servers do not yet hold whole
/// flavors.
const NEWEST: u32 = 31;

/// The header that all services share. It names each service with its version.
const STANDARD: HeaderName = HeaderName::from_static("openstack-api-version");

/// The older header, which only Nova has.
const LEGACY: HeaderName = HeaderName::from_static("x-openstack-nova-api-version");

/// The version of the compute API that a call requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    /// Below `/v2`: like 2.1, but unknown properties of a body are ignored.
    Legacy,
    /// Below `/v2.1`: the minor number.
    Micro(u32),
}

impl Version {
    /// Refuses a call that was added in 2.`minor` where an older version is requested.
    pub(super) fn require(self, minor: u32) -> Result<(), Fault> {
        if self.has(minor) { Ok(()) } else { Err(Fault::no_such_resource()) }
    }

    /// Whether the version includes what was added in 2.`minor`.
    pub(super) fn has(self, minor: u32) -> bool {
        match self {
            Self::Legacy => minor <= OLDEST,
            Self::Micro(asked) => minor <= asked,
        }
    }

    /// The version of a call to this path; none where the path is not the compute API's.
    fn of(path: &str, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        match path.split('/').nth(1) {
            Some("v2") => Ok(Some(Self::Legacy)),
            Some("v2.1") => negotiated(headers).map(Some),
            _ => Ok(None),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Version {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Fault> {
        parts.extensions.get().copied().ok_or_else(Fault::no_such_resource)
    }
}

/// The first and the last microversion, as the version documents name them.
pub(super) fn range() -> (String, String) {
    (format!("2.{OLDEST}"), format!("2.{NEWEST}"))
}

/// Why a version is refused.
enum Refusal {
    /// The text is not a version.
    Malformed(String),
    /// The version is not supported.
    Unknown(String),
}

/// Stores the version for the calls below `/v2.1` and `/v2`, and names it in the responses of the
/// former.
pub(crate) async fn negotiate(mut request: Request, next: Next) -> Response {
    match Version::of(request.uri().path(), request.headers()) {
        Ok(version) => {
            if let Some(version) = version {
                request.extensions_mut().insert(version);
            }
            let response = next.run(request).await;
            match version {
                Some(Version::Micro(minor)) => with_version(response, &format!("2.{minor}")),
                _ => response,
            }
        }
        Err(Refusal::Malformed(text)) => Fault::BadRequest(format!(
            "API Version String {} is of invalid format. Must be of format MajorNum.MinorNum.",
            echo(&text)
        ))
        .into_response(),
        Err(Refusal::Unknown(text)) => {
            let (oldest, newest) = range();
            let fault = Fault::NotAcceptable(format!(
                "Version {text} is not supported by the API. Minimum is {oldest} and maximum is \
                 {newest}."
            ));
            with_version(fault.into_response(), &text)
        }
    }
}

fn negotiated(headers: &HeaderMap) -> Result<Version, Refusal> {
    let Some(text) = asked(headers) else { return Ok(Version::Micro(OLDEST)) };
    if text == "latest" {
        return Ok(Version::Micro(NEWEST));
    }
    match parsed(&text) {
        None => Err(Refusal::Malformed(text)),
        Some((2, minor @ OLDEST..=NEWEST)) => Ok(Version::Micro(minor)),
        Some(_) => Err(Refusal::Unknown(text)),
    }
}

/// The requested version. In the standard header the last entry for `compute` counts.
fn asked(headers: &HeaderMap) -> Option<String> {
    let standard = joined(headers, &STANDARD);
    let of_compute = standard.rsplit(',').find_map(|item| {
        let (service, version) = item.trim().split_once(char::is_whitespace)?;
        service.eq_ignore_ascii_case("compute").then(|| version.trim().to_owned())
    });
    of_compute.or_else(|| Some(joined(headers, &LEGACY)).filter(|text| !text.is_empty()))
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let texts = headers.get_all(name).into_iter().map(|text| text.to_str().unwrap_or("?"));
    texts.collect::<Vec<_>>().join(",")
}

/// Two numbers without leading zeros. A number that is too large counts as malformed.
fn parsed(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    let plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
    };
    if !plain(major) || !plain(minor) || major == "0" {
        return None;
    }
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn with_version(mut response: Response, version: &str) -> Response {
    let headers = response.headers_mut();
    for (name, text) in [(STANDARD, format!("compute {version}")), (LEGACY, version.to_owned())] {
        if let Ok(text) = HeaderValue::try_from(text) {
            headers.insert(name, text);
        }
    }
    headers.append(VARY, HeaderValue::from_static("OpenStack-API-Version"));
    headers.append(VARY, HeaderValue::from_static("X-OpenStack-Nova-API-Version"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_two_numbers_without_leading_zeros() {
        for (text, version) in [
            ("2.1", Some((2, 1))),
            ("10.0", Some((10, 0))),
            ("2.31", Some((2, 31))),
            ("0.1", None),
            ("2.01", None),
            ("02.1", None),
            ("2", None),
            ("2.", None),
            (".1", None),
            ("2.1.1", None),
            ("+2.1", None),
            ("2.-1", None),
            ("2.1 ", None),
            ("2.99999999999", None),
            ("", None),
        ] {
            assert_eq!(parsed(text), version, "{text}");
        }
    }
}
