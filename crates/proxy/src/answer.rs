//! HTTP responses that the proxy makes itself, refusals among them.

use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::refusal::Refusal;

/// Header that holds the cause of a refusal.
pub(crate) const CAUSE: HeaderName = HeaderName::from_static("x-console-cause");

pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// The response for a refusal, with the status that fits it.
pub(crate) fn refuse(refusal: &Refusal) -> Answer {
    let status = match refusal {
        Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
        Refusal::Token | Refusal::Resume => StatusCode::UNAUTHORIZED,
        Refusal::Origin(_) | Refusal::Mode => StatusCode::FORBIDDEN,
        Refusal::NoSuchLine(_) => StatusCode::NOT_FOUND,
        Refusal::Busy { .. } | Refusal::Stopped { .. } | Refusal::Away { .. } => {
            StatusCode::CONFLICT
        }
        Refusal::Unreachable(_) | Refusal::Held(_) => StatusCode::BAD_GATEWAY,
        Refusal::Unavailable(_)
        | Refusal::Audit
        | Refusal::HostLost(_)
        | Refusal::TooMany(_)
        | Refusal::HostDraining
        | Refusal::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = refused(status, refusal.cause(), &refusal.to_string());
    if let Refusal::Busy { free_in: Some(seconds), .. } = refusal {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
    }
    answer
}

/// A refusal before the upgrade: a status, an empty body, and the reason in headers. The body is empty because
/// some clients show everything after the head as console output.
pub(crate) fn refused(status: StatusCode, cause: Cause, reason: &str) -> Answer {
    let mut answer = closing(Response::new(Full::default()));
    *answer.status_mut() = status;
    let reason: String =
        reason.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    answer.headers_mut().insert(CAUSE, HeaderValue::from_static(cause.as_str()));
    if let Ok(reason) = HeaderValue::from_str(&reason) {
        answer.headers_mut().insert("x-console-reason", reason);
    }
    answer
}

/// The response with `Connection: close`.
pub(crate) fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serialproxy_proto::id::SessionId;

    use super::*;

    #[test]
    fn a_refusal_has_an_empty_body_and_its_reason_in_a_header() {
        let (session, since) = (SessionId::new(), Timestamp::UNIX_EPOCH);
        let busy = |free_in| {
            let (user, seen_ago, can) = ("ali\nce".into(), None, Vec::new());
            refuse(&Refusal::Busy { session, user, since, own: false, free_in, seen_ago, can })
        };
        let answer = busy(None);
        assert_eq!(answer.status(), 409);
        assert_eq!(answer.headers()["x-console-cause"], "busy");
        assert_eq!(answer.headers()["x-console-reason"], "busy: ali ce since 1970-01-01T00:00:00Z");
        assert!(!answer.headers().contains_key(header::RETRY_AFTER));
        let lost = busy(Some(40));
        assert_eq!(lost.headers()[header::RETRY_AFTER], "40");
    }
}
