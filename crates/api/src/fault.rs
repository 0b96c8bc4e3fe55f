//! Error responses in Nova's form. Only this module knows their statuses.

use std::io;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::json;
use serialproxy_grants::GrantsError;
use serialproxy_proto::cause::Cause;
use serialproxy_proto::compute::ComputeError;

/// Largest request body in bytes, as in Nova.
pub(crate) const BODY_LIMIT: usize = 114_688;

/// Longest piece of a request that an error text repeats, in characters.
const ECHO: usize = 100;

/// Why a call failed. The caller reads the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Keystone's own text, for its clients.
    #[error("The request you have made requires authentication.")]
    Authenticate { uri: String },
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("Unsupported Content-Type")]
    MediaType,
    #[error("this path does not support that method: see the Allow header")]
    Method,
    #[error("{0}")]
    NotAcceptable(String),
    #[error("{0}")]
    NotFound(String),
    #[error("the request body is larger than {max} bytes", max = BODY_LIMIT)]
    TooLarge,
    #[error("{text}")]
    Refused { cause: Cause, text: String, typed: Option<u64> },
    #[error("{0}")]
    TooMany(String),
    #[error(
        "missing, unknown or expired token: send a token in the header X-Auth-Token or \
         Authorization: Bearer (the admin token is in the file admin-token of the server's state \
         directory)"
    )]
    Unauthorized,
    #[error("{0}")]
    Unavailable(String),
    #[error(
        "this login link was used before, or has expired: `serialproxy status` prints a new one"
    )]
    UnknownCode,
    #[error("{0}")]
    Unsupported(String),
    #[error("the user name or the password is wrong")]
    WrongPassword,
    #[error("this token is wrong or has expired: copy the whole token again, without spaces")]
    WrongToken,
}

/// The error text of a 5xx response, for the log.
#[derive(Clone, Debug)]
pub(crate) struct FaultText(pub(crate) String);

impl Fault {
    pub(crate) fn no_such_call() -> Self {
        Self::NotFound("The resource could not be found: /v1/openapi.json lists all calls.".into())
    }

    /// The compute API's answer to a call that does not exist, or not in the requested version.
    pub(crate) fn no_such_resource() -> Self {
        Self::NotFound("The resource could not be found.".into())
    }

    /// Nova's answer to any request that it does not understand.
    pub(crate) fn malformed() -> Self {
        Self::BadRequest(
            "The server could not comply with the request since it is either malformed or \
             otherwise incorrect."
                .into(),
        )
    }

    /// In Nova's words: clients recognize them, and then look for a server of that name.
    pub(crate) fn no_such_server(text: &str) -> Self {
        Self::NotFound(format!("Instance {} could not be found.", echo(text)))
    }

    pub(crate) fn no_such_session(text: &str) -> Self {
        Self::NotFound(format!("Session {} could not be found.", echo(text)))
    }

    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Authenticate { .. } => (StatusCode::UNAUTHORIZED, "error"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "badRequest"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflictingRequest"),
            Self::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "computeFault"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "badMediaType"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "badMethod"),
            Self::NotAcceptable(_) => (StatusCode::NOT_ACCEPTABLE, "computeFault"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "itemNotFound"),
            Self::Refused { cause, .. } => match cause {
                Cause::Audit | Cause::Draining | Cause::HostLost | Cause::Store => {
                    (StatusCode::SERVICE_UNAVAILABLE, "serviceUnavailable")
                }
                Cause::Limit => (StatusCode::TOO_MANY_REQUESTS, "overLimit"),
                _ => (StatusCode::CONFLICT, "conflictingRequest"),
            },
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "overLimit"),
            Self::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "overLimit"),
            Self::Unauthorized | Self::UnknownCode | Self::WrongPassword | Self::WrongToken => {
                (StatusCode::UNAUTHORIZED, "unauthorized")
            }
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "serviceUnavailable"),
            Self::Unsupported(_) => (StatusCode::NOT_IMPLEMENTED, "notImplemented"),
        }
    }
}

impl Fault {
    /// The `WWW-Authenticate` header: how to authenticate.
    fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::Authenticate { uri } => {
                HeaderValue::try_from(format!("Keystone uri=\"{uri}\"")).ok()
            }
            Self::Unauthorized | Self::UnknownCode | Self::WrongPassword | Self::WrongToken => {
                Some(HeaderValue::from_static("Bearer realm=\"serialproxy\""))
            }
            _ => None,
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, name) = self.status();
        let message = self.to_string();
        let mut fault = json!({"code": status.as_u16(), "message": message});
        match (&self, fault.as_object_mut()) {
            (Self::Authenticate { .. }, Some(fault)) => {
                fault.insert("title".into(), "Unauthorized".into());
            }
            (Self::Refused { cause, typed, .. }, Some(fault)) => {
                fault.insert("cause".into(), cause.as_str().into());
                fault.extend(typed.map(|typed| ("typed".to_owned(), typed.into())));
            }
            _ => {}
        }
        let mut response = (status, Json(json!({name: fault}))).into_response();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if status.is_server_error() {
            response.extensions_mut().insert(FaultText(message));
        }
        response
    }
}

impl From<ComputeError> for Fault {
    fn from(error: ComputeError) -> Self {
        match error {
            ComputeError::Invalid(text) => Self::BadRequest(text),
            ComputeError::NotFound(text) => Self::NotFound(text),
            ComputeError::Conflict(text) => Self::Conflict(text),
            ComputeError::Refused { cause, text, typed } => Self::Refused { cause, text, typed },
            ComputeError::Unsupported(text) => Self::Unsupported(text),
            ComputeError::Unavailable(text) => Self::Unavailable(text),
            ComputeError::Failed(text) => Self::Failed(text),
        }
    }
}

impl From<io::Error> for Fault {
    /// Calls ask the operating system for nothing but random numbers.
    fn from(error: io::Error) -> Self {
        Self::Failed(format!("the system's random number generator failed: {error}"))
    }
}

impl From<GrantsError> for Fault {
    fn from(error: GrantsError) -> Self {
        Self::Unavailable(format!("tokens cannot be created or looked up now: {error}"))
    }
}

impl From<BytesRejection> for Fault {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::TooLarge
        } else {
            Self::BadRequest("the request body could not be read".into())
        }
    }
}

/// A piece of a request in a form that an error text may repeat: short, without control characters.
pub(crate) fn echo(text: &str) -> String {
    let mut echo = String::new();
    for character in text.chars().take(ECHO) {
        match character {
            '\'' | '"' | '\\' => echo.push(character),
            _ => echo.extend(character.escape_debug()),
        }
    }
    if text.chars().nth(ECHO).is_some() {
        echo.push('…');
    }
    echo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_of_a_request_is_short_and_printable() {
        assert_eq!(echo("a\u{1b}[0m"), "a\\u{1b}[0m");
        assert_eq!(echo("it's \"ä\""), "it's \"ä\"");
        assert_eq!(echo(&"x".repeat(1000)).chars().count(), ECHO + 1);
    }
}
