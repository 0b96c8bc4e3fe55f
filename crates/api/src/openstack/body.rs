//! Request bodies, read as Nova reads them.

use axum::extract::FromRequest;
use axum::extract::FromRequestParts;
use axum::extract::Request;
use serde_json::Value;

use super::microversion::Version;
use crate::fault::Fault;
use crate::request;
use crate::validation::Part;

/// A JSON body; null where there is none.
#[derive(Debug)]
pub(super) struct Body {
    value: Value,
    /// Whether unknown properties are refused; below `/v2` they are ignored.
    strict: bool,
}

impl Body {
    pub(super) fn part(&self) -> Part<'_> {
        Part::whole(&self.value, self.strict)
    }

    /// The only property of the body, which names an action, and that action's arguments.
    pub(super) fn action(&self) -> Result<(&str, Part<'_>), Fault> {
        let mut actions = self.value.as_object().into_iter().flatten();
        match (actions.next(), actions.next()) {
            (Some((name, arguments)), None) => {
                Ok((name, Part::named(name, arguments, self.strict)))
            }
            _ => Err(malformed()),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Self, Fault> {
        let (mut parts, body) = request.into_parts();
        let version = Version::from_request_parts(&mut parts, state).await?;
        let request = Request::from_parts(parts, body);
        let body = request::Body::from_request(request, state).await?;
        let value =
            if body.is_empty() { Value::Null } else { body.json().map_err(|_| malformed())? };
        Ok(Self { value, strict: version != Version::Legacy })
    }
}

fn malformed() -> Fault {
    Fault::BadRequest("Malformed request body".into())
}
